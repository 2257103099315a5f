//! The optimizer's kernels on whatever GPU there is, against the CPU's in double precision.

use super::*;
use crate::cube::testing::{Card, Numbers, assert_accurate, card, read, tensor_on};
use crate::testing::{host, random};
use burn::tensor::{DType, ops::FloatTensor};
use burn_flex::Flex;

#[test]
fn an_optimizer_step_agrees_with_double_precision() {
    let Some(_device) = card() else { return };
    const STEP: AdamWStep = AdamWStep { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.1, time: 4 };
    /// Parameter, both moments and the sum of squares; clones of the moments stay what they were.
    fn run<B: OptimizerOps>(
        numbers: &[Vec<f32>; 4],
        dtype: DType,
        adamw: impl Fn(AdamWInputs<B>, AdamWStep) -> (FloatTensor<B>, [FloatTensor<B>; 2]),
        squares: impl Fn(Vec<FloatTensor<B>>) -> FloatTensor<B>,
    ) -> Numbers {
        let [parameter, gradient, first, second] =
            numbers.each_ref().map(|numbers| tensor_on::<B>(numbers, &[numbers.len()], dtype));
        let sum = squares(vec![gradient.clone(), parameter.clone()]);
        let (held, factor) = (first.clone(), tensor_on::<B>(&[0.3], &[1], dtype));
        let (parameter, [first, second]) = adamw(AdamWInputs { parameter, gradient, moments: [first, second], factor }, STEP);
        assert_eq!(host::<B>(held), numbers[2].iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        read::<B, 4, 0>([parameter, first, second, sum], [])
    }
    // More than one run of every cube at 9,001.
    for count in [1, 53, 9_001] {
        let numbers = [random(count, 1), random(count, 2), random(count, 3), random(count, 4).iter().map(|x| x * x).collect()];
        let truth = run::<Flex>(&numbers, DType::F64, Flex::adamw, Flex::sum_of_squares);
        let plain = run::<Flex>(&numbers, DType::F32, reference::adamw, reference::sum_of_squares::<Flex>);
        let found = run::<Card>(&numbers, DType::F32, Card::adamw, Card::sum_of_squares);
        let names = ["parameter", "first moment", "second moment", "squares"];
        assert_accurate(&names, &found, &truth, &[[plain, truth.clone()]], &count.to_string());
    }
}
