//! Dropout as a node of Burn's autodiff graph.

use super::Dropout;
use crate::backend::KernelBackend;
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::ops::FloatTensor;

#[derive(Debug)]
struct DropoutAdd;

impl<B: KernelBackend> Backward<B, 2> for DropoutAdd {
    type State = Dropout;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dropout = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let [residual, branch] = ops.parents;
        if let Some(parent) = branch {
            grads.register::<B>(parent.id, B::dropout_backward(grad.clone(), dropout));
        }
        if let Some(parent) = residual {
            grads.register::<B>(parent.id, grad);
        }
    }
}

pub(crate) fn dropout_add<B: KernelBackend, C: CheckpointStrategy>(
    residual: FloatTensor<Autodiff<B, C>>,
    branch: FloatTensor<Autodiff<B, C>>,
    dropout: Dropout,
) -> FloatTensor<Autodiff<B, C>> {
    let output = B::dropout_add(residual.primitive.clone(), branch.primitive.clone(), dropout);
    match DropoutAdd.prepare::<C>([residual.node, branch.node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(dropout, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}
