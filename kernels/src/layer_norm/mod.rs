//! Layer normalisation with a backward pass of its own: Burn's is a chain of elementwise ops, each a pass over the activations.
//!
//! Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.

pub(crate) mod autodiff;
pub(crate) mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::backend::KernelBackend;
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

/// Added to the variance, as GPT-2 and PyTorch do.
pub const EPSILON: f64 = 1e-5;

/// Gradients of a loss for the inputs of a layer normalisation.
#[derive(Clone, Debug)]
pub struct LayerNormGradients<B: Backend> {
    /// `[rows, width]`
    pub x: FloatTensor<B>,
    /// `[width]`
    pub gain: FloatTensor<B>,
    /// `[width]`
    pub bias: FloatTensor<B>,
}

/// Every row brought to mean 0 and variance 1 (population), then scaled by `gain` and shifted by `bias`.
///
/// # Shapes
/// - `x`: `[rows, width]`
/// - `gain`, `bias`: `[width]`
/// - returns: `[rows, width]`
/// # Panics
/// If the shapes disagree.
pub fn layer_norm<B: KernelBackend>(x: Tensor<B, 2>, gain: Tensor<B, 1>, bias: Tensor<B, 1>) -> Tensor<B, 2> {
    let [_, width] = x.dims();
    assert_eq!(gain.dims(), [width], "layer_norm: gain does not fit a width of {width}");
    assert_eq!(bias.dims(), [width], "layer_norm: bias does not fit a width of {width}");
    Tensor::from_primitive(TensorPrimitive::Float(B::layer_norm_rows(
        x.into_primitive().tensor(),
        gain.into_primitive().tensor(),
        bias.into_primitive().tensor(),
    )))
}
