//! The convolution as a node of Burn's autodiff graph.

use super::{ConvolutionGradients, ConvolutionInputs};
use crate::backend::KernelBackend;
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::ops::FloatTensor;

#[derive(Debug)]
struct CausalConvolution;

impl<B: KernelBackend> Backward<B, 2> for CausalConvolution {
    type State = ConvolutionInputs<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let ConvolutionGradients { inputs, taps } = B::causal_convolution_backward(ops.state, grad);
        for (parent, grad) in ops.parents.into_iter().zip([inputs, taps]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

pub(crate) fn causal_convolution<B: KernelBackend, C: CheckpointStrategy>(
    inputs: ConvolutionInputs<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let ConvolutionInputs { inputs, taps, first } = inputs;
    let inner = ConvolutionInputs::<B> { inputs: inputs.primitive.clone(), taps: taps.primitive.clone(), first };
    let outputs = B::causal_convolution(inner.clone());
    match CausalConvolution.prepare::<C>([inputs.node, taps.node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(inner, outputs),
        OpsKind::UnTracked(prepared) => prepared.finish(outputs),
    }
}
