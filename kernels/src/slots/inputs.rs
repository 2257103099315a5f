//! What slot attention reads and returns.

use crate::inputs::op_inputs;

op_inputs! {
    /// The inputs of slot attention as the backends see them.
    SlotInputs {
        /// How much a token belongs to a slot: `[batch, heads, time, slots]`
        scores: 4,
        /// `[batch, heads, time, head_dim]`
        queries: 4,
        /// `[batch, heads, time, head_dim]`
        keys: 4,
        /// `[batch, heads, time, head_dim]`
        values: 4,
        /// `[batch, heads, slots]`
        carry_log_sum: 3,
        /// Keys, and values behind them: `[batch, heads, slots, 2 * head_dim]`
        carry_memory: 4,
    }
    others {
        /// `[batch, time]`, true on the first token of an episode
        reset: B::BoolTensorPrimitive,
    }
    /// Gradients of a loss for everything that slot attention reads and that is differentiable.
    gradients SlotGradients
    views SlotViews
}
