//! What a recurrence reads and returns.

use crate::inputs::op_inputs;

op_inputs! {
    /// The inputs of a recurrence as the backends see them.
    RecurrenceInputs {
        /// `a`: `[batch, time, channels]`
        gates: 3,
        /// `x`: `[batch, time, channels]`
        inputs: 3,
        /// `h_0`: `[batch, channels]`
        carry: 2,
    }
    others {
        /// `[batch, time]`, true on the first token of an episode
        reset: B::BoolTensorPrimitive,
    }
    /// Gradients of a loss for everything that a recurrence reads and that is differentiable.
    gradients RecurrenceGradients
    views RecurrenceViews
}
