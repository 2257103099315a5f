//! Causal attention as a node of Burn's autodiff graph.

use super::{AttentionGradients, AttentionInputs, AttentionOutputs};
use crate::backend::KernelBackend;
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::backend::AutodiffBackend;

#[derive(Debug)]
struct CausalAttention;

impl<B: KernelBackend> Backward<B, 3> for CausalAttention {
    type State = (AttentionInputs<B>, AttentionOutputs<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (inputs, outputs) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let AttentionGradients { queries, keys, values } = B::causal_attention_backward(inputs, outputs, grad);
        for (parent, grad) in ops.parents.into_iter().zip([queries, keys, values]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

pub(crate) fn causal_attention<B: KernelBackend, C: CheckpointStrategy>(
    inputs: AttentionInputs<Autodiff<B, C>>,
) -> AttentionOutputs<Autodiff<B, C>> {
    let AttentionInputs { queries, keys, values, first_key, dropout } = inputs;
    let inner = AttentionInputs::<B> {
        queries: queries.primitive.clone(),
        keys: keys.primitive.clone(),
        values: values.primitive.clone(),
        first_key,
        dropout,
    };
    let forward = B::causal_attention(inner.clone());
    // The log-sums are what the backward pass needs; nobody differentiates through them.
    let log_sums = Autodiff::<B, C>::from_inner(forward.log_sums.clone());
    let outputs = match CausalAttention.prepare::<C>([queries.node, keys.node, values.node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((inner, forward.clone()), forward.outputs),
        OpsKind::UnTracked(prepared) => prepared.finish(forward.outputs),
    };
    AttentionOutputs { outputs, log_sums }
}
