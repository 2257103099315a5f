//! Gated cells on the CPU: a task takes some rows of the batch through all tokens, forward and backward; one small matrix product a token
//! for all its rows, and the gates while they are in the cache. The weight's gradient is one product over all tokens, at the end.
//!
//! Bits do not depend on the number of threads: tasks depend on the batch alone, and every sum over rows has one order.

use super::inputs::{Cell, CellGradients, CellInputs, CellOutputs, CellViews};
use super::ops::GatedCellOps;
use super::reference;
use super::row;
use crate::cpu::{Matrix, Real, View, by_float, flags, product, serves, tensor, vectorize, view, viewable};
use crate::linear::{FEW_ROWS, add_product, bias_gradient, weight_gradient};
use burn::tensor::{DType, Device, ops::FloatTensor};
use burn_flex::Flex;
use rayon::prelude::*;

/// Rows that one task takes, about: enough that packing the weight, once a token, is little beside the product.
const ROWS: usize = 32;
/// Below this many multiply-adds one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 21;

impl GatedCellOps for Flex {
    fn has_backward(_device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype)
    }

    fn gated_cell(inputs: CellInputs<Self>) -> CellOutputs<Self> {
        by_float!(
            inputs.inputs.dtype(),
            R => gated_cell::<R>(inputs),
            _ => CellOutputs { packed: reference::gated_cell(inputs), trace: None },
        )
    }

    fn gated_cell_backward(inputs: CellInputs<Self>, outputs: CellOutputs<Self>, grad: FloatTensor<Self>) -> CellGradients<Self> {
        by_float!(
            grad.dtype(),
            R => gated_cell_backward::<R>(inputs, outputs, grad),
            _ => inputs.derive(reference::gated_cell, grad),
        )
    }
}

impl Cell {
    /// Numbers of the trace a token and unit of width.
    fn trace(self) -> usize {
        match self {
            Self::Lstm => row::LSTM_TRACE,
            Self::Gru => row::GRU_TRACE,
        }
    }
}

/// First row and number of rows of every task.
fn tasks(batch: usize) -> Vec<(usize, usize)> {
    let count = (batch / ROWS).max(1);
    let start = |task: usize| task * batch / count;
    (0..count).map(|task| (start(task), start(task + 1) - start(task))).collect()
}

/// The rows of every task in a buffer of rows of the given length.
fn split<'a, R>(mut buffer: &'a mut [R], tasks: &[(usize, usize)], length: usize) -> Vec<&'a mut [R]> {
    let take = |&(_, rows): &(usize, usize)| {
        let (own, rest) = std::mem::take(&mut buffer).split_at_mut(rows * length);
        buffer = rest;
        own
    };
    tasks.iter().map(take).collect()
}

/// What all tasks read.
struct Sequence<'a, R> {
    inputs: CellViews<'a, R>,
    reset: &'a [bool],
    cell: Cell,
    time: usize,
    width: usize,
    is_few: bool,
}

impl<'a, R: Real> Sequence<'a, R> {
    fn new(inputs: CellViews<'a, R>, reset: &'a [bool], cell: Cell) -> Self {
        let ([batch, time, _], [width, _]) = (inputs.inputs.shape, inputs.weight.shape);
        Self { inputs, reset, cell, time, width, is_few: batch <= FEW_ROWS }
    }

    fn is_sequential(&self, batch: usize) -> bool {
        batch * self.time * self.width * self.gates() < SEQUENTIAL_BELOW
    }

    fn gates(&self) -> usize {
        self.cell.gates() * self.width
    }

    /// Numbers of an output row: every output, and the last state.
    fn packed(&self) -> usize {
        (self.time + self.cell.parts()) * self.width
    }

    fn begins(&self, row: usize, token: usize) -> bool {
        self.reset[row * self.time + token]
    }

