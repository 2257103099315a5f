//! The dense layer on whatever GPU there is, against the CPU's in double precision.

use super::*;
use crate::cube::testing::{Card, Numbers, assert_accurate, card, read, tensor_on};
use crate::testing::random_f64;
use burn::tensor::DType;
use burn_flex::Flex;

#[test]
fn dense_layer_gradients_agree_with_double_precision() {
    let Some(_device) = card() else { return };
    // The last has rows enough to be cut in parts, and some left.
    for (rows, inputs, outputs) in [(37, 11, 23), (1, 5, 3), (1033, 7, 5)] {
        check_gradients(rows, inputs, outputs);
    }
}

fn check_gradients(rows: usize, inputs: usize, outputs: usize) {
    let [x, weight, grad] = [(rows * inputs, 1), (inputs * outputs, 2), (rows * outputs, 3)].map(|(n, seed)| random_f64(n, seed));
    let single = |numbers: &[f64]| numbers.iter().map(|&x| x as f32).collect::<Vec<_>>();
    fn run<B: LinearOps>(numbers: [&[f32]; 3], [rows, inputs, outputs]: [usize; 3], dtype: DType) -> Numbers {
        let x = tensor_on::<B>(numbers[0], &[rows, inputs], dtype);
        let weight = tensor_on::<B>(numbers[1], &[inputs, outputs], dtype);
        let bias = tensor_on::<B>(&vec![0.1; outputs], &[outputs], dtype);
        let y = B::linear_activated(x.clone(), weight.clone(), bias, Activation::Relu);
        let saved = LinearSaved { x, weight, y, activation: Activation::Relu };
        let gradients = B::linear_backward(saved, tensor_on::<B>(numbers[2], &[rows, outputs], dtype), true);
        read::<B, 0, 3>([], [gradients.x.unwrap(), gradients.weight, gradients.bias])
    }
    let numbers = [single(&x), single(&weight), single(&grad)];
    let numbers = [&numbers[0][..], &numbers[1][..], &numbers[2][..]];
    let shape = [rows, inputs, outputs];
    let (found, truth) = (run::<Card>(numbers, shape, DType::F32), run::<Flex>(numbers, shape, DType::F64));
    let plain = [run::<Flex>(numbers, shape, DType::F32), truth.clone()];
    assert_accurate(&["x", "weight", "bias"], &found, &truth, &[plain], &format!("gradients of {shape:?}"));
}
