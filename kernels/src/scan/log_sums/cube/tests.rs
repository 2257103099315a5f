//! The running log-sum-exp's kernels against double precision, on whatever GPU there is: software will do.

use super::launch::{Plan, running_log_sum_exp, running_log_sum_exp_backward};
use crate::cube::Limits;
use crate::cube::testing::{Card, Case, Numbers, assert_accurate, card, read, strided, usual_limits, with_empty_scores};
use crate::scan::{LogSumInputs, ScanOps, reference};
use burn::tensor::{DType, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// Places of the inputs in a case.
const SCORES: usize = 0;
const CARRY: usize = 1;
/// The last of the log-sums is the next carry.
const NAMES: [&str; 3] = ["log-sums", "score gradients", "carry gradients"];

/// A row that begins with scores of `-inf` and one of nothing else, and a first carry that is empty.
fn case([batch, heads, time]: [usize; 3], seed: u64) -> Case<2> {
    let shape = [batch, heads, time];
    let mut case = Case::new([batch, time], [&shape, &[batch, heads]], &shape, seed);
    with_empty_scores(&mut case.floats[SCORES].0, time);
    case.floats[CARRY].0[0] = f32::NEG_INFINITY;
    case
}

fn inputs<B: Backend>(case: &Case<2>, dtype: DType) -> LogSumInputs<B> {
    LogSumInputs::from_floats(case.floats::<B>(dtype), case.reset::<B>())
}

/// What a backend's own implementation computes; the CPU's, one token after the other.
fn own<B: ScanOps>(inputs: LogSumInputs<B>, grad: FloatTensor<B>) -> Numbers {
    let log_sums = B::running_log_sum_exp(inputs.clone());
    read::<B, 1, 2>([log_sums.clone()], B::running_log_sum_exp_backward(inputs, log_sums, grad).floats())
}

fn on_cpu(case: &Case<2>, dtype: DType) -> Numbers {
    own::<Flex>(inputs(case, dtype), case.grad::<Flex>(dtype))
}

/// Single precision, plain tensor ops.
fn plain(case: &Case<2>) -> Numbers {
    let inputs = inputs::<Flex>(case, DType::F32);
    let log_sums = reference::running_log_sum_exp(inputs.clone());
    read::<Flex, 1, 2>([log_sums], reference::running_log_sum_exp_backward(inputs, case.grad::<Flex>(DType::F32)).floats())
}

fn on_device(case: &Case<2>, limits: Limits) -> Numbers {
    let inputs = || inputs::<Card>(case, DType::F32);
    let log_sums = running_log_sum_exp(inputs(), limits).expect("the kernel knows f32");
    let gradients = running_log_sum_exp_backward(inputs(), log_sums.clone(), case.grad::<Card>(DType::F32), limits);
    read::<Card, 1, 2>([log_sums], gradients.expect("the kernel knows f32").floats())
}

/// Plain ops in single precision are the quadratic ones and the recurrence: the kernel may err three times as much as they do.
/// `alike` is the case to try the quadratic ones on.
fn check(case: &Case<2>, alike: &Case<2>, limits: Limits) {
    let truth = on_cpu(case, DType::F64);
    let others = [[plain(alike), on_cpu(alike, DType::F64)], [on_cpu(case, DType::F32), truth.clone()]];
    assert_accurate(&NAMES, &on_device(case, limits), &truth, &others, &format!("{:?}", case.grad.1));
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = card() else { return };
    let shapes = [[3, 5, 1], [2, 3, 2], [3, 1, 3], [2, 3, 61], [3, 2, 64], [2, 2, 65], [1, 3, 257], [2, 1, 1000]];
    for (index, shape) in shapes.into_iter().enumerate() {
        let case = case(shape, 10 * index as u64);
        check(&case, &case, usual_limits());
    }
}

#[test]
fn agrees_over_ten_thousand_tokens() {
    let Some(_device) = card() else { return };
    // Plain ops on ten thousand tokens take gigabytes: what is allowed is their error on a fifth.
    let (case, alike) = (case([1, 2, 10_000], 100), case([1, 2, 2000], 100));
    let scores = inputs::<Card>(&case, DType::F32).scores;
    for (cubes, max_units, segmented) in [(1, 256, false), (12, 32, true)] {
        let device = Limits { cubes, max_units, ..usual_limits() };
        assert_eq!(Plan::new(&scores, device).unwrap().segments.count > 1, segmented);
        check(&case, &alike, device);
    }
}

/// Time cut in segments, with resets in some of them.
#[test]
fn agrees_however_it_is_launched() {
    let Some(_device) = card() else { return };
    for (shape, cubes, max_units) in [([2, 1, 997], 64, 16), ([3, 2, 531], 40, 8), ([1, 1, 700], 9, 1)] {
        let case = case(shape, 110);
        check(&case, &case, Limits { cubes, max_units, ..usual_limits() });
    }
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = card() else { return };
    let case = case([2, 2, 1700], 120);
    let device = Limits { cubes: 16, max_units: 16, ..usual_limits() };
    assert_eq!(on_device(&case, device), on_device(&case, device));
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = card() else { return };
    let time = 203;
    let border = time / 2;
    for (cubes, max_units) in [(1, 256), (32, 8)] {
        let mut case = case([1, 1, time], 130);
        let device = Limits { cubes, max_units, ..usual_limits() };
        // Gradients flow to earlier tokens, as far as the episode goes.
        case.grad.0[time - 5] = f32::NAN;
        let score_grads = &on_device(&case, device)[1];
        assert!(score_grads[time - 4..].iter().chain(&score_grads[..border]).all(|x| x.is_finite()));
        assert!(score_grads[border..time - 4].iter().all(|x| x.is_nan()));
        case.floats[SCORES].0[3] = f32::NAN;
        let log_sums = &on_device(&case, device)[0];
        assert!(log_sums[3..border].iter().all(|x| x.is_nan()));
        assert!(log_sums[border..].iter().all(|x| x.is_finite()));
    }
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(_device) = card() else { return };
    let case = case([3, 5, 23], 140);
    let expected = on_device(&case, usual_limits());
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let mut inputs = inputs::<Card>(&case, DType::F32);
        inputs.scores = strided::<3>(inputs.scores, a, b);
        let grad = strided::<3>(case.grad::<Card>(DType::F32), 1, 2);
        assert_eq!(own::<Card>(inputs, grad), expected, "axes {a} and {b}");
    }
}
