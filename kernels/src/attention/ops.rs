//! The op: what a backend may implement, and the checked function.

use super::inputs::{AttentionGradients, AttentionInputs, AttentionOutputs};
use super::reference;
use crate::dropout::Dropout;
use crate::primitive::float;
use burn::tensor::{DType, Device, Int, Tensor, backend::Backend, ops::FloatTensor};

/// Causal attention of a backend.
pub trait AttentionOps: Backend {
    /// Whether the backend has a backward pass of its own for heads of this width and numbers of this type; else `Autodiff` records
    /// the reference.
    fn has_backward(device: &Device<Self>, head_dim: usize, dtype: DType) -> bool {
        let _ = (device, head_dim, dtype);
        false
    }

    /// [`causal_attention`].
    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        reference::causal_attention(inputs)
    }

    /// Gradients of attention, given what it computed.
    fn causal_attention_backward(
        inputs: AttentionInputs<Self>,
        outputs: AttentionOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        let _ = outputs;
        inputs.derive(|inputs| reference::causal_attention(inputs).outputs, grad)
    }
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
pub fn causal_attention<B: AttentionOps>(
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
    let inputs = AttentionInputs::new(queries, keys, values, first_key.into_primitive(), dropout);
    float(B::causal_attention(inputs).outputs)
}