    /// Takes rows from `start` on through all tokens.
    fn forward(&self, start: usize, packed: &mut [R], trace: &mut [R]) {
        let &Self { ref inputs, cell, time, width, .. } = self;
        let (gates, length, traced) = (self.gates(), self.packed(), cell.trace() * width);
        let rows = packed.len() / length;
        // A part after the other, each of all rows.
        let mut state = vec![R::zero(); cell.parts() * rows * width];
        for (index, state) in state.chunks_exact_mut(width).enumerate() {
            state.copy_from_slice(inputs.carry.row([start + index % rows, index / rows, 0], width));
        }
        let mut added = vec![R::zero(); rows * gates];
        for token in 0..time {
            for (index, state) in state.chunks_exact_mut(width).enumerate() {
                if self.begins(start + index % rows, token) {
                    state.copy_from_slice(inputs.fresh.row([index / rows, 0], width));
                }
            }
            let bias = inputs.bias.row([0], gates);
            added.chunks_exact_mut(gates).for_each(|row| row.copy_from_slice(bias));
            let (hidden, others) = state.split_at_mut(rows * width);
            add_product(&mut added, Matrix::new(hidden, rows, width, width), &inputs.weight, self.is_few);
            vectorize(
                #[inline(always)]
                || {
                    for row in 0..rows {
                        let x = inputs.inputs.row([start + row, token, 0], gates);
                        let added = &added[row * gates..(row + 1) * gates];
                        let trace = &mut trace[(row * time + token) * traced..][..traced];
                        let hidden = &mut hidden[row * width..(row + 1) * width];
                        match cell {
                            Cell::Lstm => row::lstm(x, added, hidden, &mut others[row * width..(row + 1) * width], trace),
                            Cell::Gru => row::gru(x, added, hidden, trace),
                        }
                        packed[row * length + token * width..][..width].copy_from_slice(hidden);
                    }
                },
            );
        }
        for (index, state) in state.chunks_exact(width).enumerate() {
            packed[index % rows * length + (time + index / rows) * width..][..width].copy_from_slice(state);
        }
    }
}

pub(super) fn gated_cell<R: Real>(inputs: CellInputs<Flex>) -> CellOutputs<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let sequence = Sequence::new(inputs.views::<R>(), &reset, inputs.cell);
    let [batch, time, _] = sequence.inputs.inputs.shape;
    let (length, traced) = (sequence.packed(), time * inputs.cell.trace() * sequence.width);
    let (mut packed, mut trace) = (vec![R::zero(); batch * length], vec![R::zero(); batch * traced]);
    let tasks = tasks(batch);
    let buffers = split(&mut packed, &tasks, length).into_iter().zip(split(&mut trace, &tasks, traced));
    let all: Vec<_> = tasks.iter().map(|(start, _)| *start).zip(buffers).collect();
    if sequence.is_sequential(batch) {
        all.into_iter().for_each(|(start, (packed, trace))| sequence.forward(start, packed, trace));
    } else {
        all.into_par_iter().for_each(|(start, (packed, trace))| sequence.forward(start, packed, trace));
    }
    CellOutputs { packed: tensor(packed, [batch, length]), trace: Some(tensor(trace, [batch, traced])) }
}

/// What a task of the backward pass writes, of its rows.
struct Gradients<'a, R> {
    /// For the inputs: `[rows, time, gates]`
    inputs: &'a mut [R],
    /// For what the state adds, where it differs from that for the inputs.
    added: Option<&'a mut [R]>,
    /// The hidden states that the product saw: `[rows, time, width]`
    past: &'a mut [R],
    /// `[rows, parts, width]`
    carry: &'a mut [R],
}

