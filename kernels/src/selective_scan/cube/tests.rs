//! The selective scan's kernels against double precision, on whatever GPU there is: software will do.

use super::launch::{selective_scan, selective_scan_backward};
use crate::cube::testing::{Card, Case, Numbers, assert_accurate, card, read, strided};
use crate::selective_scan::{SelectiveInputs, SelectiveScanOps, reference};
use crate::testing::host;
use burn::tensor::{DType, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// Places of the inputs in a case.
const INPUTS: usize = 0;
const STEPS: usize = 1;
const DECAYS: usize = 2;
const NAMES: [&str; 7] = [
    "outputs and carry",
    "input gradients",
    "step gradients",
    "decay gradients",
    "write gradients",
    "read gradients",
    "carry gradients",
];

/// Positive steps, negative decays.
fn case([batch, time, channels, states]: [usize; 4], seed: u64) -> Case<6> {
    let (tokens, projections) = ([batch, time, channels], [batch, time, states]);
    let shapes = [&tokens[..], &tokens, &[states, channels], &projections, &projections, &[batch, states, channels]];
    let mut case = Case::new([batch, time], shapes, &[batch, (time + states) * channels], seed);
    case.floats[STEPS].0.iter_mut().for_each(|x| *x = 0.3 * x.exp());
    case.floats[DECAYS].0.iter_mut().for_each(|x| *x = -x.exp());
    case
}

fn inputs<B: Backend>(case: &Case<6>, dtype: DType) -> SelectiveInputs<B> {
    SelectiveInputs::from_floats(case.floats::<B>(dtype), case.reset::<B>())
}

/// What a backend's own implementation computes; the CPU's, one token after the other.
fn own<B: SelectiveScanOps>(inputs: SelectiveInputs<B>, grad: FloatTensor<B>) -> Numbers {
    read::<B, 1, 6>([B::selective_scan(inputs.clone())], B::selective_scan_backward(inputs, grad).floats())
}

fn on_cpu(case: &Case<6>, dtype: DType) -> Numbers {
    own::<Flex>(inputs(case, dtype), case.grad::<Flex>(dtype))
}

/// Single precision, plain tensor ops, on the CPU or on the device: half of the arithmetic is exponentials, and a device's are its own.
fn plain<B: SelectiveScanOps>(case: &Case<6>) -> Numbers {
    let (inputs, grad) = (inputs::<B>(case, DType::F32), case.grad::<B>(DType::F32));
    let packed = reference::selective_scan(inputs.clone());
    read::<B, 1, 6>([packed], reference::selective_scan_backward(inputs, grad).floats())
}

fn on_device(case: &Case<6>) -> Numbers {
    let (inputs, grad) = (inputs::<Card>(case, DType::F32), case.grad::<Card>(DType::F32));
    let packed = selective_scan(inputs.clone()).expect("the kernel knows f32");
    read::<Card, 1, 6>([packed], selective_scan_backward(inputs, grad).expect("the kernel knows f32").floats())
}

/// Plain ops in single precision are the prefix scan and the recurrence: the kernel may err three times as much as they do.
fn check(case: &Case<6>) {
    let truth = on_cpu(case, DType::F64);
    let others = [plain::<Flex>(case), plain::<Card>(case), on_cpu(case, DType::F32)].map(|other| [other, truth.clone()]);
    let what = format!("{:?}", case.floats.each_ref().map(|(_, shape)| shape));
    assert_accurate(&NAMES, &on_device(case), &truth, &others, &what);
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = card() else { return };
    let sizes = [[3, 1, 19, 5], [2, 16, 67, 3], [3, 17, 130, 7], [1, 61, 65, 16], [2, 257, 9, 1]];
    for (index, sizes) in sizes.into_iter().enumerate() {
        check(&case(sizes, 10 * index as u64));
    }
}

#[test]
fn agrees_over_ten_thousand_tokens() {
    let Some(_device) = card() else { return };
    check(&case([1, 10_000, 5, 3], 100));
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = card() else { return };
    let case = case([2, 70, 100, 4], 120);
    assert_eq!(on_device(&case), on_device(&case));
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = card() else { return };
    let (time, channels) = (75, 8);
    let border = time / 2;
    let mut case = case([1, time, channels, 3], 130);
    case.floats[INPUTS].0[3] = f32::NAN;
    case.floats[INPUTS].0[5 * channels + 1] = f32::INFINITY;
    let packed = &on_device(&case)[0];
    assert!(packed[(border - 1) * channels + 3].is_nan());
    assert!(packed[border * channels..].iter().all(|x| x.is_finite()));
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(_device) = card() else { return };
    let case = case([3, 23, 12, 5], 140);
    let expected = on_device(&case);
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let inputs = inputs::<Card>(&case, DType::F32);
        let inputs = SelectiveInputs {
            inputs: strided::<3>(inputs.inputs, a, b),
            // Each in another order.
            steps: strided::<3>(inputs.steps, 0, 1),
            writes: strided::<3>(inputs.writes, a, b),
            reads: strided::<3>(inputs.reads, 1, 2),
            carry: strided::<3>(inputs.carry, a, b),
            ..inputs
        };
        assert_eq!(own::<Card>(inputs, case.grad::<Card>(DType::F32)), expected, "axes {a} and {b}");
    }
}

#[test]
fn the_graph_has_its_gradients() {
    use burn::backend::Autodiff;
    let Some(device) = card() else { return };
    let case = case([2, 37, 11, 3], 150);
    assert!(<Card as SelectiveScanOps>::has_backward(&device, 3, DType::F32));
    let (inputs, grad) = (inputs::<Card>(&case, DType::F32), case.grad::<Card>(DType::F32));
    let gradients = inputs.derive(<Autodiff<Card> as SelectiveScanOps>::selective_scan, grad);
    assert_eq!(host::<Card>(gradients.inputs), on_device(&case)[1]);
}
