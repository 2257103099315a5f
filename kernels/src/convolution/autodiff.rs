//! The convolution as a node of Burn's autodiff graph.

use super::inputs::ConvolutionInputs;
use super::ops::ConvolutionOps;
use super::reference;
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;

impl<B: ConvolutionOps, C: CheckpointStrategy> ConvolutionOps for Autodiff<B, C> {
    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        let x = &inputs.inputs.primitive;
        if !B::has_backward(&B::float_device(x), x.dtype()) {
            return reference::causal_convolution(inputs);
        }
        let inner = inputs.clone().map(|tensor| tensor.primitive);
        let outputs = B::causal_convolution(inner.clone());
        node::<B, C, _, 2>(
            inputs.floats().each_ref(),
            outputs,
            |_| inner,
            |inputs, grad, _| B::causal_convolution_backward(inputs, grad).floats().map(Some),
        )
    }
}
