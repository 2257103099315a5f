//! The convolution as a node of Burn's autodiff graph.

use super::inputs::{ConvolutionGradients, ConvolutionInputs};
use super::ops::ConvolutionOps;
use super::reference;
use crate::autodiff::node;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;

impl<B: ConvolutionOps, C: CheckpointStrategy> ConvolutionOps for Autodiff<B, C> {
    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        let x = &inputs.inputs.primitive;
        if !B::has_backward(&B::float_device(x), x.dtype()) {
            return reference::causal_convolution(inputs);
        }
        let ConvolutionInputs { inputs, taps, first } = inputs;
        let inner = ConvolutionInputs::<B> { inputs: inputs.primitive.clone(), taps: taps.primitive.clone(), first };
        let outputs = B::causal_convolution(inner.clone());
        node::<B, C, _, 2>(
            [&inputs, &taps],
            outputs,
            |_| inner,
            |inputs, grad, _| {
                let ConvolutionGradients { inputs, taps } = B::causal_convolution_backward(inputs, grad);
                [inputs, taps].map(Some)
            },
        )
    }
}
