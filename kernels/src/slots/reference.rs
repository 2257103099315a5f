//! A scan a slot, over keys and values that are repeated for each, and the read in plain tensor ops.

use super::inputs::{SlotGradients, SlotInputs};
use crate::primitive::{float, primitive};
use crate::scan::{ScanInputs, ScanOps, ScanOutputs};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, activation};

/// Outputs, memory and log-sums in a row.
pub(crate) fn slot_attention<B: ScanOps>(inputs: SlotInputs<B>) -> FloatTensor<B> {
    let (scores, queries) = (float::<B, 4>(inputs.scores), float::<B, 4>(inputs.queries));
    let tokens = Tensor::cat(vec![float::<B, 4>(inputs.keys), float::<B, 4>(inputs.values)], 3);
    let ([batch, heads, time, wide], slots) = (tokens.dims(), scores.dims()[3]);
    let (rows, head_dim) = (heads * slots, wide / 2);
    let tokens = tokens.unsqueeze_dim::<5>(2).expand([batch, heads, slots, time, wide]).reshape([batch, rows, time, wide]);
    let ScanOutputs { outputs, log_sums } = B::attention_scan(ScanInputs::new(
        scores.swap_dims(2, 3).reshape([batch, rows, time]),
        tokens,
        float::<B, 3>(inputs.carry_log_sum).reshape([batch, rows]),
        float::<B, 4>(inputs.carry_memory).reshape([batch, rows, wide]),
        inputs.reset,
    ));

    let memory = float::<B, 4>(outputs).reshape([batch * heads, slots, time, wide]);
    let half = |from: usize| memory.clone().slice([0..batch * heads, 0..slots, 0..time, from..from + head_dim]);
    let queries = queries.reshape([batch * heads, 1, time, head_dim]);
    let asked = (half(0) * queries).sum_dim(3) * (1.0 / (head_dim as f64).sqrt()); // [batch * heads, slots, time, 1]
    let read = (half(head_dim) * activation::softmax(asked, 1)).sum_dim(1); // [batch * heads, 1, time, head_dim]
    let last = |tensor: Tensor<B, 4>, width: usize| {
        tensor.slice([0..batch * heads, 0..slots, time - 1..time]).reshape([batch, heads, slots * width])
    };
    let log_sums = float::<B, 3>(log_sums).reshape([batch * heads, slots, time, 1]);
    let outputs = read.reshape([batch, heads, time * head_dim]);
    primitive(Tensor::cat(vec![outputs, last(memory.clone(), wide), last(log_sums, 1)], 2))
}

pub(crate) fn slot_attention_backward<B: ScanOps>(inputs: SlotInputs<B>, upstream: FloatTensor<B>) -> SlotGradients<B> {
    inputs.derive(slot_attention, upstream)
}