impl<R: Real> Sequence<'_, R> {
    /// A part of a row's state before a token; `earlier` finds what the token before it left.
    #[inline(always)]
    fn before<'b>(&'b self, row: usize, token: usize, part: usize, earlier: impl FnOnce() -> &'b [R]) -> &'b [R] {
        match (self.begins(row, token), token) {
            (true, _) => self.inputs.fresh.row([part, 0], self.width),
            (false, 0) => self.inputs.carry.row([row, part, 0], self.width),
            (false, _) => earlier(),
        }
    }

    /// Goes back through all tokens of the rows from `start` on; gives the gradient for the fresh state, `[parts, width]`.
    fn backward(&self, start: usize, [packed, trace, grad]: [&View<R, 2>; 3], mut gradients: Gradients<R>) -> Vec<R> {
        let &Self { ref inputs, cell, time, width, .. } = self;
        let (gates, parts, traced) = (self.gates(), cell.parts(), cell.trace() * width);
        let rows = gradients.past.len() / (time * width);
        // A part after the other, each of all rows.
        let mut downstream = vec![R::zero(); parts * rows * width];
        for (index, sum) in downstream.chunks_exact_mut(width).enumerate() {
            sum.copy_from_slice(grad.row([start + index % rows, (time + index / rows) * width], width));
        }
        let mut fresh = vec![R::zero(); parts * width];
        for token in (0..time).rev() {
            let (hidden, others) = downstream.split_at_mut(rows * width);
            vectorize(
                #[inline(always)]
                || {
                    for row in 0..rows {
                        let b = start + row;
                        let past = self.before(b, token, 0, || packed.row([b, (token - 1) * width], width));
                        let trace_of = |token: usize| trace.row([b, token * traced], traced);
                        let hidden = &mut hidden[row * width..(row + 1) * width];
                        for (sum, &grad) in hidden.iter_mut().zip(grad.row([b, token * width], width)) {
                            *sum += grad;
                        }
                        let place = (row * time + token) * gates..(row * time + token + 1) * gates;
                        gradients.past[(row * time + token) * width..][..width].copy_from_slice(past);
                        let (of_inputs, trace) = (&mut gradients.inputs[place.clone()], trace_of(token));
                        match (cell, &mut gradients.added) {
                            (Cell::Gru, Some(added)) => row::gru_backward(trace, past, hidden, of_inputs, &mut added[place]),
                            (Cell::Lstm, _) => {
                                let past = self.before(b, token, 1, || &trace_of(token - 1)[(row::LSTM_TRACE - 1) * width..]);
                                let cells = &mut others[row * width..(row + 1) * width];
                                row::lstm_backward(trace, past, hidden, cells, of_inputs);
                            }
                            (Cell::Gru, None) => unreachable!("a GRU's task has both buffers"),
                        }
                    }
                },
            );
            let added = gradients.added.as_deref().unwrap_or(gradients.inputs);
            let added = Matrix::new(&added[token * gates..], rows, gates, time * gates);
            let weight = Matrix::of_rows(&inputs.weight, 0, width).transposed();
            product(hidden, width, added, weight, R::one(), cell == Cell::Gru);
            for (index, sum) in downstream.chunks_exact_mut(width).enumerate() {
                if self.begins(start + index % rows, token) {
                    for (fresh, sum) in fresh[index / rows * width..].iter_mut().zip(sum) {
                        *fresh += std::mem::replace(sum, R::zero());
                    }
                }
            }
        }
        for (index, sum) in downstream.chunks_exact(width).enumerate() {
            gradients.carry[(index % rows * parts + index / rows) * width..][..width].copy_from_slice(sum);
        }
        fresh
    }
}

pub(super) fn gated_cell_backward<R: Real>(
    inputs: CellInputs<Flex>,
    outputs: CellOutputs<Flex>,
    grad: FloatTensor<Flex>,
) -> CellGradients<Flex> {
    let (cell, inputs) = (inputs.cell, inputs.viewable());
    let reset = flags(&inputs.reset);
    let read = [outputs.packed, outputs.trace.expect("the forward pass left its trace"), grad].map(viewable);
    let read = read.each_ref().map(view::<R, 2>);
    let sequence = Sequence::new(inputs.views::<R>(), &reset, cell);
    let ([batch, time, gates], width, parts) = (sequence.inputs.inputs.shape, sequence.width, cell.parts());

    let buffer = |length: usize| vec![R::zero(); batch * length];
    let (mut grad_inputs, mut past, mut grad_carry) = (buffer(time * gates), buffer(time * width), buffer(parts * width));
    let mut grad_added = (cell == Cell::Gru).then(|| buffer(time * gates));
    let tasks = tasks(batch);
    let added = match &mut grad_added {
        Some(added) => split(added, &tasks, time * gates).into_iter().map(Some).collect(),
        None => tasks.iter().map(|_| None).collect::<Vec<_>>(),
    };
    let rest = split(&mut past, &tasks, time * width).into_iter().zip(split(&mut grad_carry, &tasks, parts * width));
    let buffers = split(&mut grad_inputs, &tasks, time * gates).into_iter().zip(added).zip(rest);
    let buffers = buffers.map(|((inputs, added), (past, carry))| Gradients { inputs, added, past, carry });
    let all: Vec<_> = tasks.iter().zip(buffers).collect();
    let work = |(&(start, _), buffers): (&(usize, usize), Gradients<R>)| sequence.backward(start, read.each_ref(), buffers);
    let fresh: Vec<Vec<R>> = match sequence.is_sequential(batch) {
        true => all.into_iter().map(work).collect(),
        false => all.into_par_iter().map(work).collect(),
    };
    let mut grad_fresh = vec![R::zero(); parts * width];
    for task in &fresh {
        grad_fresh.iter_mut().zip(task).for_each(|(sum, &grad)| *sum += grad);
    }

    let added = Matrix::new(grad_added.as_ref().unwrap_or(&grad_inputs), batch * time, gates, gates);
    CellGradients {
        weight: tensor(weight_gradient(Matrix::new(&past, batch * time, width, width), added), [width, gates]),
        bias: tensor(bias_gradient(added), [gates]),
        fresh: tensor(grad_fresh, [parts, width]),
        carry: tensor(grad_carry, [batch, parts, width]),
        inputs: tensor(grad_inputs, [batch, time, gates]),
    }
}
