//! Gated cells against worked numbers, their reference, finite differences, and themselves cut in pieces.

use super::*;
use crate::primitive::{float, primitive};
use crate::testing::{assert_all_close, assert_slopes, borders, flags, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const CELLS: [Cell; 2] = [Cell::Lstm, Cell::Gru];

/// Resets at the first and last token and in between, in rows in turn.
fn resets<B: Backend>(batch: usize, time: usize) -> Tensor<B, 2, Bool> {
    let three = borders::<B>(time);
    Tensor::cat((0..batch).map(|row| three.clone().slice([row % 3..row % 3 + 1, 0..time])).collect(), 0)
}

fn case(cell: Cell, [batch, time, width]: [usize; 3], seed: u64) -> CellInputs<Cpu> {
    let (gates, parts) = (cell.gates() * width, cell.parts());
    CellInputs::new(
        random_tensor([batch, time, gates], seed) * 2.0,
        random_tensor([width, gates], seed + 1),
        random_tensor([gates], seed + 2),
        random_tensor([parts, width], seed + 3),
        random_tensor([batch, parts, width], seed + 4),
        resets::<Cpu>(batch, time).into_primitive(),
        cell,
    )
}

#[test]
fn cpu_and_its_gradients_agree_with_the_reference_also_through_the_carry() {
    for cell in CELLS {
        // One row, few rows, one task, tasks of unlike sizes.
        for sizes in [[1, 1, 3], [3, 2, 19], [5, 13, 7], [13, 7, 19], [67, 5, 11], [101, 3, 33]] {
            let [batch, time, width] = sizes;
            let inputs = case(cell, sizes, 10);
            let upstream = primitive(random_tensor::<Cpu, 2>([batch, (time + cell.parts()) * width], 30));
            let expected = reference::gated_cell(inputs.clone());
            assert_all_close::<Cpu, 1>([Cpu::gated_cell(inputs.clone()).packed], [expected], 5e-6);
            let expected = inputs.clone().derive(reference::gated_cell, upstream.clone());
            let found = inputs.derive(|inputs| Graph::gated_cell(inputs).packed, upstream);
            assert_all_close::<Cpu, 5>(found.floats(), expected.floats(), 1e-4);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let reset = flags::<Cpu>(&[&[false, false, true, false], &[true, false, false, false]]);
    for cell in CELLS {
        let (gates, parts) = (cell.gates() * 3, cell.parts());
        assert_slopes(
            [&[2, 4, gates], &[3, gates], &[gates], &[parts, 3], &[2, parts, 3]],
            [0.0; 5],
            |floats| CellInputs::<Cpu>::from_floats(floats, reset.clone().into_primitive(), cell),
            |inputs| cpu::gated_cell::<f64>(inputs).packed,
            |inputs, grad| {
                let outputs = cpu::gated_cell::<f64>(inputs.clone());
                cpu::gated_cell_backward::<f64>(inputs, outputs, grad).floats()
            },
        );
    }
}

/// Through the checked function, in pieces of the given length.
fn in_pieces(inputs: &CellInputs<Cpu>, length: usize) -> (Tensor<Cpu, 3>, Tensor<Cpu, 3>) {
    let x = float::<Cpu, 3>(inputs.inputs.clone());
    let reset = Tensor::<Cpu, 2, Bool>::from_primitive(inputs.reset.clone());
    let [batch, time, gates] = x.dims();
    let (mut state, mut outputs) = (float::<Cpu, 3>(inputs.carry.clone()), Vec::new());
    for start in (0..time).step_by(length) {
        let part = start..(start + length).min(time);
        let (y, next) = gated_cell(
            inputs.cell,
            x.clone().slice([0..batch, part.clone(), 0..gates]),
            float(inputs.weight.clone()),
            float(inputs.bias.clone()),
            float(inputs.fresh.clone()),
            reset.clone().slice([0..batch, part]),
            state,
        );
        outputs.push(y);
        state = next;
    }
    (Tensor::cat(outputs, 1), state)
}

#[test]
fn any_split_gives_the_same_bits() {
    for cell in CELLS {
        for batch in [2, 70] {
            let inputs = case(cell, [batch, 31, 17], 50);
            let (whole, last) = in_pieces(&inputs, 31);
            for length in [1, 7, 30] {
                let (y, state) = in_pieces(&inputs, length);
                assert_eq!(y.into_data(), whole.to_data());
                assert_eq!(state.into_data(), last.to_data());
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_the_bits() {
    let of_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let inputs = case(Cell::Lstm, [101, 40, 64], 60);
            let outputs = Cpu::gated_cell(inputs.clone());
            let upstream = primitive(random_tensor::<Cpu, 2>([101, 42 * 64], 30));
            let gradients = Cpu::gated_cell_backward(inputs, outputs.clone(), upstream).floats();
            [outputs.packed].into_iter().chain(gradients).map(|tensor| float::<Cpu, 1>(tensor).into_data()).collect::<Vec<_>>()
        })
    };
    assert_eq!(of_threads(1), of_threads(3));
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    for cell in CELLS {
        let inputs = case(cell, [3, 5, 4], 70);
        let x = float::<Cpu, 3>(inputs.inputs.clone());
        // Row 2 begins an episode at its token 2.
        let spoiled = x.slice_assign(
            [2..3, 0..2, 0..4 * cell.gates()],
            Tensor::full([1, 2, 4 * cell.gates()], f32::NAN, &Default::default()),
        );
        let spoiled = CellInputs { inputs: primitive(spoiled), ..inputs.clone() };
        let of_row = |inputs: &CellInputs<Cpu>| in_pieces(inputs, 5).0.slice([2..3, 2..5, 0..4]).into_data();
        assert_eq!(of_row(&spoiled), of_row(&inputs));
    }
}
