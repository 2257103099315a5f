//! The scan as one masked softmax, in plain tensor ops: obvious, differentiable by Burn, quadratic in time.

use super::{ScanInputs, ScanOutputs};
use burn::tensor::{Bool, Int, Tensor, TensorPrimitive, backend::Backend};

/// Attention of one query over every prefix, the carry being one more token at the front.
pub(crate) fn attention_scan<B: Backend>(inputs: ScanInputs<B>) -> ScanOutputs<B> {
    let scores = Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(inputs.scores));
    let values = Tensor::<B, 4>::from_primitive(TensorPrimitive::Float(inputs.values));
    let reset = Tensor::<B, 2, Bool>::from_primitive(inputs.reset);
    let carry_log_sum = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(inputs.carry_log_sum));
    let carry_output = Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(inputs.carry_output));
    let [batch, heads, time, _] = values.dims();

    let scores = Tensor::cat(vec![carry_log_sum.unsqueeze_dim(2), scores], 2); // [batch, heads, 1 + time]
    let values = Tensor::cat(vec![carry_output.unsqueeze_dim(2), values], 2); // [batch, heads, 1 + time, head_dim]
    let hidden = hidden_from(reset).unsqueeze_dim::<4>(1).expand([batch, heads, time, time + 1]);

    let present = scores.clone().greater_elem(f32::MIN); // not -inf
    let present = present.unsqueeze_dim::<4>(2).expand([batch, heads, time, time + 1]);
    let masked = hidden.bool_or(present.bool_not());
    // Masked scores become a finite number before anything is exponentiated: -inf minus -inf would be NaN.
    let scores = scores.unsqueeze_dim::<4>(2).expand([batch, heads, time, time + 1]).mask_fill(masked.clone(), f32::MIN / 4.0);
    let max = scores.clone().detach().max_dim(3);
    let weights = (scores - max.clone()).exp().mask_fill(masked.clone(), 0.0); // [batch, heads, time, 1 + time]
    let sums = weights.clone().sum_dim(3);
    let empty = masked.all_dim(3); // [batch, heads, time, 1]: nothing to attend to yet
    let safe_sums = sums.mask_fill(empty.clone(), 1.0);
    let outputs = (weights / safe_sums.clone()).matmul(values);
    let log_sums = (safe_sums.log() + max).mask_fill(empty, f32::NEG_INFINITY).squeeze_dim::<3>(3);
    ScanOutputs { outputs: outputs.into_primitive().tensor(), log_sums: log_sums.into_primitive().tensor() }
}

/// `[batch, time, 1 + time]`: whether query `t` must not see token `i` (0 being the carry), because it is later or of an
/// earlier episode.
fn hidden_from<B: Backend>(reset: Tensor<B, 2, Bool>) -> Tensor<B, 3, Bool> {
    let [batch, time] = reset.dims();
    let device = reset.device();
    let episode = reset.int().cumsum(1); // [batch, time], the carry being of episode 0
    let token_episode = Tensor::cat(vec![Tensor::<B, 2, Int>::zeros([batch, 1], &device), episode.clone()], 1);
    let other = episode
        .unsqueeze_dim::<3>(2)
        .expand([batch, time, time + 1])
        .not_equal(token_episode.unsqueeze_dim::<3>(1).expand([batch, time, time + 1]));
    let position = Tensor::<B, 1, Int>::arange(0..time as i64 + 1, &device).reshape([1, 1, time + 1]);
    let last = Tensor::<B, 1, Int>::arange(1..time as i64 + 1, &device).reshape([1, time, 1]);
    let later = position.expand([1, time, time + 1]).greater(last.expand([1, time, time + 1]));
    other.bool_or(later.expand([batch, time, time + 1]))
}
