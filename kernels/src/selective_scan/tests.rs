//! The selective scan against worked numbers, its reference, finite differences, and itself cut in pieces.

use super::*;
use crate::primitive::primitive;
use crate::testing::{assert_all_close, assert_close, assert_slopes, borders, flags, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 3;
const CHANNELS: usize = 19;
const STATES: usize = 5;

/// Distinct odd sizes, resets at the first and last token and in between; positive steps, negative decays.
fn case<B: Backend>(time: usize, seed: u64) -> (SelectiveScan<B>, Tensor<B, 2, Bool>, Tensor<B, 3>) {
    let scan = SelectiveScan {
        inputs: random_tensor([BATCH, time, CHANNELS], seed),
        steps: random_tensor::<B, 3>([BATCH, time, CHANNELS], seed + 1).exp(),
        decays: random_tensor::<B, 2>([STATES, CHANNELS], seed + 2).exp().neg(),
        writes: random_tensor([BATCH, time, STATES], seed + 3),
        reads: random_tensor([BATCH, time, STATES], seed + 4),
    };
    (scan, borders(time), random_tensor([BATCH, STATES, CHANNELS], seed + 5))
}

#[test]
fn worked_example() {
    let row = |numbers: [f32; 3]| Tensor::<Cpu, 1>::from_data(numbers, &Default::default()).reshape([1, 3, 1]);
    let scan = SelectiveScan {
        inputs: row([2.0, -1.0, 4.0]),
        steps: row([0.5, 1.0, 0.25]),
        decays: Tensor::from_data([[-1.0]], &Default::default()),
        writes: row([1.0, 0.5, 2.0]),
        reads: row([1.0, 1.0, 0.5]),
    };
    let skip = scan.inputs.clone();
    let (outputs, carry) = selective_scan(scan, flags(&[&[false; 3]]), Tensor::zeros([1, 1, 1], &Default::default()));
    assert_close(outputs + skip, row([3.0, -1.132_120_6, 4.948_552]), 1e-6);
    assert_close(carry, Tensor::from_data([[[1.8971044053]]], &Default::default()), 1e-6);
}

#[test]
fn a_step_of_0_changes_nothing_and_a_long_one_forgets() {
    let (mut scan, _, carry) = case::<Cpu>(4, 3);
    scan.steps = scan.steps * 0.0;
    let (outputs, last) = selective_scan(scan.clone(), flags(&[&[false; 4][..]; 3]), carry.clone());
    assert_close(last, carry.clone(), 0.0);
    let read = (scan.reads.clone().unsqueeze_dim::<4>(3) * carry.clone().unsqueeze_dim::<4>(1)).sum_dim(2);
    assert_close(outputs, read.reshape([BATCH, 4, CHANNELS]), 1e-6);
    scan.steps = scan.steps + 1e3;
    let forgot = selective_scan(scan.clone(), flags(&[&[false; 4][..]; 3]), carry.clone()).0;
    assert_close(forgot, selective_scan(scan, flags(&[&[false; 4][..]; 3]), carry * 7.0).0, 0.0);
}

#[test]
fn cpu_and_its_gradients_agree_with_the_reference_also_through_the_carry() {
    for time in [1, 2, 31, 32, 33, 101] {
        let (scan, reset, carry) = case::<Cpu>(time, 20);
        let SelectiveScan { inputs, steps, decays, writes, reads } = scan;
        let inputs = SelectiveInputs::new(inputs, steps, decays, writes, reads, carry, reset.into_primitive());
        let expected = reference::selective_scan(inputs.clone());
        assert_all_close::<Cpu, 1>([Cpu::selective_scan(inputs.clone())], [expected], 1e-5);
        let upstream = primitive(random_tensor::<Cpu, 2>([BATCH, (time + STATES) * CHANNELS], 30));
        let expected = inputs.clone().derive(reference::selective_scan, upstream.clone());
        assert_all_close::<Cpu, 6>(inputs.derive(Graph::selective_scan, upstream).floats(), expected.floats(), 1e-5);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (batch, time, channels, states) = (2, 5, 3, 2);
    let (of_channels, of_states) = ([batch, time, channels], [batch, time, states]);
    let reset = flags::<Cpu>(&[&[false, false, true, false, false], &[false; 5]]);
    assert_slopes(
        [&of_channels, &of_channels, &[states, channels], &of_states, &of_states, &[batch, states, channels]],
        [0.0, 1.5, -1.5, 0.0, 0.0, 0.0], // steps are positive, decays negative
        |floats| SelectiveInputs::<Cpu>::from_floats(floats, reset.clone().into_primitive()),
        cpu::selective_scan::<f64>,
        |inputs, grad| cpu::selective_scan_backward::<f64>(inputs, grad).floats(),
    );
}
