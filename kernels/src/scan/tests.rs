//! The scan against worked numbers, its reference, and itself cut in pieces.

use super::*;
use crate::primitive::{float, primitive};
use crate::testing::{assert_all_close, assert_close, assert_slopes, borders, flags, host, random, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Bool, DType, Tensor, TensorData};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

/// Scores and values of one row, head and component, and a carry of a log-sum and an output.
fn inputs_1d(scores: &[f64], values: &[f64], reset: &[bool], carry: Option<(f64, f64)>) -> ScanInputs<Cpu> {
    let time = scores.len();
    let tensor = |data: &[f64]| {
        Tensor::<Cpu, 1>::from_data(TensorData::new(data.to_vec(), [data.len()]), (&Default::default(), DType::F64))
    };
    let (log_sum, output) = carry.unwrap_or((f64::NEG_INFINITY, 0.0));
    ScanInputs::new(
        tensor(scores).reshape([1, 1, time]),
        tensor(values).reshape([1, 1, time, 1]),
        tensor(&[log_sum]).reshape([1, 1]),
        tensor(&[output]).reshape([1, 1, 1]),
        flags::<Cpu>(&[reset]).into_primitive(),
    )
}

fn scan_1d(scores: &[f64], values: &[f64], reset: &[bool], carry: Option<(f64, f64)>) -> (Vec<f64>, Vec<f64>) {
    let ScanOutputs { outputs, log_sums } = cpu::attention_scan::<f64>(inputs_1d(scores, values, reset, carry));
    (host::<Cpu>(outputs), host::<Cpu>(log_sums))
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }
}

#[test]
fn worked_example_from_empty_start() {
    let (outputs, log_sums) = scan_1d(&[0.0, 1.0, -1.0, 2.0], &[1.0, 2.0, 3.0, 4.0], &[false; 4], None);
    near(&log_sums, &[0.0, 1.3132616875, 1.4076059644, 2.4401896986]);
    near(&outputs, &[1.0, 1.7310585786, 1.8453021021, 3.2327428043]);
    // In the paper's terms: the largest score, and sums of weights and of weighted values relative to it.
    let sum = (log_sums[3] - 2.0).exp();
    near(&[sum, sum * outputs[3]], &[1.5530017928, 5.0204553707]);
}

/// Gradients of the sum of all outputs for scores, values, and the carry's log-sum and output.
fn gradients_1d(carry: Option<(f64, f64)>) -> [Vec<f64>; 4] {
    let inputs = || inputs_1d(&[0.0, 1.0, -1.0, 2.0], &[1.0, 2.0, 3.0, 4.0], &[false; 4], carry);
    let ones = Tensor::<Cpu, 4>::ones([1, 1, 4, 1], (&Default::default(), DType::F64));
    let gradients = cpu::attention_scan_backward::<f64>(inputs(), cpu::attention_scan::<f64>(inputs()), primitive(ones));
    gradients.floats().map(host::<Cpu>)
}

#[test]
fn gradients_of_the_worked_example() {
    let [scores, values, ..] = gradients_1d(None);
    near(&scores, &[-0.5980522749, 0.0075077212, 0.0964967044, 0.4940478493]);
    near(&values, &[1.6008142112, 1.6331823525, 0.1220891765, 0.6439142599]);
    near(&[scores.iter().sum()], &[0.0]);

    let [scores, _, log_sum, output] = gradients_1d(Some((0.5, -1.0)));
    near(&scores, &[0.3557422697, 0.8769902799, 0.1349251731, 0.7313668607]);
    near(&[output[0], log_sum[0]], &[1.3427722152, -2.0990245834]);
    near(&[scores.iter().sum::<f64>() + log_sum[0]], &[0.0]);
}

#[test]
fn a_number_added_to_all_scores_changes_no_output_and_equal_scores_give_means() {
    let (values, scores) = ([1.0, -2.0, 6.0, 3.0], [0.3, -1.7, 2.2, 0.9]);
    let (expected, _) = scan_1d(&scores, &values, &[false; 4], None);
    let (found, _) = scan_1d(&scores.map(|score| score + 40.0), &values, &[false; 4], None);
    near(&found, &expected);
    near(&scan_1d(&[0.0; 4], &values, &[false; 4], None).0, &[1.0, -0.5, 5.0 / 3.0, 2.0]);
}

