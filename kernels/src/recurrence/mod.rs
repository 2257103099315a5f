//! The gated linear recurrence, element by element: what state space models, decayed sums and modal filters are made of.
//!
//! ```text
//! h_t = a_t h_{t-1} + x_t            a_t = 0 where t begins an episode
//! ```
//!
//! Pairs `(a, x)` under `(a1, x1) + (a2, x2) = (a1 a2, a2 x1 + x2)` are associative, so the recurrence is a prefix scan; a reset
//! is a gate of 0 and needs no flag of its own in the scan. The reverse pass of the gradient is the same recurrence, backwards.
//!
//! Source: Blelloch 1990, *Prefix sums and their applications*, section 1.4; Martin and Cundy 2018, arXiv:1709.04057.

pub(crate) mod autodiff;
pub(crate) mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

use crate::backend::KernelBackend;
use burn::tensor::{Bool, Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

/// The inputs of a recurrence as the backends see them.
#[derive(Clone, Debug)]
pub struct RecurrenceInputs<B: Backend> {
    /// `a`: `[batch, time, channels]`
    pub gates: FloatTensor<B>,
    /// `x`: `[batch, time, channels]`
    pub inputs: FloatTensor<B>,
    /// `[batch, time]`, true on the first token of an episode
    pub reset: B::BoolTensorPrimitive,
    /// `h_0`: `[batch, channels]`
    pub carry: FloatTensor<B>,
}

/// Gradients of a loss for everything that a recurrence reads and that is differentiable.
#[derive(Clone, Debug)]
pub struct RecurrenceGradients<B: Backend> {
    /// `[batch, time, channels]`
    pub gates: FloatTensor<B>,
    /// `[batch, time, channels]`
    pub inputs: FloatTensor<B>,
    /// `[batch, channels]`
    pub carry: FloatTensor<B>,
}

/// `h_t = a_t h_{t-1} + x_t` from `h_0 = carry`, cut at episode starts, where `h_t = x_t`.
///
/// # Shapes
/// - `gates`, `inputs`: `[batch, time, channels]`, finite
/// - `reset`: `[batch, time]`, true on the first token of an episode
/// - `carry`: `[batch, channels]`
/// - returns: every `h_t`, `[batch, time, channels]`; the last is the next carry
/// # Panics
/// If the shapes disagree or `time` is 0.
pub fn gated_recurrence<B: KernelBackend>(
    gates: Tensor<B, 3>,
    inputs: Tensor<B, 3>,
    reset: Tensor<B, 2, Bool>,
    carry: Tensor<B, 2>,
) -> Tensor<B, 3> {
    let [batch, time, channels] = inputs.dims();
    assert!(time > 0, "gated_recurrence: needs at least one token");
    assert_eq!(gates.dims(), [batch, time, channels], "gated_recurrence: gates do not fit inputs");
    assert_eq!(reset.dims(), [batch, time], "gated_recurrence: reset flags do not fit inputs");
    assert_eq!(carry.dims(), [batch, channels], "gated_recurrence: the carry does not fit inputs");
    // A first carry is made before anybody knows the inputs' float type.
    let carry = if carry.dtype() == inputs.dtype() { carry } else { carry.cast(inputs.dtype()) };
    Tensor::from_primitive(TensorPrimitive::Float(B::gated_recurrence(RecurrenceInputs {
        gates: gates.into_primitive().tensor(),
        inputs: inputs.into_primitive().tensor(),
        reset: reset.into_primitive(),
        carry: carry.into_primitive().tensor(),
    })))
}
