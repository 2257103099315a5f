//! The scan as one masked softmax, in plain tensor ops: obvious, differentiable by Burn, quadratic in time.

use super::inputs::{LogSumGradients, LogSumInputs, ScanInputs, ScanOutputs};
use crate::primitive::{float, primitive};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bool, Int, Tensor};

/// Attention of one query over every prefix, the carry being one more token at the front.
pub(crate) fn attention_scan<B: Backend>(inputs: ScanInputs<B>) -> ScanOutputs<B> {
    let scores = float::<B, 3>(inputs.scores);
    let values = float::<B, 4>(inputs.values);
    let reset = Tensor::<B, 2, Bool>::from_primitive(inputs.reset);
    let carry_log_sum = float::<B, 2>(inputs.carry_log_sum);
    let carry_output = float::<B, 3>(inputs.carry_output);
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
    ScanOutputs { outputs: primitive(outputs), log_sums: primitive(log_sums) }
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

/// The log-sums of a scan that has nothing to attend to.
pub(crate) fn running_log_sum_exp<B: Backend>(inputs: LogSumInputs<B>) -> FloatTensor<B> {
    let scores = float::<B, 3>(inputs.scores);
    let [batch, heads, time] = scores.dims();
    let options = (&scores.device(), scores.dtype());
    let outputs = attention_scan::<B>(ScanInputs {
        values: primitive(Tensor::<B, 4>::zeros([batch, heads, time, 1], options)),
        carry_output: primitive(Tensor::<B, 3>::zeros([batch, heads, 1], options)),
        scores: primitive(scores),
        reset: inputs.reset,
        carry_log_sum: inputs.carry,
    });
    outputs.log_sums
}

pub(crate) fn running_log_sum_exp_backward<B: Backend>(inputs: LogSumInputs<B>, upstream: FloatTensor<B>) -> LogSumGradients<B> {
    let finite_log_sums = |inputs| {
        let log_sums = float::<Autodiff<B>, 3>(running_log_sum_exp(inputs));
        // A log-sum of -inf is a constant, and its product with the upstream gradient would be no number.
        let is_empty = log_sums.clone().lower_elem(f32::MIN);
        primitive(log_sums.mask_fill(is_empty, 0.0))
    };
    inputs.derive(finite_log_sums, upstream)
}
