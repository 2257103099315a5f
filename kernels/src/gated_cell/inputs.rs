//! What a gated cell reads and returns.

use crate::inputs::op_inputs;
use burn::tensor::{backend::Backend, ops::FloatTensor};

/// Which cell it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Long short-term memory. Gates: input, forget, cell, output. State: hidden, cell.
    Lstm,
    /// Gated recurrent unit. Gates: reset, update, new. State: hidden.
    Gru,
}

impl Cell {
    /// Vectors of the width that a token's gates are.
    pub fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// Vectors of the width that a state is.
    pub fn parts(self) -> usize {
        match self {
            Self::Lstm => 2,
            Self::Gru => 1,
        }
    }
}

op_inputs! {
    /// The inputs of a gated cell as the backends see them.
    CellInputs {
        /// `x`, what the input adds to the gates: `[batch, time, gates * width]`
        inputs: 3,
        /// `W`: `[width, gates * width]`
        weight: 2,
        /// `b`: `[gates * width]`
        bias: 1,
        /// What an episode begins from: `[parts, width]`
        fresh: 2,
        /// The state before the first token: `[batch, parts, width]`
        carry: 3,
    }
    others {
        /// `[batch, time]`, true on the first token of an episode
        reset: B::BoolTensorPrimitive,
        /// Which cell.
        cell: Cell,
    }
    /// Gradients of a loss for everything that a gated cell reads and that is differentiable.
    gradients CellGradients
    views CellViews
}

/// What a gated cell computes.
#[derive(Clone, Debug)]
pub struct CellOutputs<B: Backend> {
    /// Every `h_t` and the last state in a row: `[batch, (time + parts) * width]`
    pub packed: FloatTensor<B>,
    /// What the backend's own backward pass wants to find again; none where it has no such pass.
    pub trace: Option<FloatTensor<B>>,
}
