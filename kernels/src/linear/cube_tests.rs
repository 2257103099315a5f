//! The dense layer on whatever GPU there is, against the CPU's in double precision.

use super::*;
use crate::cube::testing::{Card, Numbers, assert_accurate, card, read, tensor_on};
use crate::precision::Precision;
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
        let y = B::linear_activated(x.clone(), weight.clone(), bias, Activation::Relu, Precision::F32);
        let saved = LinearSaved { x, weight, y, activation: Activation::Relu, precision: Precision::F32 };
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

/// Where a training may ask for it.
#[cfg(feature = "cuda")]
#[test]
fn rounded_factors_are_multiplied_as_on_the_cpu() {
    let Some(_device) = card() else { return };
    for precision in [Precision::Tf32, Precision::Bf16] {
        for (rows, inputs, outputs) in [(37, 11, 23), (1, 5, 3), (64, 32, 48), (1033, 7, 5)] {
            let [found, expected] =
                [rounded_layer::<Card>, rounded_layer::<Flex>].map(|run| run(precision, [rows, inputs, outputs]));
            let exact = rounded_layer::<Flex>(Precision::F32, [rows, inputs, outputs]);
            for (name, ((found, expected), exact)) in
                ["y", "x", "weight", "bias"].iter().zip(found.iter().zip(&expected).zip(&exact))
            {
                let largest = expected.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
                let off = |from: &[f64]| found.iter().zip(from).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f64::max);
                // The same numbers, summed in another order; only plain operations round ties of TF32 the other way.
                let allowed = if precision == Precision::Tf32 { precision.rounding() } else { 1e-5 };
                assert!(off(expected) < allowed, "{precision}, {name} of {rows}x{inputs}x{outputs}: off by {}", off(expected));
                let is_rounded = *name == "bias" || off(exact) > 0.01 * precision.rounding();
                assert!(is_rounded, "{precision}, {name} of {rows}x{inputs}x{outputs}: off by {} alone", off(exact));
            }
        }
    }
}

/// Output and gradients of an affine layer, the factors of all products rounded.
#[cfg(feature = "cuda")]
fn rounded_layer<B: LinearOps>(precision: Precision, [rows, inputs, outputs]: [usize; 3]) -> Numbers {
    let tensor = |shape: [usize; 2], seed| {
        let numbers: Vec<f32> = random_f64(shape[0] * shape[1], seed).into_iter().map(|x| x as f32).collect();
        tensor_on::<B>(&numbers, &shape, DType::F32)
    };
    let (x, weight, grad) = (tensor([rows, inputs], 1), tensor([inputs, outputs], 2), tensor([rows, outputs], 3));
    let bias = tensor_on::<B>(&vec![0.1; outputs], &[outputs], DType::F32);
    let y = B::linear_activated(x.clone(), weight.clone(), bias, Activation::Identity, precision);
    let saved = LinearSaved { x, weight, y: y.clone(), activation: Activation::Identity, precision };
    let gradients = B::linear_backward(saved, grad, true);
    read::<B, 1, 3>([y], [gradients.x.unwrap(), gradients.weight, gradients.bias])
}
