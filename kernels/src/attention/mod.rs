//! Causal softmax attention over packed sequences, for the Transformer that Aaren is weighed against: memory linear in time.
//!
//! A query sees one run of keys, from the first of its episode to its own: `first_key[b, i] ..= keys - queries + i`. That one
//! number per query says what a mask would: episodes packed in a row do not see each other, a KV cache is a longer run of keys
//! than of queries, and a window is a later first key.

pub(crate) mod autodiff;
pub(crate) mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::{backend::KernelBackend, dropout::Dropout};
use burn::tensor::{Int, Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

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

/// `softmax(q k^T / sqrt(head_dim)) v`, every query over its run of keys.
///
/// # Shapes
/// - `queries`: `[batch, heads, query_time, head_dim]`; they are the last `query_time` of `key_time` tokens
/// - `keys`, `values`: `[batch, heads, key_time, head_dim]`
/// - `first_key`: `[batch, query_time]`, each at most its query's own key, `key_time - query_time + i`
/// - returns: `[batch, heads, query_time, head_dim]`
/// # Panics
/// If the shapes disagree or there are fewer keys than queries.
/// # Source
/// Vaswani et al. 2017, arXiv:1706.03762; the tiling with a running maximum is that of Dao et al. 2022, arXiv:2205.14135.
pub fn causal_attention<B: KernelBackend>(
    queries: Tensor<B, 4>,
    keys: Tensor<B, 4>,
    values: Tensor<B, 4>,
    first_key: Tensor<B, 2, Int>,
    dropout: Dropout,
) -> Tensor<B, 4> {
    let [batch, heads, query_time, head_dim] = queries.dims();
    let key_time = keys.dims()[2];
    assert_eq!(keys.dims(), [batch, heads, key_time, head_dim], "causal_attention: keys do not fit queries");
    assert_eq!(values.dims(), keys.dims(), "causal_attention: values do not fit keys");
    assert_eq!(first_key.dims(), [batch, query_time], "causal_attention: first_key does not fit queries");
    assert!(key_time >= query_time, "causal_attention: {query_time} queries are not the last of {key_time} keys");
    let outputs = B::causal_attention(AttentionInputs {
        queries: queries.into_primitive().tensor(),
        keys: keys.into_primitive().tensor(),
        values: values.into_primitive().tensor(),
        first_key: first_key.into_primitive(),
        dropout,
    });
    Tensor::from_primitive(TensorPrimitive::Float(outputs.outputs))
}
