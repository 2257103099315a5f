//! The running log-sum-exp's kernels against double precision, on whatever Vulkan device there is: software will do.

use super::launch::{Plan, running_log_sum_exp, running_log_sum_exp_backward};
use crate::cube::Limits;
use crate::cube::testing::{Truth, Vulkan, host, tensor_on, vulkan};
use crate::primitive::float;
use crate::scan::log_sums::cpu;
use crate::scan::{LogSumGradients, LogSumInputs, ScanOps, reference};
use crate::testing::random;
use burn::tensor::{Bool, DType, Tensor, TensorData, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// Inputs and upstream gradient on the host, so that every backend and precision gets the same numbers.
struct Case {
    shape: [usize; 3],
    scores: Vec<f32>,
    reset: Vec<bool>,
    carry: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    /// Resets at the first, the last and a middle token of some rows, a row that begins with scores of `-inf` and one of nothing
    /// else, and a first carry that is empty.
    fn new(shape: [usize; 3], seed: u64) -> Self {
        let [batch, heads, time] = shape;
        let mut scores: Vec<f32> = random(batch * heads * time, seed).iter().map(|x| 3.0 * x).collect();
        scores[..time.div_ceil(3)].fill(f32::NEG_INFINITY);
        if batch * heads > 1 {
            scores[(batch * heads - 1) * time..].fill(f32::NEG_INFINITY);
        }
        let mut reset = vec![false; batch * time];
        if batch > 1 {
            reset[time] = true;
            reset[2 * time - 1] = true;
        }
        if time > 2 {
            reset[(batch - 1) * time + time / 2] = true;
        }
        let mut carry = random(batch * heads, seed + 1);
        carry[0] = f32::NEG_INFINITY;
        Self { shape, scores, reset, carry, grad: random(batch * heads * time, seed + 2) }
    }

    fn inputs<B: Backend>(&self, dtype: DType) -> LogSumInputs<B> {
        let [batch, heads, time] = self.shape;
        let reset = TensorData::new(self.reset.clone(), [batch, time]);
        LogSumInputs {
            scores: tensor_on::<B, 3>(&self.scores, self.shape, dtype),
            reset: Tensor::<B, 2, Bool>::from_data(reset, &Default::default()).into_primitive(),
            carry: tensor_on::<B, 2>(&self.carry, [batch, heads], dtype),
        }
    }

    fn grad<B: Backend>(&self, dtype: DType) -> FloatTensor<B> {
        tensor_on::<B, 3>(&self.grad, self.shape, dtype)
    }
}

type Numbers = [(&'static str, Vec<f64>); 3];

fn read<B: Backend>(log_sums: FloatTensor<B>, gradients: LogSumGradients<B>) -> Numbers {
    [
        // The last of them is the next carry.
        ("log-sums", host::<B, 3>(log_sums)),
        ("score gradients", host::<B, 3>(gradients.scores)),
        ("carry gradients", host::<B, 2>(gradients.carry)),
    ]
}

fn truth(case: &Case) -> Numbers {
    let inputs = || case.inputs::<Flex>(DType::F64);
    let log_sums = cpu::running_log_sum_exp::<f64>(inputs());
    let gradients = cpu::running_log_sum_exp_backward::<f64>(inputs(), log_sums.clone(), case.grad::<Flex>(DType::F64));
    read(log_sums, gradients)
}

/// Single precision, plain tensor ops.
fn plain(case: &Case) -> Numbers {
    let inputs = || case.inputs::<Flex>(DType::F32);
    let log_sums = reference::running_log_sum_exp(inputs());
    read(log_sums, reference::running_log_sum_exp_backward(inputs(), case.grad::<Flex>(DType::F32)))
}

/// Single precision, one token after the other.
fn recurrent(case: &Case) -> Numbers {
    let inputs = || case.inputs::<Flex>(DType::F32);
    let log_sums = cpu::running_log_sum_exp::<f32>(inputs());
    let gradients = cpu::running_log_sum_exp_backward::<f32>(inputs(), log_sums.clone(), case.grad::<Flex>(DType::F32));
    read(log_sums, gradients)
}

fn on_device(case: &Case, limits: Option<Limits>) -> Numbers {
    let inputs = || case.inputs::<Vulkan>(DType::F32);
    let limits = limits.unwrap_or_else(|| Limits::of(&inputs().scores.client));
    let log_sums = running_log_sum_exp(inputs(), limits).expect("the kernel knows f32");
    let gradients = running_log_sum_exp_backward(inputs(), log_sums.clone(), case.grad::<Vulkan>(DType::F32), limits);
    read(log_sums, gradients.expect("the kernel knows f32"))
}

/// Plain ops in single precision are the quadratic ones and the recurrence: the kernel may err three times as much as they do.
/// `alike` is the case to try the quadratic ones on.
fn check(case: &Case, alike: &Case, limits: Option<Limits>) {
    let (found, expected, recurrent) = (on_device(case, limits), truth(case), recurrent(case));
    let (plain, plain_truth) = (plain(alike), truth(alike));
    for index in 0..found.len() {
        let truth = Truth(&expected[index].1);
        let plain_error = Truth(&plain_truth[index].1).largest_error(&plain[index].1);
        let allowed = truth.largest_error(&recurrent[index].1).max(plain_error);
        truth.assert_within(&found[index].1, allowed, format!("{} of {:?}", found[index].0, case.shape));
    }
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = vulkan() else { return };
    let shapes = [[3, 5, 1], [2, 3, 2], [3, 1, 3], [2, 3, 61], [3, 2, 64], [2, 2, 65], [1, 3, 257], [2, 1, 1000]];
    for (index, shape) in shapes.into_iter().enumerate() {
        let case = Case::new(shape, 10 * index as u64);
        check(&case, &case, None);
    }
}

#[test]
fn agrees_over_ten_thousand_tokens() {
    let Some(_device) = vulkan() else { return };
    // Plain ops on ten thousand tokens take gigabytes: what is allowed is their error on a fifth.
    let (case, alike) = (Case::new([1, 2, 10_000], 100), Case::new([1, 2, 2000], 100));
    let scores = case.inputs::<Vulkan>(DType::F32).scores;
    for (cubes, max_units, segmented) in [(1, 256, false), (12, 32, true)] {
        let device = Limits { cubes, max_units, ..Limits::of(&scores.client) };
        assert_eq!(Plan::new(&scores, device).unwrap().segments.count > 1, segmented);
        check(&case, &alike, Some(device));
    }
}

/// Time cut in segments, with resets in some of them.
#[test]
fn agrees_however_it_is_launched() {
    let Some(_device) = vulkan() else { return };
    for (shape, cubes, max_units) in [([2, 1, 997], 64, 16), ([3, 2, 531], 40, 8), ([1, 1, 700], 9, 1)] {
        let case = Case::new(shape, 110);
        let usual = Limits::of(&case.inputs::<Vulkan>(DType::F32).scores.client);
        check(&case, &case, Some(Limits { cubes, max_units, ..usual }));
    }
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = vulkan() else { return };
    let case = Case::new([2, 2, 1700], 120);
    let device = Some(Limits { cubes: 16, max_units: 16, ..Limits::of(&case.inputs::<Vulkan>(DType::F32).scores.client) });
    assert_eq!(on_device(&case, device), on_device(&case, device));
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = vulkan() else { return };
    let time = 203;
    let border = time / 2;
    for (cubes, max_units) in [(1, 256), (32, 8)] {
        let mut case = Case::new([1, 1, time], 130);
        let device = Limits { cubes, max_units, ..Limits::of(&case.inputs::<Vulkan>(DType::F32).scores.client) };
        // Gradients flow to earlier tokens, as far as the episode goes.
        case.grad[time - 5] = f32::NAN;
        let [_, (_, score_grads), _] = on_device(&case, Some(device));
        assert!(score_grads[time - 4..].iter().chain(&score_grads[..border]).all(|x| x.is_finite()));
        assert!(score_grads[border..time - 4].iter().all(|x| x.is_nan()));
        case.scores[3] = f32::NAN;
        let [(_, log_sums), ..] = on_device(&case, Some(device));
        assert!(log_sums[3..border].iter().all(|x| x.is_nan()));
        assert!(log_sums[border..].iter().all(|x| x.is_finite()));
    }
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(device) = vulkan() else { return };
    let case = Case::new([3, 5, 23], 140);
    let expected = on_device(&case, None);
    let strided = |tensor: FloatTensor<Vulkan>, a: usize, b: usize| {
        let tensor = float::<Vulkan, 3>(tensor);
        let moved = Tensor::<Vulkan, 3>::from_data(tensor.swap_dims(a, b).into_data(), &device).swap_dims(a, b);
        moved.into_primitive().tensor()
    };
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let mut inputs = case.inputs::<Vulkan>(DType::F32);
        inputs.scores = strided(inputs.scores, a, b);
        let log_sums = Vulkan::running_log_sum_exp(inputs.clone());
        let grad = strided(case.grad::<Vulkan>(DType::F32), 1, 2);
        let gradients = Vulkan::running_log_sum_exp_backward(inputs, log_sums.clone(), grad);
        assert_eq!(read(log_sums, gradients), expected, "axes {a} and {b}");
    }
}
