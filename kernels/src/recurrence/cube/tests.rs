//! The recurrence's kernels against double precision, on whatever Vulkan device there is: software will do.

use super::launch::{Plan, gated_recurrence, gated_recurrence_backward};
use crate::cube::Limits;
use crate::cube::testing::{Truth, Vulkan, host, tensor_on, vulkan};
use crate::primitive::float;
use crate::recurrence::{RecurrenceGradients, RecurrenceInputs, RecurrenceOps, cpu, reference};
use crate::testing::random;
use burn::tensor::{Bool, DType, Tensor, TensorData, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// A recurrence's inputs and upstream gradient on the host, so that every backend and precision gets the same numbers.
struct Case {
    shape: [usize; 3],
    gates: Vec<f32>,
    inputs: Vec<f32>,
    reset: Vec<bool>,
    carry: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    /// Resets at the first, the last and a middle token of some rows, and gates from nearly 1 (a long memory) to below 0.
    fn new(shape: [usize; 3], seed: u64) -> Self {
        let [batch, time, channels] = shape;
        let mut gates = random(batch * time * channels, seed);
        for (index, gate) in gates.iter_mut().enumerate() {
            if index % channels % 2 == 0 {
                *gate = 1.0 - 0.01 * gate.abs();
            }
        }
        let mut reset = vec![false; batch * time];
        if batch > 1 {
            reset[time] = true;
            reset[2 * time - 1] = true;
        }
        if time > 2 {
            reset[(batch - 1) * time + time / 2] = true;
        }
        Self {
            shape,
            gates,
            inputs: random(batch * time * channels, seed + 1),
            reset,
            carry: random(batch * channels, seed + 2),
            grad: random(batch * time * channels, seed + 3),
        }
    }

    fn inputs<B: Backend>(&self, dtype: DType) -> RecurrenceInputs<B> {
        let [batch, time, channels] = self.shape;
        let reset = TensorData::new(self.reset.clone(), [batch, time]);
        RecurrenceInputs {
            gates: tensor_on::<B, 3>(&self.gates, self.shape, dtype),
            inputs: tensor_on::<B, 3>(&self.inputs, self.shape, dtype),
            reset: Tensor::<B, 2, Bool>::from_data(reset, &Default::default()).into_primitive(),
            carry: tensor_on::<B, 2>(&self.carry, [batch, channels], dtype),
        }
    }

    fn grad<B: Backend>(&self, dtype: DType) -> FloatTensor<B> {
        tensor_on::<B, 3>(&self.grad, self.shape, dtype)
    }
}

type Numbers = [(&'static str, Vec<f64>); 4];

fn read<B: Backend>(states: FloatTensor<B>, gradients: RecurrenceGradients<B>) -> Numbers {
    [
        // The last of them is the next carry.
        ("states", host::<B, 3>(states)),
        ("gate gradients", host::<B, 3>(gradients.gates)),
        ("input gradients", host::<B, 3>(gradients.inputs)),
        ("carry gradients", host::<B, 2>(gradients.carry)),
    ]
}

fn truth(case: &Case) -> Numbers {
    let inputs = || case.inputs::<Flex>(DType::F64);
    let states = cpu::gated_recurrence::<f64>(inputs());
    read(states.clone(), cpu::gated_recurrence_backward::<f64>(inputs(), states, case.grad::<Flex>(DType::F64)))
}

/// Single precision, plain tensor ops.
fn plain(case: &Case) -> Numbers {
    let inputs = || case.inputs::<Flex>(DType::F32);
    let states = reference::gated_recurrence(inputs());
    read(states, reference::gated_recurrence_backward(inputs(), case.grad::<Flex>(DType::F32)))
}

/// Single precision, one token after the other.
fn recurrent(case: &Case) -> Numbers {
    let inputs = || case.inputs::<Flex>(DType::F32);
    let states = cpu::gated_recurrence::<f32>(inputs());
    read(states.clone(), cpu::gated_recurrence_backward::<f32>(inputs(), states, case.grad::<Flex>(DType::F32)))
}

fn on_device(case: &Case, limits: Option<Limits>) -> Numbers {
    let inputs = || case.inputs::<Vulkan>(DType::F32);
    let limits = limits.unwrap_or_else(|| Limits::of(&inputs().inputs.client));
    let states = gated_recurrence(inputs(), limits).expect("the kernel knows f32");
    let gradients = gated_recurrence_backward(inputs(), states.clone(), case.grad::<Vulkan>(DType::F32), limits);
    read(states, gradients.expect("the kernel knows f32"))
}

/// Plain ops in single precision are the prefix scan and the recurrence: the kernel may err three times as much as they do.
fn check(case: &Case, limits: Option<Limits>) {
    let (found, expected) = (on_device(case, limits), truth(case));
    let (plain, recurrent) = (plain(case), recurrent(case));
    for index in 0..found.len() {
        let truth = Truth(&expected[index].1);
        let allowed = truth.largest_error(&plain[index].1).max(truth.largest_error(&recurrent[index].1));
        truth.assert_within(&found[index].1, allowed, format!("{} of {:?}", found[index].0, case.shape));
    }
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = vulkan() else { return };
    let shapes =
        [[3, 1, 19], [2, 2, 5], [3, 3, 64], [2, 61, 19], [1, 64, 130], [2, 65, 33], [5, 257, 7], [2, 1000, 12], [3, 40, 1]];
    for (index, shape) in shapes.into_iter().enumerate() {
        check(&Case::new(shape, 10 * index as u64), None);
    }
}

#[test]
fn agrees_over_ten_thousand_tokens() {
    let Some(_device) = vulkan() else { return };
    let case = Case::new([1, 10_000, 6], 100);
    let x = case.inputs::<Vulkan>(DType::F32).inputs;
    for (cubes, segmented) in [(1, false), (12, true)] {
        let device = Limits { cubes, ..Limits::of(&x.client) };
        assert_eq!(Plan::new(&[&x], device, false).unwrap().segments.count > 1, segmented);
        check(&case, Some(device));
    }
}

/// Time cut in segments, with resets in some of them, small cubes, and blocks of channels of which the last is ragged.
#[test]
fn agrees_however_it_is_launched() {
    let Some(_device) = vulkan() else { return };
    for (shape, cubes, max_units) in [([2, 997, 6], 64, 16), ([1, 531, 37], 40, 64), ([1, 300, 268], 1, 256), ([3, 97, 51], 7, 8)]
    {
        let case = Case::new(shape, 110);
        let usual = Limits::of(&case.inputs::<Vulkan>(DType::F32).inputs.client);
        check(&case, Some(Limits { cubes, max_units, ..usual }));
    }
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = vulkan() else { return };
    let case = Case::new([2, 700, 20], 120);
    let device = Some(Limits { cubes: 9, ..Limits::of(&case.inputs::<Vulkan>(DType::F32).inputs.client) });
    assert_eq!(on_device(&case, device), on_device(&case, device));
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = vulkan() else { return };
    let (time, channels) = (203, 8);
    let border = time / 2;
    let mut case = Case::new([2, time, channels], 130);
    let second = time * channels;
    case.inputs[second + 3] = f32::NAN;
    case.inputs[second + 5 * channels + 1] = f32::INFINITY;
    for cubes in [1, 32] {
        let device = Limits { cubes, ..Limits::of(&case.inputs::<Vulkan>(DType::F32).inputs.client) };
        let [(_, states), ..] = on_device(&case, Some(device));
        assert!(states[second + (border - 1) * channels + 3].is_nan());
        assert!(states[second + border * channels..].iter().all(|x| x.is_finite()));
    }
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(device) = vulkan() else { return };
    let case = Case::new([3, 23, 12], 140);
    let expected = on_device(&case, None);
    let strided = |tensor: FloatTensor<Vulkan>, a: usize, b: usize| {
        let tensor = float::<Vulkan, 3>(tensor);
        let moved = Tensor::<Vulkan, 3>::from_data(tensor.swap_dims(a, b).into_data(), &device).swap_dims(a, b);
        moved.into_primitive().tensor()
    };
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let inputs = case.inputs::<Vulkan>(DType::F32);
        let inputs = RecurrenceInputs {
            gates: strided(inputs.gates, a, b),
            // Each in another order.
            inputs: strided(inputs.inputs, 0, 1),
            ..inputs
        };
        let states = Vulkan::gated_recurrence(inputs.clone());
        let grad = strided(case.grad::<Vulkan>(DType::F32), a, b);
        let gradients = Vulkan::gated_recurrence_backward(inputs, states.clone(), grad);
        assert_eq!(read(states, gradients), expected, "axes {a} and {b}");
    }
}

/// A gate or an input that is the same for all tokens has a stride of 0.
#[test]
fn takes_expanded_tensors() {
    let Some(_device) = vulkan() else { return };
    let mut case = Case::new([2, 31, 8], 150);
    let one: Vec<f32> = case.gates[..8].to_vec();
    case.gates = one.iter().copied().cycle().take(2 * 31 * 8).collect();
    let gates = float::<Vulkan, 3>(tensor_on::<Vulkan, 3>(&one, [1, 1, 8], DType::F32));
    let expanded = RecurrenceInputs { gates: gates.expand([2, 31, 8]).into_primitive().tensor(), ..case.inputs(DType::F32) };
    let states = Vulkan::gated_recurrence(expanded.clone());
    let gradients = Vulkan::gated_recurrence_backward(expanded, states.clone(), case.grad::<Vulkan>(DType::F32));
    assert_eq!(read(states, gradients), on_device(&case, None));
}
