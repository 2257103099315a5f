//! Slot attention against worked numbers, its reference, finite differences, and itself cut in pieces.

use super::*;
use crate::primitive::{float, primitive};
use crate::scan::{ScanCarry, attention_scan};
use crate::testing::{assert_all_close, assert_close, assert_slopes, borders, flags, host, random, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Bool, DType, Tensor, TensorData};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 3;

/// Resets at the first and last token and in between; some scores of -inf, and whole slots that nothing is written to at first.
fn case([heads, time, head_dim, slots]: [usize; 4], seed: u64, empty_carry: bool) -> SlotInputs<Cpu> {
    let mut scores: Vec<f32> = random(BATCH * heads * time * slots, seed).iter().map(|x| 4.0 * x).collect();
    scores.iter_mut().skip(1).step_by(7).for_each(|score| *score = f32::NEG_INFINITY);
    scores.iter_mut().step_by(slots).take(time / 2).for_each(|score| *score = f32::NEG_INFINITY);
    let scores = Tensor::from_data(TensorData::new(scores, [BATCH, heads, time, slots]), &Default::default());
    let tokens = |seed: u64| random_tensor::<Cpu, 4>([BATCH, heads, time, head_dim], seed);
    let (log_sum, memory) = if empty_carry {
        let carry = ScanCarry::<Cpu>::empty(BATCH, heads * slots, 2 * head_dim, &Default::default());
        (carry.log_sum.reshape([BATCH, heads, slots]), carry.output.reshape([BATCH, heads, slots, 2 * head_dim]))
    } else {
        (random_tensor([BATCH, heads, slots], seed + 4), random_tensor([BATCH, heads, slots, 2 * head_dim], seed + 5))
    };
    let reset = borders::<Cpu>(time).into_primitive();
    SlotInputs::new(scores, tokens(seed + 1) * 3.0, tokens(seed + 2), tokens(seed + 3), log_sum, memory, reset)
}

/// Heads, tokens, head_dim and slots: no multiples of a vector, and fewer than one.
const SIZES: [[usize; 4]; 6] = [[1, 1, 1, 1], [2, 1, 3, 5], [5, 2, 19, 1], [3, 13, 7, 6], [2, 61, 33, 17], [1, 130, 16, 16]];