#[test]
fn worked_example_with_carry() {
    let (outputs, log_sums) = scan_1d(&[0.0, 1.0, -1.0, 2.0], &[1.0, 2.0, 3.0, 4.0], &[false; 4], Some((0.5, -1.0)));
    near(&log_sums, &[0.9740769842, 1.6802696706, 1.7465672692, 2.5744379396]);
    near(&outputs, &[-0.2449186624, 0.8920886196, 1.0273062558, 2.7009959494]);
}

#[test]
fn worked_example_with_reset() {
    let (outputs, log_sums) =
        scan_1d(&[0.0, 1.0, -1.0, 2.0], &[1.0, 2.0, 3.0, 4.0], &[false, false, true, false], Some((7.0, 9.0)));
    near(&log_sums[2..], &[-1.0, 2.0485873516]);
    near(&outputs[2..], &[3.0, 3.9525741268]);
}

#[test]
fn large_scores_neither_overflow_nor_vanish() {
    let (outputs, log_sums) = scan_1d(&[-200.0, -201.0, 200.0, 1e4], &[1.0, 3.0, 5.0, 7.0], &[false; 4], None);
    near(&outputs, &[1.0, 1.5378828427, 5.0, 7.0]);
    near(&log_sums, &[-200.0, -199.6867383125, 200.0, 1e4]);
}

#[test]
fn scores_of_minus_infinity_leave_the_carry_as_it_is() {
    let none = f64::NEG_INFINITY;
    let (outputs, log_sums) = scan_1d(&[none, none, 0.0, none], &[5.0, 6.0, 7.0, 8.0], &[false; 4], None);
    assert_eq!(outputs, [0.0, 0.0, 7.0, 7.0]);
    assert_eq!(log_sums, [none, none, 0.0, 0.0]);
    let (outputs, _) = scan_1d(&[none, none, 0.0, none], &[5.0, 6.0, 7.0, 8.0], &[false, true, false, true], Some((1.0, 2.0)));
    assert_eq!(outputs, [2.0, 0.0, 7.0, 0.0]);
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let (outputs, _) = scan_1d(&[0.0, 0.0, 0.0], &[f64::NAN, 1.0, 3.0], &[false, true, false], None);
    assert_eq!(outputs[1..], [1.0, 2.0]);
}

/// Distinct odd sizes, resets at the first and last token and in between, one row that begins with `-inf` scores.
fn case<B: Backend>(time: usize, seed: u64, empty_carry: bool) -> (Tensor<B, 3>, Tensor<B, 4>, Tensor<B, 2, Bool>, ScanCarry<B>) {
    let (batch, heads, head_dim) = (3, 5, 19);
    let device = Default::default();
    let mut scores: Vec<f32> = random(batch * heads * time, seed).iter().map(|x| 3.0 * x).collect();
    for score in &mut scores[..time.min(2)] {
        *score = f32::NEG_INFINITY;
    }
    let scores = Tensor::from_data(TensorData::new(scores, [batch, heads, time]), &device);
    let values = random_tensor([batch, heads, time, head_dim], seed + 1);
    let carry = if empty_carry {
        ScanCarry::empty(batch, heads, head_dim, &device)
    } else {
        ScanCarry { log_sum: random_tensor([batch, heads], seed + 2), output: random_tensor([batch, heads, head_dim], seed + 3) }
    };
    (scores, values, borders(time), carry)
}

/// The same as a backend sees it.
fn inputs(time: usize, seed: u64, empty_carry: bool) -> ScanInputs<Cpu> {
    let (scores, values, reset, carry) = case(time, seed, empty_carry);
    ScanInputs::new(scores, values, carry.log_sum, carry.output, reset.into_primitive())
}

#[test]
fn cpu_agrees_with_the_reference() {
    for (time, empty_carry) in [(1, true), (1, false), (2, false), (13, true), (61, false), (257, true)] {
        let (scores, values, reset, carry) = case::<Cpu>(time, 10, empty_carry);
        let expected = reference::attention_scan(inputs(time, 10, empty_carry));
        let (expected, log_sums) = (float::<Cpu, 4>(expected.outputs), float::<Cpu, 3>(expected.log_sums));
        let (found, next) = attention_scan(scores, values, reset, carry);
        // f32 sums in another order: a few roundings of values of size 1.
        assert_close(found.clone(), expected.clone(), 3e-6);
        let last = log_sums.slice([0..3, 0..5, time - 1..time]).reshape([3, 5]);
        assert_close(next.log_sum, last, 3e-6);
        assert_close(next.output, expected.slice([0..3, 0..5, time - 1..time]).reshape([3, 5, 19]), 3e-6);
    }
}

