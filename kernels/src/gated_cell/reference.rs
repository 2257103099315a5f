//! Gated cells token by token in plain tensor ops.

use super::inputs::{Cell, CellInputs};
use crate::primitive::{float, primitive};
use burn::tensor::activation::sigmoid;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bool, Tensor};

/// Every output and the last state in a row: `[batch, (time + parts) * width]`.
pub(crate) fn gated_cell<B: Backend>(inputs: CellInputs<B>) -> FloatTensor<B> {
    let (x, weight, bias) = (float::<B, 3>(inputs.inputs), float::<B, 2>(inputs.weight), float::<B, 1>(inputs.bias));
    let (fresh, carry) = (float::<B, 2>(inputs.fresh), float::<B, 3>(inputs.carry));
    let reset = Tensor::<B, 2, Bool>::from_primitive(inputs.reset);
    let ([batch, time, gates], [width, _], cell) = (x.dims(), weight.dims(), inputs.cell);
    let bias = bias.unsqueeze::<2>();
    let part = |part: usize| carry.clone().slice([0..batch, part..part + 1]).reshape([batch, width]);
    let mut state: Vec<Tensor<B, 2>> = (0..cell.parts()).map(part).collect();
    let mut outputs = Vec::with_capacity(time + 1);
    for token in 0..time {
        let begins = reset.clone().slice([0..batch, token..token + 1]).expand([batch, width]);
        for (part, state) in state.iter_mut().enumerate() {
            let fresh = fresh.clone().slice([part..part + 1, 0..width]).expand([batch, width]);
            *state = state.clone().mask_where(begins.clone(), fresh);
        }
        let of_input = x.clone().slice([0..batch, token..token + 1]).reshape([batch, gates]);
        let of_state = state[0].clone().matmul(weight.clone()) + bias.clone();
        let gate = |of: &Tensor<B, 2>, index: usize| of.clone().slice([0..batch, index * width..(index + 1) * width]);
        match cell {
            Cell::Lstm => {
                let gates = of_input + of_state;
                let written = sigmoid(gate(&gates, 0)) * gate(&gates, 2).tanh();
                state[1] = sigmoid(gate(&gates, 1)) * state[1].clone() + written;
                state[0] = sigmoid(gate(&gates, 3)) * state[1].clone().tanh();
            }
            Cell::Gru => {
                let both = |index: usize| sigmoid(gate(&of_input, index) + gate(&of_state, index));
                let new = (gate(&of_input, 2) + both(0) * gate(&of_state, 2)).tanh();
                state[0] = new.clone() + both(1) * (state[0].clone() - new);
            }
        }
        outputs.push(state[0].clone());
    }
    outputs.append(&mut state);
    primitive(Tensor::cat(outputs, 1))
}
