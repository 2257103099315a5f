//! Layer normalization's kernels on whatever GPU there is, against the CPU's in double precision.

use super::*;
use crate::cube::testing::{Card, Numbers, assert_accurate, card, read, tensor_on};
use crate::testing::random;
use burn::tensor::{DType, ops::FloatTensor};
use burn_flex::Flex;

/// `y` and the gradients of `x`, gain and bias, by an op and its backward pass.
fn normalized<B: LayerNormOps>(
    numbers: &[Vec<f32>; 4],
    shape: [usize; 2],
    dtype: DType,
    forward: fn(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
    backward: fn(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) -> LayerNormGradients<B>,
) -> Numbers {
    let matrix = |index: usize| tensor_on::<B>(&numbers[index], &shape, dtype);
    let vector = |index: usize| tensor_on::<B>(&numbers[index], &shape[1..], dtype);
    let LayerNormGradients { x, gain, bias } = backward(matrix(0), vector(1), matrix(3));
    read::<B, 1, 3>([forward(matrix(0), vector(1), vector(2))], [x, gain, bias])
}

#[test]
fn layer_norm_agrees_with_double_precision() {
    let Some(_device) = card() else { return };
    for (rows, width) in [(1, 3), (3, 128), (131, 19), (30, 67), (531, 5)] {
        // A large mean is where a one-pass variance fails.
        let x = random(rows * width, 1).iter().map(|x| x + 5.0).collect();
        let numbers = [x, random(width, 2), random(width, 3), random(rows * width, 4)];
        let shape = [rows, width];
        let truth = normalized(&numbers, shape, DType::F64, Flex::layer_norm_rows, Flex::layer_norm_backward);
        let plain =
            normalized(&numbers, shape, DType::F32, reference::layer_norm::<Flex>, reference::layer_norm_backward::<Flex>);
        let found = normalized(&numbers, shape, DType::F32, Card::layer_norm_rows, Card::layer_norm_backward);
        let names = ["y", "x gradients", "gain gradients", "bias gradients"];
        assert_accurate(&names, &found, &truth, &[[plain, truth.clone()]], &format!("{rows} x {width}"));
    }
}
