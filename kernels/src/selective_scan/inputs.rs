//! What a selective scan reads and returns.

use crate::inputs::op_inputs;
use burn::tensor::{Tensor, backend::Backend};

op_inputs! {
    /// The inputs of a selective scan as the backends see them.
    SelectiveInputs {
        /// `u`: `[batch, time, channels]`
        inputs: 3,
        /// `delta`, the step, positive: `[batch, time, channels]`
        steps: 3,
        /// `A`, negative: `[states, channels]`
        decays: 2,
        /// `B`: `[batch, time, states]`
        writes: 3,
        /// `C`: `[batch, time, states]`
        reads: 3,
        /// `h_0`: `[batch, states, channels]`
        carry: 3,
    }
    others {
        /// `[batch, time]`, true on the first token of an episode
        reset: B::BoolTensorPrimitive,
    }
    /// Gradients of a loss for everything that a selective scan reads and that is differentiable.
    gradients SelectiveGradients
    views SelectiveViews
}

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
