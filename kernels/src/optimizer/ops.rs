//! The op: what a backend may implement, and the checked functions.

use super::inputs::{AdamWInputs, AdamWStep};
use super::reference;
use crate::primitive::{float, primitive};
use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};

/// The optimizer's step of a backend.
pub trait OptimizerOps: Backend {
    /// [`adamw`], on one axis.
    fn adamw(inputs: AdamWInputs<Self>, step: AdamWStep) -> (FloatTensor<Self>, [FloatTensor<Self>; 2]) {
        reference::adamw(inputs, step)
    }

    /// [`sum_of_squares`].
    fn sum_of_squares(tensors: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        reference::sum_of_squares::<Self>(tensors)
    }
}

/// A step of AdamW. Moments without another owner are changed in place.
///
/// # Shapes
/// - `parameter`, `gradient` and both `moments`: any shape, the same
/// - `factor`: `[1]`, what the gradient is multiplied by
/// - returns: the parameter and its moments after the step
/// # Panics
/// If the shapes disagree.
pub fn adamw<B: OptimizerOps, const D: usize>(
    parameter: Tensor<B, D>,
    gradient: Tensor<B, D>,
    moments: [Tensor<B, D>; 2],
    factor: Tensor<B, 1>,
    step: AdamWStep,
) -> (Tensor<B, D>, [Tensor<B, D>; 2]) {
    let shape = parameter.dims();
    assert_eq!(gradient.dims(), shape, "adamw: the gradient does not fit the parameter");
    assert!(moments.iter().all(|moment| moment.dims() == shape), "adamw: the moments do not fit a parameter of {shape:?}");
    assert_eq!(factor.dims(), [1], "adamw: one factor for all elements");
    let count = shape.iter().product::<usize>();
    let flat = |tensor: Tensor<B, D>| primitive::<B, 1>(tensor.reshape([count]));
    let shaped = |tensor| float::<B, 1>(tensor).reshape(shape);
    let inputs = AdamWInputs {
        parameter: flat(parameter),
        gradient: flat(gradient),
        moments: moments.map(flat),
        factor: primitive(factor),
    };
    let (parameter, moments) = B::adamw(inputs, step);
    (shaped(parameter), moments.map(shaped))
}

/// The sum of the squares of all elements of all tensors, `[1]`. Sums have the same order every time.
///
/// # Panics
/// If there is no tensor.
pub fn sum_of_squares<B: OptimizerOps>(tensors: Vec<Tensor<B, 1>>) -> Tensor<B, 1> {
    assert!(!tensors.is_empty(), "sum_of_squares: nothing to sum");
    float(B::sum_of_squares(tensors.into_iter().map(primitive).collect()))
}
