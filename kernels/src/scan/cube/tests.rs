//! The scan's kernels against a double-precision scan, on whatever GPU there is: software will do.

use super::launch::{Plan, TOKENS, attention_scan, attention_scan_backward};
use crate::cube::Limits;
use crate::cube::testing::{
    Card, Case, Numbers, Truth, assert_accurate, card, read, small_limits, strided, tensor_on, usual_limits, with_empty_scores,
};
use crate::scan::{ScanGradients, ScanInputs, ScanOps, ScanOutputs, reference};
use burn::tensor::backend::{Backend, DTypeUsage};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, TensorData};
use burn_flex::Flex;

/// Places of the inputs in a case.
const SCORES: usize = 0;
const VALUES: usize = 1;
const CARRY_LOG_SUM: usize = 2;
/// Everything that a scan and its backward pass compute.
const NAMES: [&str; 6] = [
    "outputs",
    "log-sums",
    "score gradients",
    "value gradients",
    "gradients of the carry's log-sum",
    "gradients of the carry's output",
];

/// A row that begins with scores of `-inf` and one of nothing else.
fn case([batch, heads, time, head_dim]: [usize; 4], empty_carry: bool, seed: u64) -> Case<4> {
    let shape = [batch, heads, time, head_dim];
    let shapes = [&[batch, heads, time][..], &shape, &[batch, heads], &[batch, heads, head_dim]];
    let mut case = Case::new([batch, time], shapes, &shape, seed);
    with_empty_scores(&mut case.floats[SCORES].0, time);
    if empty_carry {
        case.floats[CARRY_LOG_SUM].0.fill(f32::NEG_INFINITY);
    }
    case
}

fn inputs<B: Backend>(case: &Case<4>, dtype: DType) -> ScanInputs<B> {
    ScanInputs::from_floats(case.floats::<B>(dtype), case.reset::<B>())
}

fn read_scan<B: Backend>(outputs: ScanOutputs<B>, gradients: ScanGradients<B>) -> Numbers {
    read::<B, 2, 4>([outputs.outputs, outputs.log_sums], gradients.floats())
}

/// What a backend's own implementation computes; the CPU's, one token after the other.
fn own<B: ScanOps>(inputs: ScanInputs<B>, grad: FloatTensor<B>) -> Numbers {
    let outputs = B::attention_scan(inputs.clone());
    read_scan(outputs.clone(), B::attention_scan_backward(inputs, outputs, grad))
}

fn on_cpu(case: &Case<4>, dtype: DType) -> Numbers {
    own::<Flex>(inputs(case, dtype), case.grad::<Flex>(dtype))
}

/// Single precision, plain tensor ops.
fn plain(case: &Case<4>) -> Numbers {
    let inputs = inputs::<Flex>(case, DType::F32);
    let outputs = reference::attention_scan(inputs.clone());
    read_scan(outputs, reference::attention_scan_backward(inputs, case.grad::<Flex>(DType::F32)))
}

fn on_device(case: &Case<4>, limits: Limits) -> Numbers {
    let inputs = || inputs::<Card>(case, DType::F32);
    let outputs = attention_scan(inputs(), limits).expect("the shape fits the kernel");
    let gradients = attention_scan_backward(inputs(), outputs.clone(), case.grad::<Card>(DType::F32), limits).unwrap();
    read_scan(outputs, gradients)
}

/// Plain ops in single precision are the quadratic ones and the recurrence: the kernel may err three times as much as they do.
/// `alike` are the cases to try the quadratic ones on: more than one, since a carry has few numbers for an error to show in.
fn check(case: &Case<4>, alike: &[Case<4>], limits: Limits) {
    let truth = on_cpu(case, DType::F64);
    let mut others: Vec<_> = alike.iter().map(|case| [plain(case), on_cpu(case, DType::F64)]).collect();
    others.push([on_cpu(case, DType::F32), truth.clone()]);
    assert_accurate(&NAMES, &on_device(case, limits), &truth, &others, &format!("{:?}", case.grad.1));
}

fn draws(shape: [usize; 4], empty_carry: bool, seed: u64) -> [Case<4>; 4] {
    [0, 1000, 2000, 3000].map(|offset| case(shape, empty_carry, seed + offset))
}

#[test]
fn agrees_with_a_double_precision_scan() {
    let Some(_device) = card() else { return };
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
            check(&cases[0], &cases, usual_limits());
        }
    }
}

#[test]
fn agrees_over_ten_thousand_tokens() {
    let Some(_device) = card() else { return };
    // Plain ops on ten thousand tokens take gigabytes: what is allowed is their error on a fifth.
    for (segmented, cubes) in [(false, 1), (true, 12)] {
        let long = case([1, 2, 10_000, 11], false, 70);
        let device = Limits { cubes, ..usual_limits() };
        let plan = Plan::new(&inputs::<Card>(&long, DType::F32).values, &[], device, TOKENS).unwrap();
        assert_eq!(plan.segments.count > 1, segmented);
        check(&long, &[case([1, 2, 2000, 11], false, 70)], device);
    }
}

