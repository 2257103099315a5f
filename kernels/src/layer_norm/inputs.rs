//! What layer normalization adds and returns.

use burn::tensor::{backend::Backend, ops::FloatTensor};

/// Added to the variance, as GPT-2 and PyTorch do.
pub(crate) const EPSILON: f64 = 1e-5;

/// Gradients of a loss for the inputs of a layer normalization.
#[derive(Clone, Debug)]
pub struct LayerNormGradients<B: Backend> {
    /// `[rows, width]`
    pub x: FloatTensor<B>,
    /// `[width]`
    pub gain: FloatTensor<B>,
    /// `[width]`
    pub bias: FloatTensor<B>,
}
