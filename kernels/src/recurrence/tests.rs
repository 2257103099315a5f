//! The recurrence against worked numbers, its reference, finite differences, and itself cut in pieces.

use super::*;
use crate::primitive::primitive;
use crate::testing::{assert_all_close, assert_slopes, borders, flags, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 3;
const CHANNELS: usize = 19;

/// Distinct odd sizes, resets at the first and last token and in between.
fn case<B: Backend>(time: usize, seed: u64) -> (Tensor<B, 3>, Tensor<B, 3>, Tensor<B, 2, Bool>, Tensor<B, 2>) {
    let shape = [BATCH, time, CHANNELS];
    (random_tensor(shape, seed), random_tensor(shape, seed + 1), borders(time), random_tensor([BATCH, CHANNELS], seed + 2))
}

#[test]
fn worked_example_with_carry_and_reset() {
    let tensor = |numbers: [f32; 5]| Tensor::<Cpu, 1>::from_data(numbers, &Default::default()).reshape([1, 5, 1]);
    let gates = tensor([0.5, 2.0, -1.0, 7.0, 0.0]);
    let inputs = tensor([1.0, 0.0, 3.0, 4.0, 5.0]);
    let carry = Tensor::full([1, 1], 6.0, &Default::default());
    let states = gated_recurrence(gates, inputs, flags(&[&[false, false, false, true, false]]), carry);
    assert_eq!(states.into_data().to_vec::<f32>().unwrap(), [4.0, 8.0, -5.0, 4.0, 5.0]);
}

#[test]
fn cpu_and_its_gradients_agree_with_the_reference() {
    for time in [1, 2, 13, 17, 61, 257] {
        let (gates, inputs, reset, carry) = case::<Cpu>(time, 10);
        let upstream = primitive(random_tensor::<Cpu, 3>([BATCH, time, CHANNELS], 30));
        let inputs = RecurrenceInputs::new(gates, inputs, carry, reset.into_primitive());
        let expected = reference::gated_recurrence(inputs.clone());
        // The scan multiplies gates in another order: a few roundings.
        assert_all_close::<Cpu, 1>([Cpu::gated_recurrence(inputs.clone())], [expected], 2e-6);
        let expected = inputs.clone().derive(reference::gated_recurrence, upstream.clone());
        assert_all_close::<Cpu, 3>(inputs.derive(Graph::gated_recurrence, upstream).floats(), expected.floats(), 5e-6);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let reset = flags::<Cpu>(&[&[false, false, true, false, false], &[false; 5]]);
    assert_slopes(
        [&[2, 5, 3], &[2, 5, 3], &[2, 3]],
        [0.0; 3],
        |floats| RecurrenceInputs::<Cpu>::from_floats(floats, reset.clone().into_primitive()),
        cpu::gated_recurrence::<f64>,
        |inputs, grad| {
            let states = cpu::gated_recurrence::<f64>(inputs.clone());
            cpu::gated_recurrence_backward::<f64>(inputs, states, grad).floats()
        },
    );
}

#[test]
fn any_split_gives_the_same_bits() {
    let time = 1000;
    let (gates, inputs, reset, carry) = case::<Cpu>(time, 50);
    let whole = gated_recurrence(gates.clone(), inputs.clone(), reset.clone(), carry.clone());
    for chunk in [1, 7, 999] {
        let (mut carry, mut pieces) = (carry.clone(), Vec::new());
        for start in (0..time).step_by(chunk) {
            let part = start..(start + chunk).min(time);
            let cut = |tensor: &Tensor<Cpu, 3>| tensor.clone().slice([0..BATCH, part.clone(), 0..CHANNELS]);
            let flags = reset.clone().slice([0..BATCH, part.clone()]);
            let states = gated_recurrence(cut(&gates), cut(&inputs), flags, carry);
            let last = part.len() - 1;
            carry = states.clone().slice([0..BATCH, last..last + 1, 0..CHANNELS]).reshape([BATCH, CHANNELS]);
            pieces.push(states);
        }
        assert_eq!(Tensor::cat(pieces, 1).into_data(), whole.to_data());
    }
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let device = Default::default();
    let gates = Tensor::<Cpu, 3>::ones([1, 3, 1], &device);
    let inputs = Tensor::<Cpu, 1>::from_data([f32::NAN, 1.0, 3.0], &device).reshape([1, 3, 1]);
    let states = gated_recurrence(gates, inputs, flags(&[&[false, true, false]]), Tensor::zeros([1, 1], &device));
    assert_eq!(states.into_data().to_vec::<f32>().unwrap()[1..], [1.0, 4.0]);
}
