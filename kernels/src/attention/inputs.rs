//! What attention reads and returns.

use crate::dropout::Dropout;
use burn::tensor::{backend::Backend, ops::FloatTensor};

/// The inputs of causal attention as the backends see them.
#[derive(Clone, Debug)]
pub struct AttentionInputs<B: Backend> {
    /// `[batch, heads, query_time, head_dim]`
    pub queries: FloatTensor<B>,
    /// `[batch, heads, key_time, head_dim]`
    pub keys: FloatTensor<B>,
    /// `[batch, heads, key_time, head_dim]`
    pub values: FloatTensor<B>,
    /// `[batch, query_time]`: the first key that each query sees
    pub first_key: B::IntTensorPrimitive,
    /// Dropout of attention weights; its rows are `(batch, head, query)`, its columns keys.
    pub dropout: Dropout,
}

/// What causal attention computes.
#[derive(Clone, Debug)]
pub struct AttentionOutputs<B: Backend> {
    /// `[batch, heads, query_time, head_dim]`
    pub outputs: FloatTensor<B>,
    /// Log-sum-exp of the scaled scores that each query sees, which the backward pass starts from: `[batch, heads, query_time]`
    pub log_sums: FloatTensor<B>,
}

/// Gradients of a loss for everything differentiable that attention reads.
#[derive(Clone, Debug)]
pub struct AttentionGradients<B: Backend> {
    /// `[batch, heads, query_time, head_dim]`
    pub queries: FloatTensor<B>,
    /// `[batch, heads, key_time, head_dim]`
    pub keys: FloatTensor<B>,
    /// `[batch, heads, key_time, head_dim]`
    pub values: FloatTensor<B>,
}
