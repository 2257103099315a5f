//! The recurrence against worked numbers, its reference, finite differences, and itself cut in pieces.

use super::*;
use crate::primitive::{float, primitive};
use crate::testing::{assert_close, assert_slopes, flags, random_f64, random_tensor, upstream};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Tensor, TensorData};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 3;
const CHANNELS: usize = 19;

/// Distinct odd sizes, resets at the first and last token and in between.
fn case<B: Backend>(time: usize, seed: u64) -> (Tensor<B, 3>, Tensor<B, 3>, Tensor<B, 2, Bool>, Tensor<B, 2>) {
    let mut reset = vec![vec![false; time]; BATCH];
    reset[1][0] = true;
    reset[1][time - 1] = true;
    reset[2][time / 2] = true;
    let rows: Vec<&[bool]> = reset.iter().map(|row| &row[..]).collect();
    let shape = [BATCH, time, CHANNELS];
    (random_tensor(shape, seed), random_tensor(shape, seed + 1), flags(&rows), random_tensor([BATCH, CHANNELS], seed + 2))
}

fn by_reference<B: Backend>(
    gates: Tensor<B, 3>,
    inputs: Tensor<B, 3>,
    reset: Tensor<B, 2, Bool>,
    carry: Tensor<B, 2>,
) -> Tensor<B, 3> {
    float(reference::gated_recurrence::<B>(RecurrenceInputs {
        gates: primitive(gates),
        inputs: primitive(inputs),
        reset: reset.into_primitive(),
        carry: primitive(carry),
    }))
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
fn cpu_agrees_with_the_reference() {
    for time in [1, 2, 13, 61, 257] {
        let (gates, inputs, reset, carry) = case::<Cpu>(time, 10);
        let expected = by_reference(gates.clone(), inputs.clone(), reset.clone(), carry.clone());
        // The scan multiplies gates in another order: a few roundings.
        assert_close(gated_recurrence(gates, inputs, reset, carry), expected, 2e-6);
    }
}

#[test]
fn gradients_agree_with_the_reference() {
    for time in [1, 2, 17, 61] {
        let gradients = |use_reference: bool| {
            let (gates, inputs, reset, carry) = case::<Graph>(time, 20);
            let (gates, inputs, carry) = (gates.require_grad(), inputs.require_grad(), carry.require_grad());
            let run = if use_reference { by_reference } else { gated_recurrence };
            let states = run(gates.clone(), inputs.clone(), reset, carry.clone());
            let gradients = (states * upstream([BATCH, time, CHANNELS], 30)).sum().backward();
            (gates.grad(&gradients).unwrap(), inputs.grad(&gradients).unwrap(), carry.grad(&gradients).unwrap())
        };
        let (found, expected) = (gradients(false), gradients(true));
        assert_close(found.0, expected.0, 5e-6);
        assert_close(found.1, expected.1, 5e-6);
        assert_close(found.2, expected.2, 5e-6);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (batch, time, channels) = (2, 5, 3);
    let count = batch * time * channels;
    let numbers = random_f64(2 * count + batch * channels, 40);
    let weights = random_f64(count, 41);
    let options = (&Default::default(), DType::F64);
    let build = |numbers: &[f64]| {
        let tensor = |part: &[f64]| Tensor::<Cpu, 1>::from_data(TensorData::new(part.to_vec(), [part.len()]), options);
        RecurrenceInputs::<Cpu> {
            gates: tensor(&numbers[..count]).reshape([batch, time, channels]).into_primitive().tensor(),
            inputs: tensor(&numbers[count..2 * count]).reshape([batch, time, channels]).into_primitive().tensor(),
            reset: flags::<Cpu>(&[&[false, false, true, false, false], &[false; 5]]).into_primitive(),
            carry: tensor(&numbers[2 * count..]).reshape([batch, channels]).into_primitive().tensor(),
        }
    };
    let read = |primitive| {
        let tensor = float::<Cpu, 1>(primitive);
        tensor.into_data().to_vec::<f64>().unwrap()
    };
    let loss = |numbers: &[f64]| -> f64 {
        let states = read(cpu::gated_recurrence::<f64>(build(numbers)));
        states.iter().zip(&weights).map(|(state, weight)| state * weight).sum()
    };
    let grad = Tensor::<Cpu, 1>::from_data(TensorData::new(weights.clone(), [count]), options).reshape([batch, time, channels]);
    let states = cpu::gated_recurrence::<f64>(build(&numbers));
    let gradients = cpu::gated_recurrence_backward::<f64>(build(&numbers), states, primitive(grad));
    let found: Vec<f64> = [gradients.gates, gradients.inputs, gradients.carry].into_iter().flat_map(read).collect();
    assert_slopes(&found, &numbers, loss);
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
