//! What a dense layer reads and returns.

use crate::precision::Precision;
use burn::tensor::{backend::Backend, ops::FloatTensor};

/// What follows the affine map inside the op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `y`
    Identity,
    /// `max(y, 0)`
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

/// What the backward pass of a dense layer reads.
#[derive(Clone, Debug)]
pub struct LinearSaved<B: Backend> {
    /// `[rows, inputs]`
    pub x: FloatTensor<B>,
    /// `[inputs, outputs]`
    pub weight: FloatTensor<B>,
    /// `[rows, outputs]`: it tells what the activation let through
    pub y: FloatTensor<B>,
    /// What followed the affine map.
    pub activation: Activation,
    /// What the factors of the forward pass were rounded to; those of the backward pass are too.
    pub precision: Precision,
}

/// Gradients of a loss for the inputs of a dense layer.
#[derive(Clone, Debug)]
pub struct LinearGradients<B: Backend> {
    /// `[rows, inputs]`; absent where it is not needed
    pub x: Option<FloatTensor<B>>,
    /// `[inputs, outputs]`
    pub weight: FloatTensor<B>,
    /// `[outputs]`
    pub bias: FloatTensor<B>,
}
