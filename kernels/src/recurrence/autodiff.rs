//! The recurrence as a node of Burn's autodiff graph.

use super::{RecurrenceGradients, RecurrenceInputs};
use crate::backend::KernelBackend;
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::ops::FloatTensor;

#[derive(Debug)]
struct GatedRecurrence;

impl<B: KernelBackend> Backward<B, 3> for GatedRecurrence {
    type State = (RecurrenceInputs<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (inputs, states) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let RecurrenceGradients { gates, inputs, carry } = B::gated_recurrence_backward(inputs, states, grad);
        for (parent, grad) in ops.parents.into_iter().zip([gates, inputs, carry]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

pub(crate) fn gated_recurrence<B: KernelBackend, C: CheckpointStrategy>(
    inputs: RecurrenceInputs<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let RecurrenceInputs { gates, inputs, reset, carry } = inputs;
    let inner = RecurrenceInputs::<B> {
        gates: gates.primitive.clone(),
        inputs: inputs.primitive.clone(),
        reset,
        carry: carry.primitive.clone(),
    };
    let states = B::gated_recurrence(inner.clone());
    match GatedRecurrence.prepare::<C>([gates.node, inputs.node, carry.node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((inner, states.clone()), states),
        OpsKind::UnTracked(prepared) => prepared.finish(states),
    }
}
