//! The selective scan as a node of Burn's autodiff graph. A node has one tensor: outputs and carry are packed in a row.

use super::{SelectiveGradients, SelectiveInputs};
use crate::backend::KernelBackend;
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::ops::FloatTensor;

#[derive(Debug)]
struct SelectiveScan;

impl<B: KernelBackend> Backward<B, 6> for SelectiveScan {
    type State = SelectiveInputs<B>;

    fn backward(self, ops: Ops<Self::State, 6>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let SelectiveGradients(found) = B::selective_scan_backward(ops.state, grad);
        for (parent, grad) in ops.parents.into_iter().zip(found) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

pub(crate) fn selective_scan<B: KernelBackend, C: CheckpointStrategy>(
    inputs: SelectiveInputs<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let SelectiveInputs { inputs, steps, decays, writes, reads, carry, reset } = inputs;
    let inner = SelectiveInputs::<B> {
        inputs: inputs.primitive.clone(),
        steps: steps.primitive.clone(),
        decays: decays.primitive.clone(),
        writes: writes.primitive.clone(),
        reads: reads.primitive.clone(),
        carry: carry.primitive.clone(),
        reset,
    };
    let packed = B::selective_scan(inner.clone());
    let nodes = [inputs.node, steps.node, decays.node, writes.node, reads.node, carry.node];
    match SelectiveScan.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(inner, packed),
        OpsKind::UnTracked(prepared) => prepared.finish(packed),
    }
}
