//! What a convolution reads and returns.

use crate::inputs::op_inputs;

op_inputs! {
    /// The inputs of a convolution as the backends see them.
    ConvolutionInputs {
        /// `[batch, input_time, channels]`
        inputs: 3,
        /// `[taps, channels]`; the first multiplies the present token
        taps: 2,
    }
    others {
        /// `[batch, output_time]`: the first input that each output sees
        first: B::IntTensorPrimitive,
    }
    /// Gradients of a loss for the inputs and the filter.
    gradients ConvolutionGradients
    views ConvolutionViews
}
