//! The op: what a backend may implement, and the checked function.

use super::inputs::{RecurrenceGradients, RecurrenceInputs};
use super::reference;
use crate::primitive::float;
use burn::tensor::{Bool, DType, Device, Tensor, backend::Backend, ops::FloatTensor};

/// Gated recurrences of a backend.
pub trait RecurrenceOps: Backend {
    /// Whether the backend has a backward pass of its own for numbers of this type; else `Autodiff` records the reference.
    fn has_backward(device: &Device<Self>, dtype: DType) -> bool {
        let _ = (device, dtype);
        false
    }

    /// [`gated_recurrence`].
    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        reference::gated_recurrence(inputs)
    }

    /// Gradients of a recurrence, given the states that it computed.
    fn gated_recurrence_backward(
        inputs: RecurrenceInputs<Self>,
        states: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> RecurrenceGradients<Self> {
        let _ = states;
        inputs.derive(reference::gated_recurrence, grad)
    }
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
pub fn gated_recurrence<B: RecurrenceOps>(
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
    // A first carry is made before the inputs' float type is known.
    let carry = if carry.dtype() == inputs.dtype() { carry } else { carry.cast(inputs.dtype()) };
    float(B::gated_recurrence(RecurrenceInputs::new(gates, inputs, carry, reset.into_primitive())))
}
