//! Layer normalisation as a node of Burn's autodiff graph.

use super::LayerNormGradients;
use crate::backend::KernelBackend;
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::ops::FloatTensor;

#[derive(Debug)]
struct LayerNorm;

impl<B: KernelBackend> Backward<B, 3> for LayerNorm {
    /// `x`, `gain`
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x, gain] = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let LayerNormGradients { x, gain, bias } = B::layer_norm_backward(x, gain, grad);
        for (parent, grad) in ops.parents.into_iter().zip([x, gain, bias]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

pub(crate) fn layer_norm<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    gain: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let y = B::layer_norm_rows(x.primitive.clone(), gain.primitive.clone(), bias.primitive);
    match LayerNorm.prepare::<C>([x.node, gain.node, bias.node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish([x.primitive, gain.primitive], y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    }
}
