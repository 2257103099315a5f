//! Layer normalization's kernels on whatever Vulkan device there is, against the CPU's in double precision.

use super::*;
use crate::cube::testing::{Truth, Vulkan, host, tensor_on, vulkan};
use crate::testing::random;
use burn::tensor::DType;
use burn_flex::Flex;

/// `y` and the gradients of `x`, gain and bias.
fn normalized<B: LayerNormOps>(numbers: &[Vec<f32>; 4], rows: usize, width: usize, dtype: DType) -> [Vec<f64>; 4] {
    let [x, gain, bias, grad] = numbers;
    let x = || tensor_on::<B, 2>(x, [rows, width], dtype);
    let gain = || tensor_on::<B, 1>(gain, [width], dtype);
    let y = B::layer_norm_rows(x(), gain(), tensor_on::<B, 1>(bias, [width], dtype));
    let gradients = B::layer_norm_backward(x(), gain(), tensor_on::<B, 2>(grad, [rows, width], dtype));
    [host::<B, 2>(y), host::<B, 2>(gradients.x), host::<B, 1>(gradients.gain), host::<B, 1>(gradients.bias)]
}

#[test]
fn layer_norm_agrees_with_double_precision() {
    let Some(_device) = vulkan() else { return };
    for (rows, width) in [(1, 3), (3, 128), (131, 19), (30, 67)] {
        // A large mean is where a one-pass variance fails.
        let x = random(rows * width, 1).iter().map(|x| x + 5.0).collect();
        let numbers = [x, random(width, 2), random(width, 3), random(rows * width, 4)];
        let expected = normalized::<Flex>(&numbers, rows, width, DType::F64);
        let plain = {
            let tensor = |index: usize| tensor_on::<Flex, 2>(&numbers[index], [rows, width], DType::F32);
            let vector = |index: usize| tensor_on::<Flex, 1>(&numbers[index], [width], DType::F32);
            let y = reference::layer_norm::<Flex>(tensor(0), vector(1), vector(2));
            let gradients = reference::layer_norm_backward::<Flex>(tensor(0), vector(1), tensor(3));
            [host::<Flex, 2>(y), host::<Flex, 2>(gradients.x), host::<Flex, 1>(gradients.gain), host::<Flex, 1>(gradients.bias)]
        };
        let found = normalized::<Vulkan>(&numbers, rows, width, DType::F32);
        for (index, what) in ["y", "x gradients", "gain gradients", "bias gradients"].into_iter().enumerate() {
            let truth = Truth(&expected[index]);
            truth.assert_within(&found[index], truth.largest_error(&plain[index]), format!("{what} of {rows} x {width}"));
        }
    }
}
