//! The op: what a backend may implement, and the checked functions.

use super::inputs::{AdamWInputs, AdamWOutputs, AdamWStep};
use super::reference;
use crate::primitive::{float, primitive};
use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};

/// The optimizer's step of a backend.
pub trait OptimizerOps: Backend {
    /// [`adamw`].
    fn adamw(inputs: Vec<AdamWInputs<Self>>, factor: FloatTensor<Self>) -> Vec<AdamWOutputs<Self>> {
        inputs.into_iter().map(|inputs| reference::adamw(inputs, factor.clone())).collect()
    }

    /// [`sum_of_squares`].
    fn sum_of_squares(tensors: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        reference::sum_of_squares::<Self>(tensors)
    }
}

/// A parameter on its way through a step: `[elements]` each.
#[derive(Clone, Debug)]
pub struct Stepped<B: Backend> {
    /// The parameter.
    pub parameter: Tensor<B, 1>,
    /// Running means of its gradient and of its gradient's square.
    pub moments: [Tensor<B, 1>; 2],
}

/// A step of AdamW for all parameters of a module, in few launches on a GPU. Moments without another owner are changed in place.
///
/// # Shapes
/// - `parameters`: each with its gradient and the numbers of its step; as many elements in all four tensors
/// - `factor`: `[1]`, what gradients are multiplied by
/// - returns: the parameters and their moments after the step, in the same order
/// # Panics
/// If the shapes disagree.
pub fn adamw<B: OptimizerOps>(parameters: Vec<(Stepped<B>, Tensor<B, 1>, AdamWStep)>, factor: Tensor<B, 1>) -> Vec<Stepped<B>> {
    assert_eq!(factor.dims(), [1], "adamw: one factor for all elements");
    let inputs = parameters.into_iter().map(|(Stepped { parameter, moments }, gradient, step)| {
        let shape = parameter.dims();
        assert_eq!(gradient.dims(), shape, "adamw: the gradient does not fit the parameter");
        assert!(moments.iter().all(|moment| moment.dims() == shape), "adamw: the moments do not fit a parameter of {shape:?}");
        let (parameter, gradient) = (primitive(parameter), primitive(gradient));
        AdamWInputs { parameter, gradient, moments: moments.map(primitive), step }
    });
    let outputs = B::adamw(inputs.collect(), primitive(factor)).into_iter();
    outputs
        .map(|AdamWOutputs { parameter, moments }| Stepped { parameter: float(parameter), moments: moments.map(float) })
        .collect()
}

/// The sum of the squares of all elements of all tensors, `[1]`. Sums have the same order every time.
///
/// # Panics
/// If there is no tensor.
pub fn sum_of_squares<B: OptimizerOps>(tensors: Vec<Tensor<B, 1>>) -> Tensor<B, 1> {
    assert!(!tensors.is_empty(), "sum_of_squares: nothing to sum");
    float(B::sum_of_squares(tensors.into_iter().map(primitive).collect()))
}
