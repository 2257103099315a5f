//! Attention from one learned query, for every prefix at once: the recurrence at the heart of Aaren.
//!
//! With scores `s` and values `v`, the gated form carries one scalar and one vector a head:
//!
//! ```text
//! L_t = logaddexp(L_{t-1}, s_t)        take_t = sigmoid(s_t - L_{t-1})      keep_t = 1 - take_t
//! o_t = keep_t o_{t-1} + take_t v_t    = softmax attention over the tokens 1..t
//! ```
//!
//! A reset at `t` sets `keep_t = 0`: what came before is forgotten inside the scan. A score of `-inf` leaves the carry as it
//! is, and the empty carry is `L = -inf, o = 0`.
//!
//! Source: Feng et al. 2024, arXiv:2405.13956, section 3; the gated form is ours and equivalent.

pub(crate) mod autodiff;
pub(crate) mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
pub(crate) mod forms;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::backend::KernelBackend;
use burn::tensor::{Bool, Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

/// What one scan hands to the next: the log-sum-exp of the scores so far, and the attention over them.
#[derive(Clone, Debug)]
pub struct ScanCarry<B: Backend> {
    /// `[batch, heads]`; `-inf` where nothing has been seen.
    pub log_sum: Tensor<B, 2>,
    /// `[batch, heads, head_dim]`; zero where nothing has been seen.
    pub output: Tensor<B, 3>,
}

impl<B: Backend> ScanCarry<B> {
    /// The carry of a sequence that has not begun.
    pub fn empty(batch: usize, heads: usize, head_dim: usize, device: &B::Device) -> Self {
        Self {
            log_sum: Tensor::full([batch, heads], f32::NEG_INFINITY, device),
            output: Tensor::zeros([batch, heads, head_dim], device),
        }
    }
}

/// The inputs of a scan as the backends see them.
#[derive(Clone, Debug)]
pub struct ScanInputs<B: Backend> {
    /// `[batch, heads, time]`
    pub scores: FloatTensor<B>,
    /// `[batch, heads, time, head_dim]`
    pub values: FloatTensor<B>,
    /// `[batch, time]`, true on the first token of an episode
    pub reset: B::BoolTensorPrimitive,
    /// `[batch, heads]`
    pub carry_log_sum: FloatTensor<B>,
    /// `[batch, heads, head_dim]`
    pub carry_output: FloatTensor<B>,
}

/// What a scan computes for every prefix.
#[derive(Clone, Debug)]
pub struct ScanOutputs<B: Backend> {
    /// `[batch, heads, time, head_dim]`
    pub outputs: FloatTensor<B>,
    /// Log-sum-exp of the scores of every prefix: `[batch, heads, time]`
    pub log_sums: FloatTensor<B>,
}

/// Gradients of a loss for everything that a scan reads and that is differentiable.
#[derive(Clone, Debug)]
pub struct ScanGradients<B: Backend> {
    /// `[batch, heads, time]`
    pub scores: FloatTensor<B>,
    /// `[batch, heads, time, head_dim]`
    pub values: FloatTensor<B>,
    /// `[batch, heads]`
    pub carry_log_sum: FloatTensor<B>,
    /// `[batch, heads, head_dim]`
    pub carry_output: FloatTensor<B>,
}

/// Softmax attention of one fixed query over every prefix of a sequence, cut at episode starts.
///
/// `outputs[.., t, :]` is the softmax-weighted mean of the values of the tokens of `t`'s episode up to `t`, the carry counting
/// as one more token with score `carry.log_sum` and value `carry.output`. Time and memory are linear in `time` where the
/// backend has an implementation of its own; elsewhere the quadratic reference runs.
///
/// # Shapes
/// - `scores`: `[batch, heads, time]`, finite or `-inf`
/// - `values`: `[batch, heads, time, head_dim]`, finite
/// - `reset`: `[batch, time]`, true on the first token of an episode
/// - returns: `[batch, heads, time, head_dim]`, and the carry after the last token
/// # Panics
/// If the shapes disagree or `time` is 0.
pub fn attention_scan<B: KernelBackend>(
    scores: Tensor<B, 3>,
    values: Tensor<B, 4>,
    reset: Tensor<B, 2, Bool>,
    carry: ScanCarry<B>,
) -> (Tensor<B, 4>, ScanCarry<B>) {
    let [batch, heads, time, head_dim] = values.dims();
    assert!(time > 0, "attention_scan: needs at least one token");
    assert_eq!(
        scores.dims(),
        [batch, heads, time],
        "attention_scan: scores do not fit values [{batch}, {heads}, {time}, {head_dim}]"
    );
    assert_eq!(reset.dims(), [batch, time], "attention_scan: reset flags do not fit the batch and time of values");
    assert_eq!(carry.log_sum.dims(), [batch, heads], "attention_scan: carry.log_sum does not fit values");
    assert_eq!(carry.output.dims(), [batch, heads, head_dim], "attention_scan: carry.output does not fit values");

    // An empty carry is made before anybody knows the float types. Log-sums are of the scores' type: half precision will do for values.
    let carry = if carry.output.dtype() == values.dtype() && carry.log_sum.dtype() == scores.dtype() {
        carry
    } else {
        ScanCarry { log_sum: carry.log_sum.cast(scores.dtype()), output: carry.output.cast(values.dtype()) }
    };
    let ScanOutputs { outputs, log_sums } = B::attention_scan(ScanInputs {
        scores: scores.into_primitive().tensor(),
        values: values.into_primitive().tensor(),
        reset: reset.into_primitive(),
        carry_log_sum: carry.log_sum.into_primitive().tensor(),
        carry_output: carry.output.into_primitive().tensor(),
    });
    let outputs = Tensor::<B, 4>::from_primitive(TensorPrimitive::Float(outputs));
    let log_sums = Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(log_sums));
    let carry = ScanCarry {
        log_sum: log_sums.slice([0..batch, 0..heads, time - 1..time]).reshape([batch, heads]),
        output: outputs.clone().slice([0..batch, 0..heads, time - 1..time]).reshape([batch, heads, head_dim]),
    };
    (outputs, carry)
}
