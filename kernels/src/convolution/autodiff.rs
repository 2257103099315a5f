//! The convolution as a node of Burn's autodiff graph.

use super::{
    inputs::{ConvolutionGradients, ConvolutionInputs},
    reference,
};
use crate::{autodiff::node, backend::ConvolutionOps};
use burn::{
    backend::autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy},
    tensor::{TensorMetadata, ops::FloatTensor},
};

pub(crate) fn causal_convolution<B: ConvolutionOps, C: CheckpointStrategy>(
    inputs: ConvolutionInputs<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
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
