//! The optimizer's kernels on whatever GPU there is, against the CPU's in double precision.

use super::*;
use crate::cube::testing::{Card, Numbers, assert_accurate, card, tensor_on};
use crate::testing::{host, random};
use burn::tensor::{DType, ops::FloatTensor};
use burn_flex::Flex;

const STEP: AdamWStep = AdamWStep { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.1, time: 4 };

/// Parameter and moments of every count in turn, and the sum of squares of all; clones of the moments stay what they were. Every third
/// parameter has a step of its own.
fn run<B: OptimizerOps>(
    counts: &[usize],
    dtype: DType,
    adamw: impl Fn(Vec<AdamWInputs<B>>, FloatTensor<B>) -> Vec<AdamWOutputs<B>>,
    squares: impl Fn(Vec<FloatTensor<B>>) -> FloatTensor<B>,
) -> Numbers {
    let inputs: Vec<AdamWInputs<B>> = (counts.iter().enumerate())
        .map(|(index, &count)| {
            let tensor = |numbers: Vec<f32>| tensor_on::<B>(&numbers, &[count], dtype);
            let drawn = |seed: u64| random(count, 10 * index as u64 + seed);
            let moments = [tensor(drawn(3)), tensor(drawn(4).iter().map(|x| x * x).collect())];
            let step = AdamWStep { weight_decay: if index % 3 == 2 { 0.0 } else { STEP.weight_decay }, ..STEP };
            AdamWInputs { parameter: tensor(drawn(1)), gradient: tensor(drawn(2)), moments, step }
        })
        .collect();
    let sum = squares(inputs.iter().flat_map(|one| [one.gradient.clone(), one.parameter.clone()]).collect());
    let held: Vec<_> = inputs.iter().map(|one| one.moments[0].clone()).collect();
    let before: Vec<_> = held.iter().cloned().map(host::<B>).collect();
    let after = adamw(inputs, tensor_on::<B>(&[0.3], &[1], dtype));
    assert_eq!(held.into_iter().map(host::<B>).collect::<Vec<_>>(), before);
    let tensors = |of: fn(AdamWOutputs<B>) -> FloatTensor<B>| -> Vec<f64> {
        after.iter().cloned().flat_map(|one| host::<B>(of(one))).collect()
    };
    vec![
        tensors(|one| one.parameter),
        tensors(|AdamWOutputs { moments: [first, _], .. }| first),
        tensors(|AdamWOutputs { moments: [_, second], .. }| second),
        host::<B>(sum),
    ]
}

#[test]
fn an_optimizer_step_agrees_with_double_precision() {
    let Some(_device) = card() else { return };
    let each = |inputs: Vec<AdamWInputs<Flex>>, factor: FloatTensor<Flex>| {
        inputs.into_iter().map(|inputs| reference::adamw(inputs, factor.clone())).collect()
    };
    // More than one run of every cube, and more parameters than a launch takes.
    let many: Vec<usize> = (0..71).map(|index| 1 + 37 * index % 101).collect();
    for counts in [&[1][..], &[53, 40_001, 7], &many] {
        let truth = run::<Flex>(counts, DType::F64, Flex::adamw, Flex::sum_of_squares);
        let plain = run::<Flex>(counts, DType::F32, each, reference::sum_of_squares::<Flex>);
        let found = run::<Card>(counts, DType::F32, Card::adamw, Card::sum_of_squares);
        let names = ["parameter", "first moment", "second moment", "squares"];
        assert_accurate(&names, &found, &truth, &[[plain, truth.clone()]], &format!("{counts:?}"));
    }
}
