//! The recurrence's kernels against double precision, on whatever GPU there is: software will do.

use super::launch::{Plan, gated_recurrence, gated_recurrence_backward};
use crate::cube::Limits;
use crate::cube::testing::{Card, Case, Numbers, assert_accurate, card, read, small_limits, strided, tensor_on, usual_limits};
use crate::primitive::{float, primitive};
use crate::recurrence::{RecurrenceInputs, RecurrenceOps, reference};
use burn::tensor::{DType, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// Places of the inputs in a case.
const GATES: usize = 0;
const INPUTS: usize = 1;
/// The last of the states is the next carry.
const NAMES: [&str; 4] = ["states", "gate gradients", "input gradients", "carry gradients"];

/// Gates from nearly 1 (a long memory) to below 0.
fn case([batch, time, channels]: [usize; 3], seed: u64) -> Case<3> {
    let shape = [batch, time, channels];
    let mut case = Case::new([batch, time], [&shape, &shape, &[batch, channels]], &shape, seed);
    for (index, gate) in case.floats[GATES].0.iter_mut().enumerate() {
        if index % channels % 2 == 0 {
            *gate = 1.0 - 0.01 * gate.abs();
        }
    }
    case
}

fn inputs<B: Backend>(case: &Case<3>, dtype: DType) -> RecurrenceInputs<B> {
    RecurrenceInputs::from_floats(case.floats::<B>(dtype), case.reset::<B>())
}

/// What a backend's own implementation computes; the CPU's, one token after the other.
fn own<B: RecurrenceOps>(inputs: RecurrenceInputs<B>, grad: FloatTensor<B>) -> Numbers {
    let states = B::gated_recurrence(inputs.clone());
    read::<B, 1, 3>([states.clone()], B::gated_recurrence_backward(inputs, states, grad).floats())
}

fn on_cpu(case: &Case<3>, dtype: DType) -> Numbers {
    own::<Flex>(inputs(case, dtype), case.grad::<Flex>(dtype))
}

/// Single precision, plain tensor ops.
fn plain(case: &Case<3>) -> Numbers {
    let inputs = inputs::<Flex>(case, DType::F32);
    let states = reference::gated_recurrence(inputs.clone());
    read::<Flex, 1, 3>([states], reference::gated_recurrence_backward(inputs, case.grad::<Flex>(DType::F32)).floats())
}

fn on_device(case: &Case<3>, limits: Limits) -> Numbers {
    let inputs = || inputs::<Card>(case, DType::F32);
    let states = gated_recurrence(inputs(), limits).expect("the kernel knows f32");
    let gradients = gated_recurrence_backward(inputs(), states.clone(), case.grad::<Card>(DType::F32), limits);
    read::<Card, 1, 3>([states], gradients.expect("the kernel knows f32").floats())
}

/// Plain ops in single precision are the prefix scan and the recurrence: the kernel may err three times as much as they do.
fn check(case: &Case<3>, limits: Limits) {
    let truth = on_cpu(case, DType::F64);
    let others = [plain(case), on_cpu(case, DType::F32)].map(|other| [other, truth.clone()]);
    assert_accurate(&NAMES, &on_device(case, limits), &truth, &others, &format!("{:?}", case.grad.1));
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = card() else { return };
    let shapes =
        [[3, 1, 19], [2, 2, 5], [3, 3, 64], [2, 61, 19], [1, 64, 130], [2, 65, 33], [5, 257, 7], [2, 1000, 12], [3, 40, 1]];
    for (index, shape) in shapes.into_iter().enumerate() {
        check(&case(shape, 10 * index as u64), usual_limits());
    }
}

#[test]
fn agrees_over_ten_thousand_tokens() {
    let Some(_device) = card() else { return };
    let case = case([1, 10_000, 6], 100);
    let x = inputs::<Card>(&case, DType::F32).inputs;
    for (cubes, segmented) in [(1, false), (12, true)] {
        let device = Limits { cubes, ..usual_limits() };
        assert_eq!(Plan::new(&[&x], device, false).unwrap().segments.count > 1, segmented);
        check(&case, device);
    }
}

/// Time cut in segments, with resets in some of them, small cubes, and blocks of channels of which the last is ragged.
#[test]
fn agrees_however_it_is_launched() {
    let Some(_device) = card() else { return };
    for (shape, cubes, max_units) in [([2, 997, 6], 64, 16), ([1, 531, 37], 40, 64), ([1, 300, 268], 1, 256), ([3, 97, 51], 7, 8)]
    {
        check(&case(shape, 110), small_limits(cubes, max_units));
    }
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = card() else { return };
    let case = case([2, 700, 20], 120);
    let device = Limits { cubes: 9, ..usual_limits() };
    assert_eq!(on_device(&case, device), on_device(&case, device));
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = card() else { return };
    let (time, channels) = (203, 8);
    let border = time / 2;
    let mut case = case([2, time, channels], 130);
    let second = time * channels;
    case.floats[INPUTS].0[second + 3] = f32::NAN;
    case.floats[INPUTS].0[second + 5 * channels + 1] = f32::INFINITY;
    for cubes in [1, 32] {
        let states = &on_device(&case, Limits { cubes, ..usual_limits() })[0];
        assert!(states[second + (border - 1) * channels + 3].is_nan());
        assert!(states[second + border * channels..].iter().all(|x| x.is_finite()));
    }
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(_device) = card() else { return };
    let case = case([3, 23, 12], 140);
    let expected = on_device(&case, usual_limits());
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let inputs = inputs::<Card>(&case, DType::F32);
        let inputs = RecurrenceInputs {
            gates: strided::<3>(inputs.gates, a, b),
            // Each in another order.
            inputs: strided::<3>(inputs.inputs, 0, 1),
            ..inputs
        };
        let grad = strided::<3>(case.grad::<Card>(DType::F32), a, b);
        assert_eq!(own::<Card>(inputs, grad), expected, "axes {a} and {b}");
    }
}

/// A gate or an input that is the same for all tokens has a stride of 0.
#[test]
fn takes_expanded_tensors() {
    let Some(_device) = card() else { return };
    let mut case = case([2, 31, 8], 150);
    let one: Vec<f32> = case.floats[GATES].0[..8].to_vec();
    case.floats[GATES].0 = one.iter().copied().cycle().take(2 * 31 * 8).collect();
    let gates = float::<Card, 3>(tensor_on::<Card>(&one, &[1, 1, 8], DType::F32));
    let expanded = RecurrenceInputs { gates: primitive(gates.expand([2, 31, 8])), ..inputs(&case, DType::F32) };
    let found = own::<Card>(expanded, case.grad::<Card>(DType::F32));
    assert_eq!(found, on_device(&case, usual_limits()));
}
