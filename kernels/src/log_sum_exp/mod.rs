//! The running log-sum-exp of scores: what softmax attention over every prefix is normalised by.
//!
//! ```text
//! L_t = log(e^{L_{t-1}} + e^{s_t})        L_t = s_t where t begins an episode
//! ```
//!
//! Log-sums under `logaddexp` are associative, so this is a prefix scan; the empty carry is `L = -inf`. The gradient is a gated
//! recurrence from the last token to the first, of which the gates are the softmax weights of the past at every step.
//!
//! Source: Feng et al. 2024, arXiv:2405.13956, section 3; Blelloch 1990 for the scan.

pub(crate) mod autodiff;
pub(crate) mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::backend::KernelBackend;
use burn::tensor::{Bool, Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

/// The inputs of a running log-sum-exp as the backends see them.
#[derive(Clone, Debug)]
pub struct LogSumInputs<B: Backend> {
    /// `[batch, heads, time]`
    pub scores: FloatTensor<B>,
    /// `[batch, time]`, true on the first token of an episode
    pub reset: B::BoolTensorPrimitive,
    /// `L_0`: `[batch, heads]`
    pub carry: FloatTensor<B>,
}

/// Gradients of a loss for everything that a running log-sum-exp reads and that is differentiable.
#[derive(Clone, Debug)]
pub struct LogSumGradients<B: Backend> {
    /// `[batch, heads, time]`
    pub scores: FloatTensor<B>,
    /// `[batch, heads]`
    pub carry: FloatTensor<B>,
}

/// Log-sum-exp of the scores of every prefix, the carry counting as one more score, cut at episode starts.
///
/// A log-sum of `-inf` (nothing but scores of `-inf` so far) is a constant: no gradient passes through it. [`crate::attention_scan`]
/// carries the same log-sums; this is for those who want nothing else.
///
/// # Shapes
/// - `scores`: `[batch, heads, time]`, finite or `-inf`
/// - `reset`: `[batch, time]`, true on the first token of an episode
/// - `carry`: `[batch, heads]`, `-inf` where nothing has been seen
/// - returns: every `L_t`, `[batch, heads, time]`; the last is the next carry
/// # Panics
/// If the shapes disagree or `time` is 0.
pub fn running_log_sum_exp<B: KernelBackend>(
    scores: Tensor<B, 3>,
    reset: Tensor<B, 2, Bool>,
    carry: Tensor<B, 2>,
) -> Tensor<B, 3> {
    let [batch, heads, time] = scores.dims();
    assert!(time > 0, "running_log_sum_exp: needs at least one token");
    assert_eq!(reset.dims(), [batch, time], "running_log_sum_exp: reset flags do not fit scores");
    assert_eq!(carry.dims(), [batch, heads], "running_log_sum_exp: the carry does not fit scores");
    // A first carry is made before anybody knows the scores' float type.
    let carry = if carry.dtype() == scores.dtype() { carry } else { carry.cast(scores.dtype()) };
    Tensor::from_primitive(TensorPrimitive::Float(B::running_log_sum_exp(LogSumInputs {
        scores: scores.into_primitive().tensor(),
        reset: reset.into_primitive(),
        carry: carry.into_primitive().tensor(),
    })))
}
