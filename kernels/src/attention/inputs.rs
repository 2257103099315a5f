//! What attention reads and returns.

use crate::dropout::Dropout;
use crate::inputs::op_inputs;
use burn::tensor::{backend::Backend, ops::FloatTensor};

op_inputs! {
    /// The inputs of causal attention as the backends see them.
    AttentionInputs {
        /// `[batch, heads, query_time, head_dim]`
        queries: 4,
        /// `[batch, heads, key_time, head_dim]`
        keys: 4,
        /// `[batch, heads, key_time, head_dim]`
        values: 4,
    }
    others {
        /// `[batch, query_time]`: the first key that each query sees
        first_key: B::IntTensorPrimitive,
        /// Dropout of attention weights; its rows are `(batch, head, query)`, its columns keys.
        dropout: Dropout,
    }
    /// Gradients of a loss for everything differentiable that attention reads.
    gradients AttentionGradients
    views AttentionViews
}

/// What causal attention computes.
#[derive(Clone, Debug)]
pub struct AttentionOutputs<B: Backend> {
    /// `[batch, heads, query_time, head_dim]`
    pub outputs: FloatTensor<B>,
    /// Log-sum-exp of the scaled scores that each query sees, which the backward pass starts from: `[batch, heads, query_time]`
    pub log_sums: FloatTensor<B>,
}
