//! A dense layer with its bias and what follows it, a rectifier or hyperbolic tangent, in one op.
//!
//! A policy of width 128 spends nearly all of its time here, and the separate passes for bias, rectifier and their gradients cost
//! as much as a matrix product of that width. Acting has a few rows only, where packing a matrix kernel's operands costs more than
//! the product: that case has its own loop.

pub(crate) mod autodiff;
pub(crate) mod cpu;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::backend::KernelBackend;
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

/// What follows the affine map inside the op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rectifier {
    /// Nothing.
    None,
    /// `max(y, 0)`
    Relu,
    /// The hyperbolic tangent: no rectifier, but it stands where one would.
    Tanh,
}

/// What the backward pass of a dense layer reads.
#[derive(Clone, Debug)]
pub struct LinearSaved<B: Backend> {
    /// `[rows, inputs]`
    pub x: FloatTensor<B>,
    /// `[inputs, outputs]`
    pub weight: FloatTensor<B>,
    /// `[rows, outputs]`: it tells what the non-linearity let through
    pub y: FloatTensor<B>,
    /// What followed the affine map.
    pub rectifier: Rectifier,
}

/// Gradients of a loss for the inputs of a dense layer.
#[derive(Clone, Debug)]
pub struct LinearGradients<B: Backend> {
    /// `[rows, inputs]`; absent where nobody asked for it
    pub x: Option<FloatTensor<B>>,
    /// `[inputs, outputs]`
    pub weight: FloatTensor<B>,
    /// `[outputs]`
    pub bias: FloatTensor<B>,
}

/// `y = rectifier(x weight + bias)`.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - `weight`: `[inputs, outputs]` (Burn's layout, the transpose of PyTorch's)
/// - `bias`: `[outputs]`
/// - returns: `[rows, outputs]`
/// # Panics
/// If the shapes disagree.
pub fn linear<B: KernelBackend>(x: Tensor<B, 2>, weight: Tensor<B, 2>, bias: Tensor<B, 1>, rectifier: Rectifier) -> Tensor<B, 2> {
    let [inputs, outputs] = weight.dims();
    assert_eq!(x.dims()[1], inputs, "linear: x does not fit a weight of [{inputs}, {outputs}]");
    assert_eq!(bias.dims(), [outputs], "linear: bias does not fit a weight of [{inputs}, {outputs}]");
    Tensor::from_primitive(TensorPrimitive::Float(B::linear_rectified(
        x.into_primitive().tensor(),
        weight.into_primitive().tensor(),
        bias.into_primitive().tensor(),
        rectifier,
    )))
}
