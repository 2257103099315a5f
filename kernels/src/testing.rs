//! What the tests of the ops share.

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor, TensorData};
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

/// A random tensor.
pub(crate) fn random_tensor<B: Backend, const D: usize>(shape: [usize; D], seed: u64) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(random(shape.iter().product(), seed), shape), &Default::default())
}

/// An upstream gradient: different for every element, so that a swapped axis shows.
pub(crate) fn upstream<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<Autodiff<Flex>, D> {
    random_tensor(shape, seed)
}

/// Flags, a row a slice.
pub(crate) fn flags<B: Backend>(rows: &[&[bool]]) -> Tensor<B, 2, Bool> {
    let data: Vec<bool> = rows.iter().flat_map(|row| row.iter().copied()).collect();
    Tensor::from_data(TensorData::new(data, [rows.len(), rows[0].len()]), &Default::default())
}

/// Asserts that two tensors differ nowhere by more than `tolerance`, relative to the larger of 1 and the expected element; equal
/// infinities are equal.
pub(crate) fn assert_close<B: Backend, const D: usize>(found: Tensor<B, D>, expected: Tensor<B, D>, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims());
    let read = |tensor: Tensor<B, D>| tensor.into_data().convert::<f64>().to_vec::<f64>().unwrap();
    for (index, (found, expected)) in read(found).into_iter().zip(read(expected)).enumerate() {
        let close = found == expected || (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(close, "element {index}: {found} is not {expected} within {tolerance}");
    }
}

/// Asserts that `found` are the derivatives of a loss in double precision by its inputs, as central differences have them.
pub(crate) fn assert_slopes(found: &[f64], inputs: &[f64], loss: impl Fn(&[f64]) -> f64) {
    let step = 1e-6;
    assert_eq!(found.len(), inputs.len());
    for (index, found) in found.iter().enumerate() {
        let mut moved = inputs.to_vec();
        moved[index] += step;
        let above = loss(&moved);
        moved[index] -= 2.0 * step;
        let expected = (above - loss(&moved)) / (2.0 * step);
        assert!((found - expected).abs() < 1e-8, "input {index}: {found} is not {expected}");
    }
}
