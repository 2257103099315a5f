//! Causal attention as a node of Burn's autodiff graph.

use super::inputs::{AttentionGradients, AttentionInputs, AttentionOutputs};
use super::ops::AttentionOps;
use super::reference;
use crate::autodiff::node;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::tensor::TensorMetadata;
use burn::tensor::backend::AutodiffBackend;

impl<B: AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        let x = &inputs.queries.primitive;
        if !B::has_backward(&B::float_device(x), x.shape()[3], x.dtype()) {
            return reference::causal_attention(inputs);
        }
        let AttentionInputs { queries, keys, values, first_key, dropout } = inputs;
        let inner = AttentionInputs::<B> {
            queries: queries.primitive.clone(),
            keys: keys.primitive.clone(),
            values: values.primitive.clone(),
            first_key,
            dropout,
        };
        let forward = B::causal_attention(inner.clone());
        // Only the backward pass reads the log-sums: nothing differentiates through them.
        let log_sums = Self::from_inner(forward.log_sums.clone());
        let saved = |_: &_| (inner, forward.clone());
        let outputs =
            node::<B, C, _, 3>([&queries, &keys, &values], forward.outputs.clone(), saved, |(inputs, outputs), grad, _| {
                let AttentionGradients { queries, keys, values } = B::causal_attention_backward(inputs, outputs, grad);
                [queries, keys, values].map(Some)
            });
        AttentionOutputs { outputs, log_sums }
    }
}
