//! The running log-sum-exp against worked numbers, its reference, finite differences, and itself cut in pieces.

use super::cpu;
use crate::primitive::{float, primitive};
use crate::scan::{LogSumInputs, ScanCarry, ScanOps, attention_scan, reference, running_log_sum_exp};
use crate::testing::{assert_all_close, assert_close, assert_slopes, borders, flags, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 3;
const HEADS: usize = 5;

/// Resets at the first and last token and in between, a row that begins with scores of `-inf`, and empty carries.
fn case<B: Backend>(time: usize, seed: u64) -> (Tensor<B, 3>, Tensor<B, 2, Bool>, Tensor<B, 2>) {
    let scores: Tensor<B, 3> = random_tensor([BATCH, HEADS, time], seed) * 4.0;
    let scores = scores.slice_fill([0..1, 0..2, 0..time.div_ceil(3)], f32::NEG_INFINITY);
    let carry: Tensor<B, 2> = random_tensor([BATCH, HEADS], seed + 1);
    (scores, borders(time), carry.slice_fill([0..BATCH, 0..1], f32::NEG_INFINITY))
}

#[test]
fn worked_example_with_carry_and_reset() {
    let logs = |numbers: [f32; 4]| Tensor::<Cpu, 1>::from_data(numbers, &Default::default()).log();
    let carry = Tensor::full([1, 1], 2.0f32.ln(), &Default::default());
    let log_sums =
        running_log_sum_exp(logs([1.0, 0.0, 5.0, 4.0]).reshape([1, 1, 4]), flags(&[&[false, false, true, false]]), carry);
    assert_close(log_sums, logs([3.0, 3.0, 5.0, 9.0]).reshape([1, 1, 4]), 1e-6);
    let nothing = Tensor::<Cpu, 3>::full([1, 1, 2], f32::NEG_INFINITY, &Default::default());
    let carry = Tensor::full([1, 1], f32::NEG_INFINITY, &Default::default());
    let log_sums = running_log_sum_exp(nothing, flags(&[&[false, true]]), carry);
    assert_eq!(log_sums.into_data().to_vec::<f32>().unwrap(), [f32::NEG_INFINITY; 2]);
}

#[test]
fn cpu_and_its_gradients_agree_with_the_reference() {
    for time in [1, 2, 13, 17, 61, 257] {
        let (scores, reset, carry) = case::<Cpu>(time, 10);
        let inputs = LogSumInputs::new(scores, carry, reset.into_primitive());
        let expected = reference::running_log_sum_exp(inputs.clone());
        assert_all_close::<Cpu, 1>([Cpu::running_log_sum_exp(inputs.clone())], [expected], 2e-6);
        let upstream = primitive(random_tensor::<Cpu, 3>([BATCH, HEADS, time], 30));
        let expected = reference::running_log_sum_exp_backward(inputs.clone(), upstream.clone());
        let finite_log_sums = |inputs| {
            let log_sums = float::<Graph, 3>(Graph::running_log_sum_exp(inputs));
            // A log-sum of -inf times anything is no number.
            let is_empty = log_sums.clone().lower_elem(f32::MIN);
            primitive(log_sums.mask_fill(is_empty, 0.0))
        };
        assert_all_close::<Cpu, 2>(inputs.derive(finite_log_sums, upstream).floats(), expected.floats(), 4e-6);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let reset = flags::<Cpu>(&[&[false, false, true, false, false], &[false; 5]]);
    assert_slopes(
        [&[2, 2, 5], &[2, 2]],
        [0.0; 2],
        |floats| LogSumInputs::<Cpu>::from_floats(floats, reset.clone().into_primitive()),
        cpu::running_log_sum_exp::<f64>,
        |inputs, grad| {
            let log_sums = cpu::running_log_sum_exp::<f64>(inputs.clone());
            cpu::running_log_sum_exp_backward::<f64>(inputs, log_sums, grad).floats()
        },
    );
}

#[test]
fn any_split_gives_the_same_bits() {
    let time = 1000;
    let (scores, reset, carry) = case::<Cpu>(time, 50);
    let whole = running_log_sum_exp(scores.clone(), reset.clone(), carry.clone());
    for chunk in [1, 7, 999] {
        let (mut carry, mut pieces) = (carry.clone(), Vec::new());
        for start in (0..time).step_by(chunk) {
            let part = start..(start + chunk).min(time);
            let last = part.len() - 1;
            let scores = scores.clone().slice([0..BATCH, 0..HEADS, part.clone()]);
            let log_sums = running_log_sum_exp(scores, reset.clone().slice([0..BATCH, part]), carry);
            carry = log_sums.clone().slice([0..BATCH, 0..HEADS, last..last + 1]).reshape([BATCH, HEADS]);
            pieces.push(log_sums);
        }
        assert_eq!(Tensor::cat(pieces, 2).into_data(), whole.to_data());
    }
}

#[test]
fn is_what_the_attention_scan_carries() {
    let (scores, reset, carry) = case::<Cpu>(61, 60);
    let values = random_tensor([BATCH, HEADS, 61, 3], 61);
    let last = running_log_sum_exp(scores.clone(), reset.clone(), carry.clone()).slice([0..BATCH, 0..HEADS, 60..61]);
    let carry = ScanCarry { log_sum: carry, output: random_tensor([BATCH, HEADS, 3], 62) };
    let (_, carry) = attention_scan(scores, values, reset, carry);
    assert_eq!(last.reshape([BATCH, HEADS]).into_data(), carry.log_sum.into_data());
}
