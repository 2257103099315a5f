//! The recurrence as a prefix scan in plain tensor ops: `log2(time)` passes, differentiable by Burn.

use super::inputs::RecurrenceInputs;
use crate::primitive::{float, primitive};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bool, Tensor};

/// Hillis and Steele: after the pass of distance `n`, every element is the composition of the `2 n` tokens up to its own.
pub(crate) fn gated_recurrence<B: Backend>(inputs: RecurrenceInputs<B>) -> FloatTensor<B> {
    let gates = float::<B, 3>(inputs.gates);
    let mut states = float::<B, 3>(inputs.inputs);
    let reset = Tensor::<B, 2, Bool>::from_primitive(inputs.reset);
    let carry = float::<B, 2>(inputs.carry);
    let [batch, time, channels] = states.dims();
    let mut gates = gates.mask_fill(reset.unsqueeze_dim::<3>(2).expand([batch, time, channels]), 0.0);
    let part = |tensor: &Tensor<B, 3>, tokens: std::ops::Range<usize>| tensor.clone().slice([0..batch, tokens, 0..channels]);

    // The carry goes in with the first token; from there on it is a recurrence from zero.
    let first = part(&states, 0..1) + part(&gates, 0..1) * carry.unsqueeze_dim::<3>(1);
    states = if time == 1 { first } else { Tensor::cat(vec![first, part(&states, 1..time)], 1) };
    let mut distance = 1;
    while distance < time {
        let own = distance..time;
        let earlier = 0..time - distance;
        let joined = part(&states, own.clone()) + part(&gates, own.clone()) * part(&states, earlier.clone());
        let joined_gates = part(&gates, own) * part(&gates, earlier);
        states = Tensor::cat(vec![part(&states, 0..distance), joined], 1);
        gates = Tensor::cat(vec![part(&gates, 0..distance), joined_gates], 1);
        distance *= 2;
    }
    primitive(states)
}
