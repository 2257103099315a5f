//! The recurrence on the CPU: one pass over time, forward and backward, vectorized over channels, a task for every batch row.
//!
//! ```text
//! g_t = dh_t + a_{t+1} g_{t+1}        dx_t = g_t        da_t = g_t h_{t-1}        dh_0 = a_1 g_1
//! ```
//!
//! At a reset `a_t` counts as 0 and gets no gradient.

use super::inputs::{RecurrenceGradients, RecurrenceInputs};
use super::ops::RecurrenceOps;
use super::reference;
use crate::cpu::{Real, by_float, flags, made_in_chunks, serves, tensor, vectorize, view, viewable};
use burn::tensor::{DType, Device, ops::FloatTensor};
use burn_flex::Flex;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Below this many elements one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 15;

impl RecurrenceOps for Flex {
    fn has_backward(_device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype)
    }

    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        by_float!(inputs.inputs.dtype(), R => gated_recurrence::<R>(inputs), _ => reference::gated_recurrence(inputs))
    }

    fn gated_recurrence_backward(
        inputs: RecurrenceInputs<Self>,
        states: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> RecurrenceGradients<Self> {
        by_float!(
            grad.dtype(),
            R => gated_recurrence_backward::<R>(inputs, states, grad),
            _ => reference::gated_recurrence_backward(inputs, grad),
        )
    }
}

pub(crate) fn gated_recurrence<R: Real>(inputs: RecurrenceInputs<Flex>) -> FloatTensor<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let inputs = inputs.views::<R>();
    let [batch, time, channels] = inputs.inputs.shape;
    let row = |b: usize, states: &mut [R]| {
        vectorize(
            #[inline(always)]
            || {
                for t in 0..time {
                    let (done, rest) = states.split_at_mut(t * channels);
                    let state = &mut rest[..channels];
                    let input = inputs.inputs.row([b, t, 0], channels);
                    // A reset is a branch, not a product: a non-finite past must not reach the next episode.
                    if reset[b * time + t] {
                        state.copy_from_slice(input);
                        continue;
                    }
                    let gate = inputs.gates.row([b, t, 0], channels);
                    let past = if t == 0 { inputs.carry.row([b, 0], channels) } else { &done[(t - 1) * channels..] };
                    for (((state, &input), &gate), &past) in state.iter_mut().zip(input).zip(gate).zip(past) {
                        *state = gate.mul_add(past, input);
                    }
                }
            },
        );
    };
    let count = batch * time * channels;
    let states = made_in_chunks(count, time * channels, count < SEQUENTIAL_BELOW, row);
    tensor(states, [batch, time, channels])
}

pub(crate) fn gated_recurrence_backward<R: Real>(
    inputs: RecurrenceInputs<Flex>,
    states: FloatTensor<Flex>,
    grad: FloatTensor<Flex>,
) -> RecurrenceGradients<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let inputs = inputs.views::<R>();
    let (states, grad) = (viewable(states), viewable(grad));
    let (states, grad) = (view::<R, 3>(&states), view::<R, 3>(&grad));
    let [batch, time, channels] = inputs.inputs.shape;
    let mut grad_gates = vec![R::zero(); batch * time * channels];
    let mut grad_inputs = vec![R::zero(); batch * time * channels];
    let mut grad_carry = vec![R::zero(); batch * channels];
    // `downstream` ends as the carry's gradient.
    let row = |b: usize, grad_gates: &mut [R], grad_inputs: &mut [R], downstream: &mut [R]| {
        vectorize(
            #[inline(always)]
            || {
                for t in (0..time).rev() {
                    let here = t * channels..(t + 1) * channels;
                    for (sum, &grad) in downstream.iter_mut().zip(grad.row([b, t, 0], channels)) {
                        *sum += grad;
                    }
                    grad_inputs[here.clone()].copy_from_slice(downstream);
                    if reset[b * time + t] {
                        downstream.fill(R::zero());
                        continue;
                    }
                    let past = if t == 0 { inputs.carry.row([b, 0], channels) } else { states.row([b, t - 1, 0], channels) };
                    let gate = inputs.gates.row([b, t, 0], channels);
                    for (((grad, sum), &past), &gate) in grad_gates[here].iter_mut().zip(&mut *downstream).zip(past).zip(gate) {
                        *grad = *sum * past;
                        *sum *= gate;
                    }
                }
            },
        );
    };
    let row_length = (time * channels).max(1);
    grad_gates
        .par_chunks_mut(row_length)
        .zip(grad_inputs.par_chunks_mut(row_length))
        .zip(grad_carry.par_chunks_mut(channels.max(1)))
        .enumerate()
        .for_each(|(b, ((gates, inputs), carry))| row(b, gates, inputs, carry));
    RecurrenceGradients {
        gates: tensor(grad_gates, [batch, time, channels]),
        inputs: tensor(grad_inputs, [batch, time, channels]),
        carry: tensor(grad_carry, [batch, channels]),
    }
}
