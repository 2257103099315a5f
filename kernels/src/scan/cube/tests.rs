//! The scan's kernels against a double-precision scan, on whatever Vulkan device there is: software will do.

use super::launch::{Plan, TOKENS, attention_scan, attention_scan_backward};
use crate::cube::Limits;
use crate::cube::testing::{Truth, Vulkan, host, tensor_on, vulkan};
use crate::primitive::float;
use crate::scan::{ScanGradients, ScanInputs, ScanOps, ScanOutputs, cpu, reference};
use crate::testing::random;
use burn::tensor::backend::{Backend, DTypeUsage};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::Flex;

/// A scan's inputs and upstream gradient on the host, so that every backend and precision gets the same numbers.
struct Case {
    shape: [usize; 4],
    scores: Vec<f32>,
    values: Vec<f32>,
    reset: Vec<bool>,
    carry_log_sum: Vec<f32>,
    carry_output: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    /// Resets at the first, the last and a middle token, a row that begins with scores of `-inf` and one of nothing else.
    fn new(shape: [usize; 4], empty_carry: bool, seed: u64) -> Self {
        let [batch, heads, time, head_dim] = shape;
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
        let carry_log_sum = if empty_carry { vec![f32::NEG_INFINITY; batch * heads] } else { random(batch * heads, seed + 2) };
        Self {
            shape,
            scores,
            values: random(batch * heads * time * head_dim, seed + 1),
            reset,
            carry_log_sum,
            carry_output: random(batch * heads * head_dim, seed + 3),
            grad: random(batch * heads * time * head_dim, seed + 4),
        }
    }

    fn inputs<B: Backend>(&self, dtype: DType) -> ScanInputs<B> {
        let [batch, heads, time, head_dim] = self.shape;
        ScanInputs {
            scores: tensor_on::<B, 3>(&self.scores, [batch, heads, time], dtype),
            values: tensor_on::<B, 4>(&self.values, self.shape, dtype),
            reset: Tensor::<B, 2, burn::tensor::Bool>::from_data(
                TensorData::new(self.reset.clone(), [batch, time]),
                &Default::default(),
            )
            .into_primitive(),
            carry_log_sum: tensor_on::<B, 2>(&self.carry_log_sum, [batch, heads], dtype),
            carry_output: tensor_on::<B, 3>(&self.carry_output, [batch, heads, head_dim], dtype),
        }
    }

    fn grad<B: Backend>(&self, dtype: DType) -> FloatTensor<B> {
        tensor_on::<B, 4>(&self.grad, self.shape, dtype)
    }
}