#[test]
fn cpu_and_its_gradients_agree_with_the_reference_also_through_the_carry() {
    for sizes in SIZES {
        for empty_carry in [true, false] {
            let inputs = case(sizes, 10, empty_carry);
            let [heads, time, head_dim, slots] = sizes;
            let (found, expected) = (Cpu::slot_attention(inputs.clone()), reference::slot_attention(inputs.clone()));
            assert_all_close::<Cpu, 1>([found], [expected.clone()], 1e-5);
            let length = time * head_dim + slots * (2 * head_dim + 1);
            // Log-sums of -inf are constants, which the reference has no way to say but a gradient of 0.
            let is_constant = float::<Cpu, 3>(expected).lower_elem(f32::MIN);
            let upstream = random_tensor::<Cpu, 3>([BATCH, heads, length], 30).mask_fill(is_constant, 0.0);
            let upstream = primitive(upstream);
            let expected = reference::slot_attention_backward(inputs.clone(), upstream.clone());
            let found = inputs.derive(Graph::slot_attention, upstream);
            assert_all_close::<Cpu, 6>(found.floats(), expected.floats(), 1e-4);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let reset = flags::<Cpu>(&[&[false, false, false, true, false], &[true, false, false, false, false]]);
    assert_slopes(
        [&[2, 2, 5, 3], &[2, 2, 5, 4], &[2, 2, 5, 4], &[2, 2, 5, 4], &[2, 2, 3], &[2, 2, 3, 8]],
        [0.0; 6],
        |floats| SlotInputs::<Cpu>::from_floats(floats, reset.clone().into_primitive()),
        cpu::slot_attention::<f64>,
        |inputs, grad| cpu::slot_attention_backward::<f64>(inputs, grad).floats(),
    );
}

#[test]
fn worked_example_of_two_slots() {
    let tensor = |data: &[f64], shape: [usize; 4]| {
        Tensor::<Cpu, 4>::from_data(TensorData::new(data.to_vec(), shape), (&Default::default(), DType::F64))
    };
    // Slot 0 counts both tokens alike, slot 1 the second three times as much.
    let third = 3f64.ln();
    let inputs = SlotInputs::new(
        tensor(&[0.0, 0.0, 0.0, third], [1, 1, 2, 2]),
        tensor(&[0.0, 2.0], [1, 1, 2, 1]),
        tensor(&[1.0, -1.0], [1, 1, 2, 1]),
        tensor(&[8.0, 4.0], [1, 1, 2, 1]),
        tensor(&[f64::NEG_INFINITY; 2], [1, 1, 2, 1]).squeeze_dim(3),
        tensor(&[0.0; 4], [1, 1, 2, 2]),
        flags::<Cpu>(&[&[false, false]]).into_primitive(),
    );
    // Keys 0 and -0.5, values 6 and 5; the second token asks with 2: logits 0 and -1.
    let share = 1.0 / (1.0 + (-1f64).exp());
    let expected = [8.0, 6.0 * share + 5.0 * (1.0 - share), 0.0, 6.0, -0.5, 5.0, 2f64.ln(), 4f64.ln()];
    for (found, expected) in host::<Cpu>(cpu::slot_attention::<f64>(inputs)).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }
}

/// Through the checked function, in pieces of the given length.
fn in_pieces(inputs: &SlotInputs<Cpu>, length: usize) -> (Tensor<Cpu, 4>, ScanCarry<Cpu>) {
    let [scores, queries, keys, values] =
        [&inputs.scores, &inputs.queries, &inputs.keys, &inputs.values].map(|tensor| float::<Cpu, 4>(tensor.clone()));
    let ([batch, heads, time, head_dim], slots) = (values.dims(), scores.dims()[3]);
    let reset = Tensor::<Cpu, 2, Bool>::from_primitive(inputs.reset.clone());
    let mut carry = ScanCarry {
        log_sum: float::<Cpu, 3>(inputs.carry_log_sum.clone()).reshape([batch, heads * slots]),
        output: float::<Cpu, 4>(inputs.carry_memory.clone()).reshape([batch, heads * slots, 2 * head_dim]),
    };
    let mut pieces = Vec::new();
    for start in (0..time).step_by(length) {
        let part = start..(start + length).min(time);
        let of = |tensor: &Tensor<Cpu, 4>| tensor.clone().slice([0..batch, 0..heads, part.clone()]);
        let flags = reset.clone().slice([0..batch, part.clone()]);
        let (outputs, next) = slot_attention(of(&scores), of(&queries), of(&keys), of(&values), flags, carry);
        pieces.push(outputs);
        carry = next;
    }
    (Tensor::cat(pieces, 2), carry)
}

#[test]
fn any_split_gives_the_same_bits() {
    let inputs = case([3, 43, 9, 5], 50, false);
    let (whole, last) = in_pieces(&inputs, 43);
    for length in [1, 7, 42] {
        let (outputs, carry) = in_pieces(&inputs, length);
        assert_eq!(outputs.into_data(), whole.to_data());
        assert_eq!(carry.log_sum.into_data(), last.log_sum.to_data());
        assert_eq!(carry.output.into_data(), last.output.to_data());
    }
}

#[test]
fn the_number_of_threads_does_not_change_the_bits() {
    let of_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let inputs = case([4, 61, 16, 16], 60, true);
            let outputs = Cpu::slot_attention(inputs.clone());
            let upstream = primitive(random_tensor::<Cpu, 3>([BATCH, 4, 61 * 16 + 16 * 33], 30));
            let gradients = Cpu::slot_attention_backward(inputs, upstream).floats();
            [outputs].into_iter().chain(gradients).map(|tensor| float::<Cpu, 1>(tensor).into_data()).collect::<Vec<_>>()
        })
    };
    assert_eq!(of_threads(1), of_threads(3));
}

#[test]
fn one_slot_is_a_scan_whatever_is_asked() {
    let inputs = case([5, 23, 7, 1], 70, true);
    let rows = |tensor: burn_flex::FlexTensor| float::<Cpu, 4>(tensor);
    let reset = Tensor::<Cpu, 2, Bool>::from_primitive(inputs.reset.clone());
    let carry = ScanCarry::empty(BATCH, 5, 7, &Default::default());
    let scores = rows(inputs.scores.clone()).reshape([BATCH, 5, 23]);
    let (expected, _) = attention_scan(scores, rows(inputs.values.clone()), reset, carry);
    assert_close(in_pieces(&inputs, 23).0, expected, 1e-6);
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let inputs = case([2, 5, 4, 3], 80, false);
    let spoil = |tensor: &burn_flex::FlexTensor| {
        let tensor = float::<Cpu, 4>(tensor.clone());
        // Row 2 begins an episode at its token 2.
        primitive(tensor.slice_assign([2..3, 0..2, 0..2, 0..4], Tensor::full([1, 2, 2, 4], f32::NAN, &Default::default())))
    };
    let spoiled = SlotInputs { keys: spoil(&inputs.keys), values: spoil(&inputs.values), ..inputs.clone() };
    let of_row = |inputs: &SlotInputs<Cpu>| in_pieces(inputs, 5).0.slice([2..3, 0..2, 2..5, 0..4]).into_data();
    assert_eq!(of_row(&spoiled), of_row(&inputs));
}