#[test]
fn gradients_agree_with_the_reference_also_through_the_carry() {
    for (time, empty_carry) in [(1, true), (1, false), (2, false), (17, true), (61, false)] {
        // Everything that a loss may depend on, in a row: outputs, and the last log-sums.
        let in_a_row = |scanned: ScanOutputs<Graph>| {
            let log_sum = float::<Graph, 3>(scanned.log_sums).slice([0..3, 0..5, time - 1..time]).flatten::<1>(0, 2);
            // Rows whose last score is -inf after a reset have no log-sum to differentiate.
            let finite = log_sum.clone().greater_elem(f32::MIN);
            let log_sum = log_sum.mask_fill(finite.bool_not(), 0.0);
            primitive(Tensor::cat(vec![float::<Graph, 4>(scanned.outputs).flatten::<1>(0, 3), log_sum], 0))
        };
        let upstream = primitive(random_tensor::<Cpu, 1>([3 * 5 * (time * 19 + 1)], 30));
        let found = inputs(time, 20, empty_carry).derive(|inputs| in_a_row(Graph::attention_scan(inputs)), upstream.clone());
        let expected = inputs(time, 20, empty_carry).derive(|inputs| in_a_row(reference::attention_scan(inputs)), upstream);
        assert_all_close::<Cpu, 4>(found.floats(), expected.floats(), 2e-5);
    }
}

/// Central differences in f64 of `sum(upstream . outputs)`, for every input.
#[test]
fn gradients_agree_with_finite_differences() {
    let reset = flags::<Cpu>(&[&[false, false, false, false, true, false, false]]);
    assert_slopes(
        [&[1, 1, 7], &[1, 1, 7, 3], &[1, 1], &[1, 1, 3]],
        [0.0; 4],
        |floats| ScanInputs::<Cpu>::from_floats(floats, reset.clone().into_primitive()),
        |inputs| cpu::attention_scan::<f64>(inputs).outputs,
        |inputs, grad| {
            let outputs = cpu::attention_scan::<f64>(inputs.clone());
            cpu::attention_scan_backward::<f64>(inputs, outputs, grad).floats()
        },
    );
}

#[test]
fn any_split_gives_the_same_outputs_and_carry() {
    let time = 3000;
    let (scores, values, reset, carry) = case::<Cpu>(time, 50, false);
    let (whole, end) = attention_scan(scores.clone(), values.clone(), reset.clone(), carry.clone());
    for chunk in [1, 7, 1024, 2999] {
        let mut carry = carry.clone();
        let mut pieces = Vec::new();
        for start in (0..time).step_by(chunk) {
            let part = start..(start + chunk).min(time);
            let (outputs, next) = attention_scan(
                scores.clone().slice([0..3, 0..5, part.clone()]),
                values.clone().slice([0..3, 0..5, part.clone()]),
                reset.clone().slice([0..3, part]),
                carry,
            );
            carry = next;
            pieces.push(outputs);
        }
        // The same operations in the same order: not one bit differs.
        assert_eq!(Tensor::cat(pieces, 2).into_data(), whole.to_data());
        assert_eq!(carry.log_sum.into_data(), end.log_sum.to_data());
    }
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let (scores, values, reset, carry) = case::<Cpu>(23, 60, false);
    let (expected, _) = attention_scan(scores.clone(), values.clone(), reset.clone(), carry.clone());
    let materialize = |data: TensorData| Tensor::<Cpu, 4>::from_data(data, &Default::default());
    let strided = materialize(values.clone().swap_dims(1, 2).into_data()).swap_dims(1, 2);
    let (found, _) = attention_scan(scores.clone(), strided, reset.clone(), carry.clone());
    assert_eq!(found.into_data(), expected.to_data());
    let scattered = materialize(values.swap_dims(2, 3).into_data()).swap_dims(2, 3); // head_dim is not contiguous
    let scores = Tensor::<Cpu, 3>::from_data(scores.swap_dims(0, 2).into_data(), &Default::default()).swap_dims(0, 2);
    let (found, _) = attention_scan(scores, scattered, reset, carry);
    assert_eq!(found.into_data(), expected.into_data());
}

#[test]
fn inner_backend_of_the_graph_is_the_cpu() {
    fn assert_inner<A: AutodiffBackend<InnerBackend = Cpu>>() {}
    assert_inner::<Graph>();
}
