//! The op: what a backend may implement, and the checked functions.

use super::inputs::{LogSumGradients, LogSumInputs, ScanCarry, ScanGradients, ScanInputs, ScanOutputs};
use super::reference;
use crate::primitive::float;
use burn::tensor::{Bool, DType, Device, Tensor, backend::Backend, ops::FloatTensor};

/// Attention scans of a backend, and their log-sums alone.
pub trait ScanOps: Backend {
    /// Whether the backend has a backward pass of its own for heads of this width and numbers of this type. Where it has none,
    /// `Autodiff` records the reference's operations: deriving them when the gradient is needed would wait for itself, as Burn's
    /// autodiff locks every graph at the end of a backward pass.
    fn has_backward(device: &Device<Self>, head_dim: usize, dtype: DType) -> bool {
        let _ = (device, head_dim, dtype);
        false
    }

    /// [`attention_scan`].
    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        reference::attention_scan(inputs)
    }

    /// Gradients of the scan's inputs, given that of its outputs; its log-sums have a backward pass of their own,
    /// [`ScanOps::running_log_sum_exp_backward`].
    fn attention_scan_backward(
        inputs: ScanInputs<Self>,
        outputs: ScanOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> ScanGradients<Self> {
        let _ = outputs;
        inputs.derive(|inputs| reference::attention_scan(inputs).outputs, grad)
    }

    /// Whether the backend has a backward pass of its own for log-sums of this type.
    fn has_log_sum_backward(device: &Device<Self>, dtype: DType) -> bool {
        let _ = (device, dtype);
        false
    }

    /// [`running_log_sum_exp`].
    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        reference::running_log_sum_exp(inputs)
    }

    /// Gradients of a running log-sum-exp, the scan's own among them.
    fn running_log_sum_exp_backward(
        inputs: LogSumInputs<Self>,
        log_sums: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> LogSumGradients<Self> {
        let _ = log_sums;
        reference::running_log_sum_exp_backward(inputs, grad)
    }
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
pub fn attention_scan<B: ScanOps>(
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

    // An empty carry is made before the float types are known. Log-sums are of the scores' type: half precision will do for values.
    let carry = if carry.output.dtype() == values.dtype() && carry.log_sum.dtype() == scores.dtype() {
        carry
    } else {
        ScanCarry { log_sum: carry.log_sum.cast(scores.dtype()), output: carry.output.cast(values.dtype()) }
    };
    let inputs = ScanInputs::new(scores, values, carry.log_sum, carry.output, reset.into_primitive());
    let ScanOutputs { outputs, log_sums } = B::attention_scan(inputs);
    let (outputs, log_sums) = (float::<B, 4>(outputs), float::<B, 3>(log_sums));
    let carry = ScanCarry {
        log_sum: log_sums.slice([0..batch, 0..heads, time - 1..time]).reshape([batch, heads]),
        output: outputs.clone().slice([0..batch, 0..heads, time - 1..time]).reshape([batch, heads, head_dim]),
    };
    (outputs, carry)
}

/// Log-sum-exp of the scores of every prefix, the carry counting as one more score, cut at episode starts.
///
/// A log-sum of `-inf` (nothing but scores of `-inf` so far) is a constant: no gradient passes through it. [`attention_scan`]
/// carries the same log-sums; this computes nothing else.
///
/// # Shapes
/// - `scores`: `[batch, heads, time]`, finite or `-inf`
/// - `reset`: `[batch, time]`, true on the first token of an episode
/// - `carry`: `[batch, heads]`, `-inf` where nothing has been seen
/// - returns: every `L_t`, `[batch, heads, time]`; the last is the next carry
/// # Panics
/// If the shapes disagree or `time` is 0.
pub fn running_log_sum_exp<B: ScanOps>(scores: Tensor<B, 3>, reset: Tensor<B, 2, Bool>, carry: Tensor<B, 2>) -> Tensor<B, 3> {
    let [batch, heads, time] = scores.dims();
    assert!(time > 0, "running_log_sum_exp: needs at least one token");
    assert_eq!(reset.dims(), [batch, time], "running_log_sum_exp: reset flags do not fit scores");
    assert_eq!(carry.dims(), [batch, heads], "running_log_sum_exp: the carry does not fit scores");
    // A first carry is made before the scores' float type is known.
    let carry = if carry.dtype() == scores.dtype() { carry } else { carry.cast(scores.dtype()) };
    float(B::running_log_sum_exp(LogSumInputs::new(scores, carry, reset.into_primitive())))
}
