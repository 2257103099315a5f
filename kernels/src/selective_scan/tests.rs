//! The selective scan against worked numbers, its reference, finite differences, and itself cut in pieces.

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
const STATES: usize = 5;

/// Distinct odd sizes, resets at the first and last token and in between; positive steps, negative decays.
fn case<B: Backend>(time: usize, seed: u64) -> (SelectiveScan<B>, Tensor<B, 2, Bool>, Tensor<B, 3>) {
    let mut reset = vec![vec![false; time]; BATCH];
    reset[1][0] = true;
    reset[1][time - 1] = true;
    reset[2][time / 2] = true;
    let rows: Vec<&[bool]> = reset.iter().map(|row| &row[..]).collect();
    let scan = SelectiveScan {
        inputs: random_tensor([BATCH, time, CHANNELS], seed),
        steps: random_tensor::<B, 3>([BATCH, time, CHANNELS], seed + 1).exp(),
        decays: random_tensor::<B, 2>([STATES, CHANNELS], seed + 2).exp().neg(),
        writes: random_tensor([BATCH, time, STATES], seed + 3),
        reads: random_tensor([BATCH, time, STATES], seed + 4),
    };
    (scan, flags(&rows), random_tensor([BATCH, STATES, CHANNELS], seed + 5))
}

fn primitives<B: Backend>(scan: SelectiveScan<B>, reset: Tensor<B, 2, Bool>, carry: Tensor<B, 3>) -> SelectiveInputs<B> {
    SelectiveInputs {
        inputs: primitive(scan.inputs),
        steps: primitive(scan.steps),
        decays: primitive(scan.decays),
        writes: primitive(scan.writes),
        reads: primitive(scan.reads),
        carry: primitive(carry),
        reset: reset.into_primitive(),
    }
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
fn cpu_agrees_with_the_reference_and_so_do_gradients_through_the_carry() {
    for time in [1, 2, 31, 32, 33, 101] {
        let run = |use_reference: bool| {
            let (scan, reset, carry) = case::<Graph>(time, 20);
            let scan = SelectiveScan {
                inputs: scan.inputs.require_grad(),
                steps: scan.steps.detach().require_grad(),
                decays: scan.decays.detach().require_grad(),
                writes: scan.writes.require_grad(),
                reads: scan.reads.require_grad(),
            };
            let carry = carry.require_grad();
            let inputs = primitives(scan.clone(), reset, carry.clone());
            let run =
                if use_reference { reference::selective_scan::<Graph> } else { <Graph as SelectiveScanOps>::selective_scan };
            let packed = float::<Graph, 2>(run(inputs));
            let loss = (packed.clone() * upstream([BATCH, (time + STATES) * CHANNELS], 30)).sum();
            let gradients = loss.backward();
            let of = |tensor: &Tensor<Graph, 3>| tensor.grad(&gradients).unwrap();
            let found = [&scan.inputs, &scan.steps, &scan.writes, &scan.reads, &carry].map(of);
            (packed.inner(), found, scan.decays.grad(&gradients).unwrap())
        };
        let (found, expected) = (run(false), run(true));
        assert_close(found.0, expected.0, 1e-5);
        for (found, expected) in found.1.into_iter().zip(expected.1) {
            assert_close(found, expected, 1e-5);
        }
        assert_close(found.2, expected.2, 1e-5);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (batch, time, channels, states) = (2, 5, 3, 2);
    let shapes = [
        vec![batch, time, channels],
        vec![batch, time, channels],
        vec![states, channels],
        vec![batch, time, states],
        vec![batch, time, states],
        vec![batch, states, channels],
    ];
    let counts: Vec<usize> = shapes.iter().map(|shape| shape.iter().product()).collect();
    let numbers = random_f64(counts.iter().sum(), 40);
    let weights = random_f64(batch * (time + states) * channels, 41);
    let options = (&Default::default(), DType::F64);
    let build = |numbers: &[f64]| {
        let mut rest = numbers;
        let mut parts = counts.iter().zip(&shapes).enumerate().map(|(index, (&count, shape))| {
            let part = rest[..count].iter().map(|&x| match index {
                1 => 1.5 + x,  // steps are positive
                2 => -1.5 + x, // decays negative
                _ => x,
            });
            let data = TensorData::new(part.collect::<Vec<f64>>(), shape.clone());
            rest = &rest[count..];
            <Cpu as burn::tensor::ops::FloatTensorOps<Cpu>>::float_from_data(data, options.0)
        });
        let mut next = || parts.next().unwrap();
        SelectiveInputs::<Cpu> {
            inputs: next(),
            steps: next(),
            decays: next(),
            writes: next(),
            reads: next(),
            carry: next(),
            reset: flags::<Cpu>(&[&[false, false, true, false, false], &[false; 5]]).into_primitive(),
        }
    };
    let read = |primitive| {
        let tensor = float::<Cpu, 1>(primitive);
        tensor.into_data().to_vec::<f64>().unwrap()
    };
    let loss = |numbers: &[f64]| -> f64 {
        let packed = read(cpu::selective_scan::<f64>(build(numbers)));
        packed.iter().zip(&weights).map(|(output, weight)| output * weight).sum()
    };
    let grad = Tensor::<Cpu, 1>::from_data(TensorData::new(weights.clone(), [weights.len()]), options);
    let grad = grad.reshape([batch, (time + states) * channels]).into_primitive().tensor();
    let SelectiveGradients(gradients) = cpu::selective_scan_backward::<f64>(build(&numbers), grad);
    let found: Vec<f64> = gradients.into_iter().flat_map(read).collect();
    assert_slopes(&found, &numbers, loss);
}
