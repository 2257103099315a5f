//! The op: what a backend may implement, and the checked function.

use super::inputs::{SlotGradients, SlotInputs};
use super::reference;
use crate::primitive::float;
use crate::scan::{ScanCarry, ScanOps};
use burn::tensor::{Bool, Tensor, ops::FloatTensor};

/// Slot attention of a backend.
pub trait SlotOps: ScanOps {
    /// Whether the backend has a backward pass of its own for inputs of this type and size; else `Autodiff` records the reference.
    fn has_backward(inputs: &SlotInputs<Self>) -> bool {
        let _ = inputs;
        false
    }

    /// [`slot_attention`]. Of every row and head in a row: the outputs of all tokens, the memory after the last, and its log-sums,
    /// `[batch, heads, time * head_dim + slots * (2 * head_dim + 1)]`.
    fn slot_attention(inputs: SlotInputs<Self>) -> FloatTensor<Self> {
        reference::slot_attention(inputs)
    }

    /// Gradients of the inputs, given that of what [`SlotOps::slot_attention`] returns. A log-sum of `-inf` is a constant.
    fn slot_attention_backward(inputs: SlotInputs<Self>, grad: FloatTensor<Self>) -> SlotGradients<Self> {
        reference::slot_attention_backward(inputs, grad)
    }
}

/// Attention over slots, which tokens are written to by their scores; cut at episode starts.
///
/// A slot that nothing has been written to holds zeros, and is read as the others are.
///
/// # Shapes
/// - `scores`: `[batch, heads, time, slots]`, finite or `-inf`
/// - `queries`, `keys`, `values`: `[batch, heads, time, head_dim]`, finite
/// - `reset`: `[batch, time]`, true on the first token of an episode
/// - `carry`: as of [`attention_scan`](crate::attention_scan) with `heads * slots` heads of `2 * head_dim`: keys, and values behind them
/// - returns: `[batch, heads, time, head_dim]`, and the carry after the last token
/// # Panics
/// If the shapes disagree or `time` is 0.
pub fn slot_attention<B: SlotOps>(
    scores: Tensor<B, 4>,
    queries: Tensor<B, 4>,
    keys: Tensor<B, 4>,
    values: Tensor<B, 4>,
    reset: Tensor<B, 2, Bool>,
    carry: ScanCarry<B>,
) -> (Tensor<B, 4>, ScanCarry<B>) {
    let ([batch, heads, time, head_dim], slots) = (values.dims(), scores.dims()[3]);
    assert!(time > 0, "slot_attention: needs at least one token");
    assert_eq!(scores.dims(), [batch, heads, time, slots], "slot_attention: scores do not fit values");
    assert_eq!(queries.dims(), values.dims(), "slot_attention: queries do not fit values");
    assert_eq!(keys.dims(), values.dims(), "slot_attention: keys do not fit values");
    assert_eq!(reset.dims(), [batch, time], "slot_attention: reset flags do not fit values");
    assert_eq!(carry.log_sum.dims(), [batch, heads * slots], "slot_attention: carry.log_sum does not fit scores");
    let wide = 2 * head_dim;
    assert_eq!(carry.output.dims(), [batch, heads * slots, wide], "slot_attention: carry.output does not fit scores and values");

    // An empty carry is made before the float types are known.
    let options = values.dtype();
    let log_sum = if carry.log_sum.dtype() == options { carry.log_sum } else { carry.log_sum.cast(options) };
    let memory = if carry.output.dtype() == options { carry.output } else { carry.output.cast(options) };
    let log_sum = log_sum.reshape([batch, heads, slots]);
    let memory = memory.reshape([batch, heads, slots, wide]);
    let inputs = SlotInputs::new(scores, queries, keys, values, log_sum, memory, reset.into_primitive());
    let packed = float::<B, 3>(B::slot_attention(inputs));
    let (outputs, memory) = (time * head_dim, time * head_dim + slots * wide);
    let part = |from: usize, to: usize| packed.clone().slice([0..batch, 0..heads, from..to]);
    let carry = ScanCarry {
        log_sum: part(memory, memory + slots).reshape([batch, heads * slots]),
        output: part(outputs, memory).reshape([batch, heads * slots, wide]),
    };
    (part(0, outputs).reshape([batch, heads, time, head_dim]), carry)
}
