//! The op: what a backend may implement, and the checked function.

use super::inputs::{ConvolutionGradients, ConvolutionInputs};
use super::reference;
use crate::primitive::float;
use burn::tensor::{DType, Device, Int, Tensor, backend::Backend, ops::FloatTensor};

/// Convolutions of a backend.
pub trait ConvolutionOps: Backend {
    /// Whether the backend has a backward pass of its own for numbers of this type; else `Autodiff` records the reference.
    fn has_backward(device: &Device<Self>, dtype: DType) -> bool {
        let _ = (device, dtype);
        false
    }

    /// [`causal_convolution`].
    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        reference::causal_convolution(inputs)
    }

    /// Gradients of a convolution.
    fn causal_convolution_backward(inputs: ConvolutionInputs<Self>, grad: FloatTensor<Self>) -> ConvolutionGradients<Self> {
        inputs.derive(reference::causal_convolution, grad)
    }
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
pub fn causal_convolution<B: ConvolutionOps>(inputs: Tensor<B, 3>, taps: Tensor<B, 2>, first: Tensor<B, 2, Int>) -> Tensor<B, 3> {
    let [batch, input_time, channels] = inputs.dims();
    assert_eq!(taps.dims()[1], channels, "causal_convolution: taps do not fit {channels} channels");
    let [rows, output_time] = first.dims();
    assert_eq!(rows, batch, "causal_convolution: `first` does not fit the inputs");
    assert!(input_time >= output_time, "causal_convolution: {output_time} outputs are not the last of {input_time} inputs");
    float(B::causal_convolution(ConvolutionInputs::new(inputs, taps, first.into_primitive())))
}
