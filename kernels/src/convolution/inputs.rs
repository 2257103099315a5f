//! What a convolution reads and returns.

use burn::tensor::{backend::Backend, ops::FloatTensor};

/// The inputs of a convolution as the backends see them.
#[derive(Clone, Debug)]
pub struct ConvolutionInputs<B: Backend> {
    /// `[batch, input_time, channels]`
    pub inputs: FloatTensor<B>,
    /// `[taps, channels]`; the first multiplies the present token
    pub taps: FloatTensor<B>,
    /// `[batch, output_time]`: the first input that each output sees
    pub first: B::IntTensorPrimitive,
}

/// Gradients of a loss for the inputs and the filter.
#[derive(Clone, Debug)]
pub struct ConvolutionGradients<B: Backend> {
    /// `[batch, input_time, channels]`
    pub inputs: FloatTensor<B>,
    /// `[taps, channels]`
    pub taps: FloatTensor<B>,
}