type Numbers = [(&'static str, Vec<f64>); 6];

/// Everything that a scan and its backward pass compute, in double precision.
fn read<B: Backend>(outputs: ScanOutputs<B>, gradients: ScanGradients<B>) -> Numbers {
    [
        ("outputs", host::<B, 4>(outputs.outputs)),
        ("log-sums", host::<B, 3>(outputs.log_sums)),
        ("score gradients", host::<B, 3>(gradients.scores)),
        ("value gradients", host::<B, 4>(gradients.values)),
        ("gradients of the carry's log-sum", host::<B, 2>(gradients.carry_log_sum)),
        ("gradients of the carry's output", host::<B, 3>(gradients.carry_output)),
    ]
}

fn truth(case: &Case) -> Numbers {
    let outputs = cpu::attention_scan::<f64>(case.inputs(DType::F64));
    let gradients = cpu::attention_scan_backward::<f64>(case.inputs(DType::F64), outputs.clone(), case.grad::<Flex>(DType::F64));
    read(outputs, gradients)
}

/// Single precision, plain tensor ops.
fn plain(case: &Case) -> Numbers {
    let inputs = || case.inputs::<Flex>(DType::F32);
    let outputs = reference::attention_scan(inputs());
    read(outputs, reference::attention_scan_backward(inputs(), case.grad::<Flex>(DType::F32)))
}

/// Single precision, one token after the other.
fn recurrent(case: &Case) -> Numbers {
    let outputs = cpu::attention_scan::<f32>(case.inputs(DType::F32));
    let gradients = cpu::attention_scan_backward::<f32>(case.inputs(DType::F32), outputs.clone(), case.grad::<Flex>(DType::F32));
    read(outputs, gradients)
}

fn on_device(case: &Case, limits: Option<Limits>) -> Numbers {
    let inputs = || case.inputs::<Vulkan>(DType::F32);
    let limits = limits.unwrap_or_else(|| Limits::of(&inputs().values.client));
    let outputs = attention_scan(inputs(), limits).expect("the shape fits the kernel");
    let gradients = attention_scan_backward(inputs(), outputs.clone(), case.grad::<Vulkan>(DType::F32), limits).unwrap();
    read(outputs, gradients)
}

/// Plain ops in single precision are the quadratic ones and the recurrence: the kernel may err three times as much as they do.
/// `alike` are the cases to try the quadratic ones on: more than one, since a carry has few numbers for an error to show in.
fn check(case: &Case, alike: &[Case], limits: Option<Limits>) {
    let (found, expected, recurrent) = (on_device(case, limits), truth(case), recurrent(case));
    let quadratic: Vec<_> = alike.iter().map(|case| (plain(case), truth(case))).collect();
    for index in 0..found.len() {
        let errors = quadratic.iter().map(|(plain, truth)| Truth(&truth[index].1).largest_error(&plain[index].1));
        let allowed = errors.fold(Truth(&expected[index].1).largest_error(&recurrent[index].1), f64::max);
        Truth(&expected[index].1).assert_within(&found[index].1, allowed, format!("{} of {:?}", found[index].0, case.shape));
    }
}

fn draws(shape: [usize; 4], empty_carry: bool, seed: u64) -> [Case; 4] {
    [0, 1000, 2000, 3000].map(|offset| Case::new(shape, empty_carry, seed + offset))
}

#[test]
fn agrees_with_a_double_precision_scan() {
    let Some(_device) = vulkan() else { return };
    let shapes = [
        [3, 5, 1, 19],
        [2, 3, 2, 5],
        [3, 1, 3, 64],
        [2, 3, 61, 19],
        [3, 2, 64, 32],
        [2, 2, 65, 33],
        [1, 3, 257, 7],
        [2, 1, 1000, 12],
    ];
    for (index, shape) in shapes.into_iter().enumerate() {
        for empty_carry in [true, false] {
            let cases = draws(shape, empty_carry, 10 * index as u64);
            check(&cases[0], &cases, None);
        }
    }
}

#[test]
fn agrees_over_ten_thousand_tokens() {
    let Some(_device) = vulkan() else { return };
    // Plain ops on ten thousand tokens take gigabytes: what is allowed is their error on a fifth.
    for (segmented, cubes) in [(false, 1), (true, 12)] {
        let case = Case::new([1, 2, 10_000, 11], false, 70);
        let device = Limits { cubes, ..Limits::of(&case.inputs::<Vulkan>(DType::F32).values.client) };
        let plan = Plan::new(&case.inputs::<Vulkan>(DType::F32).values, &[], device, TOKENS).unwrap();
        assert_eq!(plan.segments.count > 1, segmented);
        check(&case, &[Case::new([1, 2, 2000, 11], false, 70)], Some(device));
    }
}

/// A row cut in segments, with resets in some of them, and scans without planes or with planes of another width.
#[test]
fn agrees_however_it_is_launched() {
    let Some(_device) = vulkan() else { return };
    let cases = draws([2, 1, 997, 6], false, 80);
    let usual = Limits::of(&cases[0].inputs::<Vulkan>(DType::F32).values.client);
    for (cubes, plane, max_units) in [(64, usual.plane, 16), (8, 0, 8), (3, 8, 64)] {
        check(&cases[0], &cases, Some(Limits { cubes, plane, max_units, ..usual }));
    }
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = vulkan() else { return };
    let case = Case::new([1, 3, 700, 20], false, 90);
    let device = Some(Limits { cubes: 9, ..Limits::of(&case.inputs::<Vulkan>(DType::F32).values.client) });
    assert_eq!(on_device(&case, device), on_device(&case, device));
}

#[test]
fn non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = vulkan() else { return };
    let mut case = Case::new([2, 1, 90, 8], false, 100);
    case.values[90 * 8 + 3] = f32::NAN;
    case.values[90 * 8 + 12] = f32::INFINITY;
    case.scores[90 + 4] = f32::NAN;
    case.reset[90 + 37] = true;
    let [outputs, log_sums, ..] = on_device(&case, None).map(|(_, numbers)| numbers);
    assert!(outputs[90 * 8..(90 + 37) * 8].iter().any(|x| x.is_nan()));
    assert!(log_sums[90..90 + 37].iter().any(|x| x.is_nan()));
    assert!(outputs[(90 + 37) * 8..].iter().all(|x| x.is_finite()));
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(device) = vulkan() else { return };
    let case = Case::new([3, 5, 23, 12], false, 110);
    let expected = on_device(&case, None);
    let strided = |tensor: FloatTensor<Vulkan>, a: usize, b: usize| {
        let tensor = float::<Vulkan, 4>(tensor);
        let moved = Tensor::<Vulkan, 4>::from_data(tensor.swap_dims(a, b).into_data(), &device).swap_dims(a, b);
        moved.into_primitive().tensor()
    };
    for (a, b) in [(1, 2), (2, 3), (0, 2)] {
        let mut inputs = case.inputs::<Vulkan>(DType::F32);
        inputs.values = strided(inputs.values, a, b);
        let scores = float::<Vulkan, 3>(inputs.scores);
        let scores = Tensor::<Vulkan, 3>::from_data(scores.swap_dims(0, 2).into_data(), &device).swap_dims(0, 2);
        inputs.scores = scores.into_primitive().tensor();
        let outputs = Vulkan::attention_scan(inputs.clone());
        let grad = strided(case.grad::<Vulkan>(DType::F32), a, b);
        let gradients = Vulkan::attention_scan_backward(inputs, outputs.clone(), grad);
        assert_eq!(read(outputs, gradients), expected, "axes {a} and {b}");
    }
}

/// Half-precision values are summed in single precision: an output is off by the rounding of one number, however many it is the sum of.
#[test]
fn half_precision_values_are_summed_in_single_precision() {
    let Some(device) = vulkan() else { return };
    for (dtype, rounding) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-9))] {
        if !Vulkan::dtype_usage(&device, dtype).contains(DTypeUsage::Storage) {
            println!("skipped: the device cannot store {dtype:?}");
            continue;
        }
        let mut case = Case::new([2, 3, 701, 16], false, 130);
        // What the device is given, so that rounding it is no error of the kernel's.
        let rounded = |numbers: &[f32]| -> Vec<f32> {
            let data = TensorData::new(numbers.to_vec(), [numbers.len()]).convert_dtype(dtype);
            data.convert::<f32>().to_vec().unwrap()
        };
        (case.values, case.grad) = (rounded(&case.values), rounded(&case.grad));
        let inputs =
            ScanInputs { values: tensor_on::<Vulkan, 4>(&case.values, case.shape, dtype), ..case.inputs::<Vulkan>(DType::F32) };
        let usual = Limits::of(&inputs.values.client);
        // In one piece, and in segments that a second level joins.
        for (limits, is_cut) in [(Limits { cubes: 1, ..usual }, false), (Limits { cubes: 64, max_units: 64, ..usual }, true)] {
            assert_eq!(Plan::new(&inputs.values, &[&inputs.values], limits, TOKENS).unwrap().segments.count > 1, is_cut);
            let outputs = attention_scan(inputs.clone(), limits).expect("the shape fits");
            assert_eq!((outputs.outputs.dtype, outputs.log_sums.dtype), (dtype, DType::F32));
            let gradients = attention_scan_backward(inputs.clone(), outputs.clone(), case.grad::<Vulkan>(dtype), limits).unwrap();
            assert_eq!((gradients.values.dtype, gradients.scores.dtype), (dtype, DType::F32));
            for ((what, found), (_, expected)) in read(outputs, gradients).into_iter().zip(truth(&case)) {
                let largest = expected.iter().filter(|x| x.is_finite()).fold(0.0f64, |most, x| most.max(x.abs()));
                // Gradients are computed from outputs that have been rounded, one for each of 16 dimensions.
                let roundings = if what.contains("gradients") { 4.0 } else { 1.0 };
                let error = Truth(&expected).largest_error(&found);
                println!("{dtype:?}: {what} off by {error:e} at a scale of {largest:e}");
                assert!(
                    error <= 1.001 * roundings * rounding * largest,
                    "{dtype:?}: {what} off by {error:e} at a scale of {largest:e}"
                );
            }
        }
    }
}
