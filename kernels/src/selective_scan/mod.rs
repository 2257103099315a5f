//! The selective scan: the recurrence of a diagonal state space whose step and projections depend on the token.
//!
//! ```text
//! h_t[n, c] = exp(delta_t[c] A[n, c]) h_{t-1}[n, c] + delta_t[c] B_t[n] u_t[c]
//! y_t[c] = sum over n of C_t[n] h_t[n, c]
//! ```
//!
//! The decay is the exact zero-order hold, the write is Euler's, as published. It is a gated recurrence over `states * channels`
//! channels, fused so that those never lie in memory for all tokens at once.
//!
//! Source: Gu and Dao 2023, arXiv:2312.00752, section 3.

pub(crate) mod autodiff;
pub(crate) mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::backend::KernelBackend;
use burn::tensor::{Bool, Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

/// The inputs of a selective scan as the backends see them.
#[derive(Clone, Debug)]
pub struct SelectiveInputs<B: Backend> {
    /// `u`: `[batch, time, channels]`
    pub inputs: FloatTensor<B>,
    /// `delta`, the step, positive: `[batch, time, channels]`
    pub steps: FloatTensor<B>,
    /// `A`, negative: `[states, channels]`
    pub decays: FloatTensor<B>,
    /// `B`: `[batch, time, states]`
    pub writes: FloatTensor<B>,
    /// `C`: `[batch, time, states]`
    pub reads: FloatTensor<B>,
    /// `h_0`: `[batch, states, channels]`
    pub carry: FloatTensor<B>,
    /// `[batch, time]`, true on the first token of an episode
    pub reset: B::BoolTensorPrimitive,
}

/// Gradients of a loss, in the order of the fields of [`SelectiveInputs`], without the flags.
#[derive(Clone, Debug)]
pub struct SelectiveGradients<B: Backend>(pub [FloatTensor<B>; 6]);

/// Everything that a selective scan is given, as tensors.
#[derive(Clone, Debug)]
pub struct SelectiveScan<B: Backend> {
    /// `u`: `[batch, time, channels]`
    pub inputs: Tensor<B, 3>,
    /// `delta`, the step, positive: `[batch, time, channels]`
    pub steps: Tensor<B, 3>,
    /// `A`, negative: `[states, channels]`
    pub decays: Tensor<B, 2>,
    /// `B`: `[batch, time, states]`
    pub writes: Tensor<B, 3>,
    /// `C`: `[batch, time, states]`
    pub reads: Tensor<B, 3>,
}

/// The selective scan from `carry`, cut at episode starts.
///
/// # Shapes
/// - `scan`: see its fields
/// - `reset`: `[batch, time]`, true on the first token of an episode
/// - `carry`: `[batch, states, channels]`
/// - returns: `[batch, time, channels]`, and the carry after the last token
/// # Panics
/// If the shapes disagree or `time` is 0.
pub fn selective_scan<B: KernelBackend>(
    scan: SelectiveScan<B>,
    reset: Tensor<B, 2, Bool>,
    carry: Tensor<B, 3>,
) -> (Tensor<B, 3>, Tensor<B, 3>) {
    let [batch, time, channels] = scan.inputs.dims();
    let [states, _] = scan.decays.dims();
    assert!(time > 0, "selective_scan: needs at least one token");
    assert_eq!(scan.steps.dims(), [batch, time, channels], "selective_scan: steps do not fit inputs");
    assert_eq!(scan.decays.dims(), [states, channels], "selective_scan: decays do not fit inputs");
    assert_eq!(scan.writes.dims(), [batch, time, states], "selective_scan: writes do not fit inputs and decays");
    assert_eq!(scan.reads.dims(), [batch, time, states], "selective_scan: reads do not fit inputs and decays");
    assert_eq!(carry.dims(), [batch, states, channels], "selective_scan: the carry does not fit inputs and decays");
    assert_eq!(reset.dims(), [batch, time], "selective_scan: reset flags do not fit inputs");
    let carry = if carry.dtype() == scan.inputs.dtype() { carry } else { carry.cast(scan.inputs.dtype()) };
    let packed = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(B::selective_scan(SelectiveInputs {
        inputs: scan.inputs.into_primitive().tensor(),
        steps: scan.steps.into_primitive().tensor(),
        decays: scan.decays.into_primitive().tensor(),
        writes: scan.writes.into_primitive().tensor(),
        reads: scan.reads.into_primitive().tensor(),
        carry: carry.into_primitive().tensor(),
        reset: reset.into_primitive(),
    })));
    let outputs = time * channels;
    (
        packed.clone().slice([0..batch, 0..outputs]).reshape([batch, time, channels]),
        packed.slice([0..batch, outputs..outputs + states * channels]).reshape([batch, states, channels]),
    )
}
