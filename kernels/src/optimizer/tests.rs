//! The optimizer's step against its reference and Burn's own AdamW.

use super::*;
use crate::primitive::{float, primitive};
use crate::testing::{assert_close, random_tensor};
use burn::backend::Flex;
use burn::optim::{AdamWConfig, SimpleOptimizer};
use burn::tensor::Tensor;

const STEP: AdamWStep = AdamWStep { learning_rate: 0.03, betas: [0.9, 0.999], epsilon: 1e-5, weight_decay: 0.3, time: 1 };

fn reference(inputs: [Tensor<Flex, 1>; 4], factor: Tensor<Flex, 1>, step: AdamWStep) -> [Tensor<Flex, 1>; 3] {
    let [parameter, gradient, first, second] = inputs.map(primitive);
    let inputs = AdamWInputs::<Flex> { parameter, gradient, moments: [first, second], step };
    let AdamWOutputs { parameter, moments: [first, second] } = super::reference::adamw(inputs, primitive(factor));
    [parameter, first, second].map(float)
}

/// A step of one parameter.
fn step_of(inputs: [Tensor<Flex, 1>; 4], factor: Tensor<Flex, 1>, step: AdamWStep) -> [Tensor<Flex, 1>; 3] {
    let [parameter, gradient, first, second] = inputs;
    let after = adamw(vec![(Stepped { parameter, moments: [first, second] }, gradient, step)], factor).remove(0);
    let [first, second] = after.moments;
    [after.parameter, first, second]
}

#[test]
fn a_step_agrees_with_the_reference_and_leaves_clones_alone() {
    // The second is more than one task; the third is of two views that are not contiguous.
    for (rows, columns) in [(1, 3), (131, 173), (17, 19)] {
        let random = |seed| random_tensor::<Flex, 2>([columns, rows], seed).transpose().flatten::<1>(0, 1);
        let inputs = [random(1), random(2), random(3), random(4).abs()];
        let factor = Tensor::from_floats([0.7], &Default::default());
        let step = AdamWStep { time: 5, ..STEP };
        let before = inputs.clone().map(Tensor::into_data);
        let expected = reference(inputs.clone(), factor.clone(), step);
        for (found, expected) in step_of(inputs.clone(), factor, step).into_iter().zip(expected) {
            assert_eq!(found.dims(), [rows * columns]);
            assert_close(found, expected, 1e-6);
        }
        assert_eq!(inputs.map(Tensor::into_data), before);
    }
}

#[test]
fn steps_are_those_of_burns_adamw() {
    let burn = AdamWConfig::new().with_weight_decay(STEP.weight_decay as f32).build();
    let (mut expected, mut state) = (random_tensor::<Flex, 1>([35], 1), None);
    let [mut found, mut first, mut second] = [expected.clone(), expected.zeros_like(), expected.zeros_like()];
    for time in 1..=9 {
        let gradient = random_tensor::<Flex, 1>([35], 10 + time as u64);
        (expected, state) = burn.step(STEP.learning_rate, expected, gradient.clone(), state);
        let one = Tensor::ones([1], &Default::default());
        [found, first, second] = step_of([found, gradient, first, second], one, AdamWStep { time, ..STEP });
        assert_close(found.clone(), expected.clone(), 1e-5);
    }
}

#[test]
fn moments_without_another_owner_are_not_copied() {
    let flat = |seed| primitive(random_tensor::<Flex, 1>([50], seed));
    let moments = [flat(1), flat(2)];
    let addresses = moments.each_ref().map(|moment| moment.bytes().as_ptr());
    let factor = primitive(Tensor::<Flex, 1>::ones([1], &Default::default()));
    let inputs = AdamWInputs { parameter: flat(3), gradient: flat(4), moments, step: STEP };
    let after = Flex::adamw(vec![inputs], factor).remove(0);
    assert_eq!(after.moments.each_ref().map(|moment| moment.bytes().as_ptr()), addresses);
}

#[test]
fn squares_of_all_tensors_are_summed() {
    let tensors = || [(1, 1), (9_001, 2), (37, 3)].map(|(count, seed)| random_tensor::<Flex, 1>([count], seed)).to_vec();
    let expected = super::reference::sum_of_squares::<Flex>(tensors().into_iter().map(primitive).collect());
    assert_close(sum_of_squares(tensors()), float(expected), 1e-5);
    let small = [2.0f32, 3.0, 6.0].map(|x| Tensor::<Flex, 1>::from_floats([x], &Default::default()));
    assert_eq!(sum_of_squares(small.to_vec()).into_scalar(), 49.0);
}
