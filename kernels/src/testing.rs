//! What the tests of the ops share.

use crate::primitive::{float, primitive};
use burn::backend::Flex;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{Bool, Tensor, TensorData, TensorMetadata};
use burn_flex::FlexTensor;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Standard numbers in [-1, 1).
pub(crate) fn random_f64(count: usize, seed: u64) -> Vec<f64> {
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    (0..count).map(|_| generator.random_range(-1.0..1.0)).collect()
}

/// The same in single precision.
pub(crate) fn random(count: usize, seed: u64) -> Vec<f32> {
    random_f64(count, seed).into_iter().map(|x| x as f32).collect()
}

/// A random tensor; as an upstream gradient different for every element, so that a swapped axis shows.
pub(crate) fn random_tensor<B: Backend, const D: usize>(shape: [usize; D], seed: u64) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(random(shape.iter().product(), seed), shape), &Default::default())
}

/// Flags of three rows: none, at the first and the last token, and in the middle.
pub(crate) fn borders<B: Backend>(time: usize) -> Tensor<B, 2, Bool> {
    let begins = |row: usize, token: usize| match row {
        0 => false,
        1 => token == 0 || token == time - 1,
        _ => token == time / 2,
    };
    let data: Vec<bool> = (0..3 * time).map(|i| begins(i / time, i % time)).collect();
    Tensor::from_data(TensorData::new(data, [3, time]), &Default::default())
}

/// Flags, a row a slice.
pub(crate) fn flags<B: Backend>(rows: &[&[bool]]) -> Tensor<B, 2, Bool> {
    let data: Vec<bool> = rows.iter().flat_map(|row| row.iter().copied()).collect();
    Tensor::from_data(TensorData::new(data, [rows.len(), rows[0].len()]), &Default::default())
}

/// The numbers of a tensor, in double precision.
pub(crate) fn host<B: Backend>(tensor: FloatTensor<B>) -> Vec<f64> {
    // The number of axes does not matter to what is read.
    float::<B, 1>(tensor).into_data().convert::<f64>().to_vec().unwrap()
}

/// Asserts that two tensors differ nowhere by more than `tolerance`, relative to the larger of 1 and the expected element; equal
/// infinities are equal.
pub(crate) fn assert_close<B: Backend, const D: usize>(found: Tensor<B, D>, expected: Tensor<B, D>, tolerance: f64) {
    assert_all_close::<B, 1>([primitive(found)], [primitive(expected)], tolerance);
}

/// The same of several tensors.
pub(crate) fn assert_all_close<B: Backend, const N: usize>(
    found: [FloatTensor<B>; N],
    expected: [FloatTensor<B>; N],
    tolerance: f64,
) {
    for (tensor, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        assert_eq!(found.shape(), expected.shape());
        for (index, (found, expected)) in host::<B>(found).into_iter().zip(host::<B>(expected)).enumerate() {
            let close = found == expected || (found - expected).abs() <= tolerance * expected.abs().max(1.0);
            assert!(close, "tensor {tensor}, element {index}: {found} is not {expected} within {tolerance}");
        }
    }
}

/// Asserts that the gradients of an op's inputs are the derivatives of a weighted sum of its outputs, as central differences have them:
/// in double precision, at random numbers around `centers`.
pub(crate) fn assert_slopes<I, const N: usize>(
    shapes: [&[usize]; N],
    centers: [f64; N],
    inputs: impl Fn([FlexTensor; N]) -> I,
    forward: impl Fn(I) -> FlexTensor,
    backward: impl Fn(I, FlexTensor) -> [FlexTensor; N],
) {
    let tensor = |numbers: Vec<f64>, shape: &[usize]| Flex::float_from_data(TensorData::new(numbers, shape), &Default::default());
    let build = |numbers: &[f64]| {
        let mut rest = numbers.iter();
        inputs(std::array::from_fn(|index| {
            let count = shapes[index].iter().product();
            tensor(rest.by_ref().take(count).map(|x| centers[index] + x).collect(), shapes[index])
        }))
    };
    let numbers = random_f64(shapes.iter().map(|shape| shape.iter().product::<usize>()).sum(), 40);
    let outputs = forward(build(&numbers));
    let weights = random_f64(outputs.shape().num_elements(), 41);
    let loss = |numbers: &[f64]| -> f64 {
        host::<Flex>(forward(build(numbers))).iter().zip(&weights).map(|(x, weight)| x * weight).sum()
    };
    let gradients = backward(build(&numbers), tensor(weights.clone(), &outputs.shape()));
    let found: Vec<f64> = gradients.into_iter().flat_map(host::<Flex>).collect();
    assert_eq!(found.len(), numbers.len());
    let step = 1e-6;
    for (index, found) in found.iter().enumerate() {
        let mut moved = numbers.clone();
        moved[index] += step;
        let above = loss(&moved);
        moved[index] -= 2.0 * step;
        let expected = (above - loss(&moved)) / (2.0 * step);
        assert!((found - expected).abs() < 1e-8, "input {index}: {found} is not {expected}");
    }
}
