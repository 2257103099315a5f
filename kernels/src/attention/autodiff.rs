//! Causal attention as a node of Burn's autodiff graph.

use super::inputs::{AttentionInputs, AttentionOutputs};
use super::ops::AttentionOps;
use super::reference;
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::TensorMetadata;
use burn::tensor::backend::AutodiffBackend;

impl<B: AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        let x = &inputs.queries.primitive;
        if !B::has_backward(&B::float_device(x), x.shape()[3], x.dtype()) {
            return reference::causal_attention(inputs);
        }
        let inner = inputs.clone().map(|tensor| tensor.primitive);
        let forward = B::causal_attention(inner.clone());
        // Only the backward pass reads the log-sums: nothing differentiates through them.
        let log_sums = Self::from_inner(forward.log_sums.clone());
        let saved = |_: &_| (inner, forward.clone());
        let outputs =
            node::<B, C, _, 3>(inputs.floats().each_ref(), forward.outputs.clone(), saved, |(inputs, outputs), grad, _| {
                B::causal_attention_backward(inputs, outputs, grad).floats().map(Some)
            });
        AttentionOutputs { outputs, log_sums }
    }
}
