//! Dropout's kernel on whatever GPU there is, against the CPU's in double precision.

use super::*;
use crate::cube::testing::{Card, Truth, card, tensor_on};
use crate::testing::{host, random};
use burn::tensor::DType;
use burn_flex::Flex;

#[test]
fn dropout_is_that_of_the_cpu() {
    let Some(_device) = card() else { return };
    let (rows, width) = (37, 53);
    let dropout = Dropout { probability: 0.3, seed: 0xfedc_ba98_7654_3210 };
    let numbers = [random(rows * width, 1), random(rows * width, 2)];
    fn run<B: DropoutOps>(numbers: &[Vec<f32>; 2], shape: [usize; 2], dropout: Dropout) -> [Vec<f64>; 2] {
        let [residual, branch] = [0, 1].map(|index| tensor_on::<B>(&numbers[index], &shape, DType::F32));
        [host::<B>(B::dropout_add(residual, branch.clone(), dropout)), host::<B>(B::dropout_backward(branch, dropout))]
    }
    let (found, expected) = (run::<Card>(&numbers, [rows, width], dropout), run::<Flex>(&numbers, [rows, width], dropout));
    for (found, expected) in found.iter().zip(&expected) {
        // One rounding may be fused away.
        Truth(expected).assert_within(found, 0.0, "dropout".into());
    }
    assert_eq!(found[1].iter().map(|&x| x == 0.0).collect::<Vec<_>>(), expected[1].iter().map(|&x| x == 0.0).collect::<Vec<_>>());
}
