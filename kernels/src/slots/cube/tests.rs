//! Slot attention's kernels against double precision, on whatever GPU there is: software will do.

use super::launch::{slot_attention, slot_attention_backward};
use crate::cube::testing::{Card, Case, Numbers, assert_accurate, card, read, strided};
use crate::slots::{SlotInputs, SlotOps, reference};
use crate::testing::host;
use burn::tensor::{DType, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// Places of the inputs in a case.
const SCORES: usize = 0;
const VALUES: usize = 3;
const LOG_SUM: usize = 4;
const NAMES: [&str; 7] = [
    "outputs and carry",
    "score gradients",
    "query gradients",
    "key gradients",
    "value gradients",
    "log-sum gradients",
    "memory gradients",
];

/// Scores that tell slots apart, some of minus infinity; a slot that is empty at first.
fn case([batch, heads, time, head_dim, slots]: [usize; 5], seed: u64) -> Case<6> {
    let tokens = [batch, heads, time, head_dim];
    let (scores, memory) = ([batch, heads, time, slots], [batch, heads, slots, 2 * head_dim]);
    let shapes = [&scores[..], &tokens, &tokens, &tokens, &[batch, heads, slots], &memory];
    let mut case = Case::new([batch, time], shapes, &[batch, heads, time * head_dim + slots * (2 * head_dim + 1)], seed);
    case.floats[SCORES].0.iter_mut().for_each(|score| *score *= 4.0);
    case.floats[SCORES].0.iter_mut().skip(1).step_by(5).for_each(|score| *score = f32::NEG_INFINITY);
    case.floats[LOG_SUM].0[0] = f32::NEG_INFINITY;
    case
}

fn inputs<B: Backend>(case: &Case<6>, dtype: DType) -> SlotInputs<B> {
    SlotInputs::from_floats(case.floats::<B>(dtype), case.reset::<B>())
}

/// What a backend's own implementation computes.
fn own<B: SlotOps>(inputs: SlotInputs<B>, grad: FloatTensor<B>) -> Numbers {
    read::<B, 1, 6>([B::slot_attention(inputs.clone())], B::slot_attention_backward(inputs, grad).floats())
}

fn on_cpu(case: &Case<6>, dtype: DType) -> Numbers {
    own::<Flex>(inputs(case, dtype), case.grad::<Flex>(dtype))
}

/// A scan a slot and the read in plain ops, in single precision, on the CPU or on the device, whose exponentials are its own.
fn plain<B: SlotOps>(case: &Case<6>, packed: &[f64]) -> Numbers {
    let (inputs, mut grad) = (inputs::<B>(case, DType::F32), case.grad.clone());
    // Log-sums of minus infinity are constants, which Burn's gradient does not know.
    grad.0.iter_mut().zip(packed).filter(|(_, packed)| packed.is_infinite()).for_each(|(grad, _)| *grad = 0.0);
    let grad = crate::cube::testing::tensor_on::<B>(&grad.0, &grad.1, DType::F32);
    let packed = reference::slot_attention(inputs.clone());
    read::<B, 1, 6>([packed], reference::slot_attention_backward(inputs, grad).floats())
}

fn on_device(case: &Case<6>) -> Numbers {
    let (inputs, grad) = (inputs::<Card>(case, DType::F32), case.grad::<Card>(DType::F32));
    let packed = slot_attention(inputs.clone()).expect("the kernel knows f32");
    read::<Card, 1, 6>([packed], slot_attention_backward(inputs, grad).expect("the kernel knows f32").floats())
}

/// The kernel may err three times as much as other ways to compute in single precision.
fn check(case: &Case<6>) {
    let truth = on_cpu(case, DType::F64);
    let others = [plain::<Flex>(case, &truth[0]), plain::<Card>(case, &truth[0]), on_cpu(case, DType::F32)]
        .map(|other| [other, truth.clone()]);
    let what = format!("{:?}", case.floats.each_ref().map(|(_, shape)| shape));
    assert_accurate(&NAMES, &on_device(case), &truth, &others, &what);
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = card() else { return };
    let sizes = [[3, 2, 1, 19, 5], [2, 1, 16, 3, 1], [1, 3, 17, 32, 16], [2, 2, 61, 7, 33], [1, 1, 257, 65, 3]];
    for (index, sizes) in sizes.into_iter().enumerate() {
        check(&case(sizes, 10 * index as u64));
    }
}

#[test]
fn agrees_over_three_thousand_tokens() {
    let Some(_device) = card() else { return };
    check(&case([1, 1, 3_000, 5, 4], 100));
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = card() else { return };
    let case = case([2, 2, 70, 12, 6], 120);
    assert_eq!(on_device(&case), on_device(&case));
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = card() else { return };
    let (time, head_dim) = (75, 8);
    let border = time / 2;
    let mut case = case([1, 1, time, head_dim, 3], 130);
    case.floats[SCORES].0.iter_mut().for_each(|score| *score = score.max(-4.0));
    case.floats[VALUES].0[3] = f32::NAN;
    case.floats[VALUES].0[5 * head_dim + 1] = f32::INFINITY;
    let packed = &on_device(&case)[0];
    assert!(packed[(border - 1) * head_dim + 3].is_nan());
    assert!(packed[border * head_dim..].iter().all(|x| x.is_finite()));
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(_device) = card() else { return };
    let case = case([3, 2, 23, 12, 5], 140);
    let expected = on_device(&case);
    for (a, b) in [(0, 1), (1, 2), (2, 3)] {
        let inputs = inputs::<Card>(&case, DType::F32);
        let inputs = SlotInputs {
            scores: strided::<4>(inputs.scores, a, b),
            // Each in another order.
            queries: strided::<4>(inputs.queries, 1, 2),
            keys: strided::<4>(inputs.keys, a, b),
            values: strided::<4>(inputs.values, 0, 2),
            carry_memory: strided::<4>(inputs.carry_memory, a, b),
            ..inputs
        };
        assert_eq!(own::<Card>(inputs, case.grad::<Card>(DType::F32)), expected, "axes {a} and {b}");
    }
}

#[test]
fn the_graph_has_its_gradients() {
    use burn::backend::Autodiff;
    let Some(_device) = card() else { return };
    let case = case([2, 2, 37, 11, 3], 150);
    let (inputs, grad) = (inputs::<Card>(&case, DType::F32), case.grad::<Card>(DType::F32));
    assert!(<Card as SlotOps>::has_backward(&inputs));
    let gradients = inputs.derive(<Autodiff<Card> as SlotOps>::slot_attention, grad);
    assert_eq!(host::<Card>(gradients.scores), on_device(&case)[1]);
}
