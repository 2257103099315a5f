//! What a recurrence reads and returns.

use burn::tensor::{backend::Backend, ops::FloatTensor};

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
