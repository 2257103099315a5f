//! The running log-sum-exp against worked numbers, its reference, finite differences, and itself cut in pieces.

use super::cpu;
use crate::primitive::{float, primitive};
use crate::scan::{LogSumInputs, ScanCarry, attention_scan, reference, running_log_sum_exp};
use crate::testing::{assert_close, assert_slopes, flags, random_f64, random_tensor, upstream};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Tensor, TensorData};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 3;
const HEADS: usize = 5;

/// Resets at the first and last token and in between, a row that begins with scores of `-inf`, and empty carries.
fn case<B: Backend>(time: usize, seed: u64) -> (Tensor<B, 3>, Tensor<B, 2, Bool>, Tensor<B, 2>) {
    let mut reset = vec![vec![false; time]; BATCH];
    reset[1][0] = true;
    reset[1][time - 1] = true;
    reset[2][time / 2] = true;
    let rows: Vec<&[bool]> = reset.iter().map(|row| &row[..]).collect();
    let scores: Tensor<B, 3> = random_tensor([BATCH, HEADS, time], seed) * 4.0;
    let scores = scores.slice_fill([0..1, 0..2, 0..time.div_ceil(3)], f32::NEG_INFINITY);
    let carry: Tensor<B, 2> = random_tensor([BATCH, HEADS], seed + 1);
    (scores, flags(&rows), carry.slice_fill([0..BATCH, 0..1], f32::NEG_INFINITY))
}

fn by_reference<B: Backend>(scores: Tensor<B, 3>, reset: Tensor<B, 2, Bool>, carry: Tensor<B, 2>) -> Tensor<B, 3> {
    float(reference::running_log_sum_exp::<B>(LogSumInputs {
        scores: primitive(scores),
        reset: reset.into_primitive(),
        carry: primitive(carry),
    }))
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
fn cpu_agrees_with_the_reference() {
    for time in [1, 2, 13, 61, 257] {
        let (scores, reset, carry) = case::<Cpu>(time, 10);
        let expected = by_reference(scores.clone(), reset.clone(), carry.clone());
        assert_close(running_log_sum_exp(scores, reset, carry), expected, 2e-6);
    }
}

#[test]
fn gradients_agree_with_the_reference() {
    for time in [1, 2, 17, 61] {
        let gradients = |use_reference: bool| {
            let (scores, reset, carry) = case::<Graph>(time, 20);
            let (scores, carry) = (scores.require_grad(), carry.require_grad());
            let run = if use_reference { by_reference } else { running_log_sum_exp };
            let log_sums = run(scores.clone(), reset, carry.clone());
            // A log-sum of -inf times anything is no number.
            let is_empty = log_sums.clone().lower_elem(f32::MIN);
            let product = log_sums.mask_fill(is_empty, 0.0) * upstream([BATCH, HEADS, time], 30);
            let gradients = product.sum().backward();
            (scores.grad(&gradients).unwrap(), carry.grad(&gradients).unwrap())
        };
        let (found, expected) = (gradients(false), gradients(true));
        assert_close(found.0, expected.0, 4e-6);
        assert_close(found.1, expected.1, 4e-6);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (batch, heads, time) = (2, 2, 5);
    let count = batch * heads * time;
    let numbers = random_f64(count + batch * heads, 40);
    let weights = random_f64(count, 41);
    let options = (&Default::default(), DType::F64);
    let tensor = |part: &[f64]| Tensor::<Cpu, 1>::from_data(TensorData::new(part.to_vec(), [part.len()]), options);
    let build = |numbers: &[f64]| LogSumInputs::<Cpu> {
        scores: tensor(&numbers[..count]).reshape([batch, heads, time]).into_primitive().tensor(),
        reset: flags::<Cpu>(&[&[false, false, true, false, false], &[false; 5]]).into_primitive(),
        carry: tensor(&numbers[count..]).reshape([batch, heads]).into_primitive().tensor(),
    };
    let read = |primitive| {
        let tensor = float::<Cpu, 1>(primitive);
        tensor.into_data().to_vec::<f64>().unwrap()
    };
    let loss = |numbers: &[f64]| -> f64 {
        let log_sums = read(cpu::running_log_sum_exp::<f64>(build(numbers)));
        log_sums.iter().zip(&weights).map(|(log_sum, weight)| log_sum * weight).sum()
    };
    let log_sums = cpu::running_log_sum_exp::<f64>(build(&numbers));
    let grad = tensor(&weights).reshape([batch, heads, time]).into_primitive().tensor();
    let gradients = cpu::running_log_sum_exp_backward::<f64>(build(&numbers), log_sums, grad);
    let found = [read(gradients.scores), read(gradients.carry)].concat();
    assert_slopes(&found, &numbers, loss);
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