/// A row cut in segments, with resets in some of them, and scans without planes or with planes of another width.
#[test]
fn agrees_however_it_is_launched() {
    let Some(_device) = card() else { return };
    let cases = draws([2, 1, 997, 6], false, 80);
    for (cubes, plane, max_units) in [(64, usual_limits().plane, 16), (8, 0, 8), (3, 8, 64)] {
        check(&cases[0], &cases, Limits { plane, ..small_limits(cubes, max_units) });
    }
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = card() else { return };
    let case = case([1, 3, 700, 20], false, 90);
    let device = Limits { cubes: 9, ..usual_limits() };
    assert_eq!(on_device(&case, device), on_device(&case, device));
}

#[test]
fn non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = card() else { return };
    let mut case = case([2, 1, 90, 8], false, 100);
    case.floats[VALUES].0[90 * 8 + 3] = f32::NAN;
    case.floats[VALUES].0[90 * 8 + 12] = f32::INFINITY;
    case.floats[SCORES].0[90 + 4] = f32::NAN;
    case.reset[90 + 37] = true;
    let numbers = on_device(&case, usual_limits());
    let (outputs, log_sums) = (&numbers[0], &numbers[1]);
    assert!(outputs[90 * 8..(90 + 37) * 8].iter().any(|x| x.is_nan()));
    assert!(log_sums[90..90 + 37].iter().any(|x| x.is_nan()));
    assert!(outputs[(90 + 37) * 8..].iter().all(|x| x.is_finite()));
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(_device) = card() else { return };
    let case = case([3, 5, 23, 12], false, 110);
    let expected = on_device(&case, usual_limits());
    for (a, b) in [(1, 2), (2, 3), (0, 2)] {
        let mut inputs = inputs::<Card>(&case, DType::F32);
        inputs.values = strided::<4>(inputs.values, a, b);
        inputs.scores = strided::<3>(inputs.scores, 0, 2);
        let grad = strided::<4>(case.grad::<Card>(DType::F32), a, b);
        assert_eq!(own::<Card>(inputs, grad), expected, "axes {a} and {b}");
    }
}

/// Half-precision values are summed in single precision: an output is off by the rounding of one number, however many it is the sum of.
#[test]
fn half_precision_values_are_summed_in_single_precision() {
    let Some(device) = card() else { return };
    for (dtype, rounding) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        if !Card::dtype_usage(&device, dtype).contains(DTypeUsage::Storage) {
            println!("skipped: the device cannot store {dtype:?}");
            continue;
        }
        let mut case = case([2, 3, 701, 16], false, 130);
        // What the device is given, so that rounding it is no error of the kernel's.
        let rounded = |numbers: &[f32]| -> Vec<f32> {
            let data = TensorData::new(numbers.to_vec(), [numbers.len()]).convert_dtype(dtype);
            data.convert::<f32>().to_vec().unwrap()
        };
        for numbers in [&mut case.floats[VALUES].0, &mut case.grad.0] {
            *numbers = rounded(numbers);
        }
        let (values, shape) = &case.floats[VALUES];
        let inputs = ScanInputs { values: tensor_on::<Card>(values, shape, dtype), ..inputs::<Card>(&case, DType::F32) };
        // In one piece, and in segments that a second level joins.
        for (limits, is_cut) in [(Limits { cubes: 1, ..usual_limits() }, false), (small_limits(64, 64), true)] {
            assert_eq!(Plan::new(&inputs.values, &[&inputs.values], limits, TOKENS).unwrap().segments.count > 1, is_cut);
            let outputs = attention_scan(inputs.clone(), limits).expect("the shape fits");
            assert_eq!((outputs.outputs.dtype, outputs.log_sums.dtype), (dtype, DType::F32));
            let gradients = attention_scan_backward(inputs.clone(), outputs.clone(), case.grad::<Card>(dtype), limits).unwrap();
            assert_eq!((gradients.values.dtype, gradients.scores.dtype), (dtype, DType::F32));
            let found = read_scan(outputs, gradients);
            for (what, (found, expected)) in NAMES.into_iter().zip(found.into_iter().zip(on_cpu(&case, DType::F64))) {
                let largest = expected.iter().filter(|x| x.is_finite()).fold(0.0f64, |most, x| most.max(x.abs()));
                // Gradients are computed from outputs that have been rounded, one for each of 16 dimensions: a random walk of 4 roundings. That
                // of the carry's log-sum adds those of several tokens, until the carry's weight has gone.
                let roundings = match what {
                    "gradients of the carry's log-sum" => 8.0,
                    gradients if gradients.contains("gradients") => 4.0,
                    _ => 1.0,
                };
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
