//! Causal convolution over time, a filter a channel, over packed sequences: short ones before a recurrence, long ones in its place.
//!
//! ```text
//! y_t = sum over n of h_n u_{t-n},     n = 0 .. taps - 1, as far back as t's episode goes
//! ```
//!
//! As in [`causal_attention`](crate::causal_attention), one number an output says how far back it sees, and a history carried over
//! from earlier calls is a longer run of inputs than of outputs.

pub(crate) mod autodiff;
pub(crate) mod cpu;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::backend::KernelBackend;
use burn::tensor::{Int, Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

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

/// `y_t = sum of taps[n] inputs[t - n]`, for the last `output_time` of the inputs.
///
/// Time is proportional to the taps that are in sight, so to `time * min(taps, time)`.
///
/// # Shapes
/// - `inputs`: `[batch, input_time, channels]`
/// - `taps`: `[taps, channels]`; the first multiplies the present token (PyTorch's order is the reverse)
/// - `first`: `[batch, output_time]`, the first input that each output sees, at most its own, `input_time - output_time + t`
/// - returns: `[batch, output_time, channels]`
/// # Panics
/// If the shapes disagree or there are fewer inputs than outputs.
pub fn causal_convolution<B: KernelBackend>(inputs: Tensor<B, 3>, taps: Tensor<B, 2>, first: Tensor<B, 2, Int>) -> Tensor<B, 3> {
    let [batch, input_time, channels] = inputs.dims();
    assert_eq!(taps.dims()[1], channels, "causal_convolution: taps do not fit {channels} channels");
    let [rows, output_time] = first.dims();
    assert_eq!(rows, batch, "causal_convolution: `first` does not fit the inputs");
    assert!(input_time >= output_time, "causal_convolution: {output_time} outputs are not the last of {input_time} inputs");
    Tensor::from_primitive(TensorPrimitive::Float(B::causal_convolution(ConvolutionInputs {
        inputs: inputs.into_primitive().tensor(),
        taps: taps.into_primitive().tensor(),
        first: first.into_primitive(),
    })))
}
