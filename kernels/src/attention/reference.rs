//! Causal attention with its whole matrix of weights, in plain tensor ops.

use super::inputs::{AttentionInputs, AttentionOutputs};
use crate::dropout;
use crate::primitive::{float, primitive};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

pub(crate) fn causal_attention<B: Backend>(inputs: AttentionInputs<B>) -> AttentionOutputs<B> {
    let [queries, keys, values] = [inputs.queries, inputs.keys, inputs.values].map(float::<B, 4>);
    let first_key = Tensor::<B, 2, Int>::from_primitive(inputs.first_key);
    let [batch, heads, query_time, head_dim] = queries.dims();
    let key_time = keys.dims()[2];
    let device = queries.device();

    let key =
        Tensor::<B, 1, Int>::arange(0..key_time as i64, &device).reshape([1, 1, key_time]).expand([batch, query_time, key_time]);
    let own = Tensor::<B, 1, Int>::arange((key_time - query_time) as i64..key_time as i64, &device);
    let own = own.reshape([1, query_time, 1]).expand([batch, query_time, key_time]);
    let first = first_key.unsqueeze_dim::<3>(2).expand([batch, query_time, key_time]);
    let hidden = key.clone().greater(own).bool_or(key.lower(first)); // [batch, query_time, key_time]
    let hidden = hidden.unsqueeze_dim::<4>(1).expand([batch, heads, query_time, key_time]);

    let scores = queries.matmul(keys.transpose()) / (head_dim as f64).sqrt();
    let scores = scores.mask_fill(hidden.clone(), f32::MIN / 4.0);
    let max = scores.clone().detach().max_dim(3);
    let weights = (scores - max.clone()).exp().mask_fill(hidden, 0.0); // [batch, heads, query_time, key_time]
    let sums = weights.clone().sum_dim(3); // at least 1: every query sees itself
    let log_sums = (sums.clone().log() + max).squeeze_dim::<3>(3);
    let mut weights = weights / sums;
    if inputs.dropout.is_on() {
        let mask = dropout::reference::mask(batch * heads * query_time, key_time, inputs.dropout);
        let mask = TensorData::new(mask, [batch, heads, query_time, key_time]).convert_dtype(weights.dtype());
        weights = weights.clone() * Tensor::from_data(mask, (&device, weights.dtype()));
    }
    AttentionOutputs { outputs: primitive(weights.matmul(values)), log_sums: primitive(log_sums) }
}
