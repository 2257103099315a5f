//! The optimizer's step: the norm of the gradient over all parameters, and AdamW on the gradient that was clipped to it.
//!
//! Composed of tensor operations a parameter costs a dozen passes over memory, and on a graphics card as many launches. Here it is one,
//! and one for its share of the norm.
//!
//! ```text
//! norm = sqrt(sum over all parameters of g^2)             c = min(1, largest / norm)
//! m' = b1 m + (1 - b1) c g                                v' = b2 v + (1 - b2) (c g)^2
//! p' = (1 - rate decay) p - rate (m' / (1 - b1^t)) / (sqrt(v' / (1 - b2^t)) + epsilon)
//! ```
//!
//! Source: Loshchilov and Hutter 2019, arXiv:1711.05101.

pub(crate) mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::backend::KernelBackend;
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

/// The numbers of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Of this step.
    pub learning_rate: f64,
    /// Decays of the two moments.
    pub betas: [f64; 2],
    /// Added to the square root of the second moment.
    pub epsilon: f64,
    /// Of the parameter itself, times the learning rate; 0 makes it Adam.
    pub weight_decay: f64,
    /// How many steps the parameter has made with this one: 1 at first.
    pub time: usize,
}

impl AdamWStep {
    /// What moments that began at 0 are divided by.
    pub(crate) fn corrections(&self) -> [f64; 2] {
        self.betas.map(|beta| 1.0 - beta.powi(i32::try_from(self.time).unwrap_or(i32::MAX)))
    }

    /// What is left of the parameter.
    pub(crate) fn kept(&self) -> f64 {
        1.0 - self.learning_rate * self.weight_decay
    }
}

/// A parameter, its gradient and its moments: `[elements]` each, and the factor that the gradient is clipped by, `[1]`.
#[derive(Clone, Debug)]
pub struct AdamWInputs<B: Backend> {
    /// Before the step.
    pub parameter: FloatTensor<B>,
    /// Before clipping.
    pub gradient: FloatTensor<B>,
    /// Of the gradient and of its square.
    pub moments: [FloatTensor<B>; 2],
    /// At most 1.
    pub factor: FloatTensor<B>,
}

/// A step of AdamW. Moments that nobody else holds are changed in place.
///
/// # Shapes
/// - `parameter`, `gradient` and both `moments`: any shape, the same
/// - `factor`: `[1]`, what the gradient is multiplied by
/// - returns: the parameter and its moments after the step
/// # Panics
/// If the shapes disagree.
pub fn adamw<B: KernelBackend, const D: usize>(
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
    let flat = |tensor: Tensor<B, D>| tensor.reshape([count]).into_primitive().tensor();
    let shaped = |tensor| Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(tensor)).reshape(shape);
    let inputs = AdamWInputs {
        parameter: flat(parameter),
        gradient: flat(gradient),
        moments: moments.map(flat),
        factor: factor.into_primitive().tensor(),
    };
    let (parameter, moments) = B::adamw(inputs, step);
    (shaped(parameter), moments.map(shaped))
}

/// The sum of the squares of all elements of all tensors, `[1]`. Sums have the same order every time.
///
/// # Panics
/// If there is no tensor.
pub fn sum_of_squares<B: KernelBackend>(tensors: Vec<Tensor<B, 1>>) -> Tensor<B, 1> {
    assert!(!tensors.is_empty(), "sum_of_squares: nothing to sum");
    let tensors = tensors.into_iter().map(|tensor| tensor.into_primitive().tensor()).collect();
    Tensor::from_primitive(TensorPrimitive::Float(B::sum_of_squares(tensors)))
}
