//! What the tests of kernels share: the device to run them on, what they are run on, and how far from the truth they may be.

use super::Limits;
use crate::primitive::{float, primitive};
use crate::testing::{host, random};
use burn::tensor::ops::{BoolTensor, FloatTensor};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData, backend::Backend};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

/// The GPUs that are tested: NVIDIA's where they are built in, else those of Vulkan.
#[cfg(feature = "cuda")]
pub(crate) use crate::device::{Cuda as Card, cuda as find};
#[cfg(not(feature = "cuda"))]
pub(crate) use crate::device::{Vulkan as Card, vulkan as find};

/// The device to test on; a printed reason if there is none.
pub(crate) fn card() -> Option<Device<Card>> {
    match find() {
        Ok(found) => Some(found.device),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

trait HasLimits {
    fn limits() -> Limits;
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> HasLimits for CubeBackend<R, F, I, BT> {
    fn limits() -> Limits {
        Limits::of(&R::client(&Default::default()))
    }
}

/// The device's own limits.
pub(crate) fn usual_limits() -> Limits {
    Card::limits()
}

/// A smaller device, which fewer cubes fill, of at most so many units; but never less than the planes of the real one.
pub(crate) fn small_limits(cubes: usize, max_units: usize) -> Limits {
    let usual = usual_limits();
    Limits { cubes, max_units: max_units.max(usual.widest_plane), ..usual }
}

/// Numbers from the host as a tensor.
pub(crate) fn tensor_on<B: Backend>(numbers: &[f32], shape: &[usize], dtype: DType) -> FloatTensor<B> {
    let data = TensorData::new(numbers.to_vec(), shape).convert_dtype(dtype);
    B::float_from_data(data, &Default::default())
}

/// The same tensor with the axes `a` and `b` in the other order in memory.
pub(crate) fn strided<const D: usize>(tensor: FloatTensor<Card>, a: usize, b: usize) -> FloatTensor<Card> {
    let tensor = float::<Card, D>(tensor);
    let moved = Tensor::<Card, D>::from_data(tensor.swap_dims(a, b).into_data(), &Default::default());
    primitive(moved.swap_dims(a, b))
}

/// The float inputs of an op over `[batch, time]` tokens with episodes, and its upstream gradient, on the host, so that every backend and
/// precision gets the same numbers.
pub(crate) struct Case<const N: usize> {
    /// Numbers and shape of every input.
    pub floats: [(Vec<f32>, Vec<usize>); N],
    pub reset: Vec<bool>,
    tokens: [usize; 2],
    /// Numbers and shape.
    pub grad: (Vec<f32>, Vec<usize>),
}

impl<const N: usize> Case<N> {
    /// Random numbers; resets at the first, the last and a middle token of some rows.
    pub fn new([batch, time]: [usize; 2], shapes: [&[usize]; N], grad: &[usize], seed: u64) -> Self {
        let numbers = |shape: &[usize], seed: u64| (random(shape.iter().product(), seed), shape.to_vec());
        let mut reset = vec![false; batch * time];
        if batch > 1 {
            reset[time] = true;
            reset[2 * time - 1] = true;
        }
        if time > 2 {
            reset[(batch - 1) * time + time / 2] = true;
        }
        let floats = std::array::from_fn(|index| numbers(shapes[index], seed + index as u64));
        Self { floats, reset, tokens: [batch, time], grad: numbers(grad, seed + N as u64) }
    }

    pub fn floats<B: Backend>(&self, dtype: DType) -> [FloatTensor<B>; N] {
        self.floats.each_ref().map(|(numbers, shape)| tensor_on::<B>(numbers, shape, dtype))
    }

    pub fn reset<B: Backend>(&self) -> BoolTensor<B> {
        let reset = TensorData::new(self.reset.clone(), self.tokens);
        Tensor::<B, 2, Bool>::from_data(reset, &Default::default()).into_primitive()
    }

    pub fn grad<B: Backend>(&self, dtype: DType) -> FloatTensor<B> {
        tensor_on::<B>(&self.grad.0, &self.grad.1, dtype)
    }
}

/// Lets a row begin with scores of `-inf` and the last be of nothing else; others are three times as large.
pub(crate) fn with_empty_scores(scores: &mut [f32], time: usize) {
    scores.iter_mut().for_each(|score| *score *= 3.0);
    scores[..time.div_ceil(3)].fill(f32::NEG_INFINITY);
    if scores.len() > time {
        let last = scores.len() - time;
        scores[last..].fill(f32::NEG_INFINITY);
    }
}

/// What an op and its backward pass compute.
pub(crate) type Numbers = Vec<Vec<f64>>;

/// Reads outputs and gradients.
pub(crate) fn read<B: Backend, const N: usize, const M: usize>(
    outputs: [FloatTensor<B>; N],
    gradients: [FloatTensor<B>; M],
) -> Numbers {
    outputs.into_iter().chain(gradients).map(host::<B>).collect()
}

/// Asserts that a kernel errs at most three times as much as other ways to compute in single precision do: `others` has what they
/// compute and the truth of it, of the same case or of one alike.
pub(crate) fn assert_accurate(names: &[&str], found: &Numbers, truth: &Numbers, others: &[[Numbers; 2]], what: &str) {
    for (index, name) in names.iter().enumerate() {
        let errors = others.iter().map(|[other, truth]| Truth(&truth[index]).largest_error(&other[index]));
        Truth(&truth[index]).assert_within(&found[index], errors.fold(0.0, f64::max), format!("{name} of {what}"));
    }
}

/// Numbers computed in double precision.
pub(crate) struct Truth<'a>(pub &'a [f64]);

impl Truth<'_> {
    /// The largest difference; equal infinities do not differ.
    pub(crate) fn largest_error(&self, found: &[f64]) -> f64 {
        assert_eq!(found.len(), self.0.len());
        let differences = self.0.iter().zip(found).map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() });
        // Not `max`, which loses what is not a number.
        differences.fold(0.0, |most, next| if next <= most { most } else { next })
    }

    /// Asserts an error of at most three times what plain single-precision ops have, `plain_error`. An ulp of the largest number is
    /// always allowed: plain ops may have been exact where another order of the same operations cannot be.
    pub(crate) fn assert_within(&self, found: &[f64], plain_error: f64, what: String) {
        let largest = self.0.iter().filter(|x| x.is_finite()).fold(1.0, |most: f64, x| most.max(x.abs()));
        let allowed = 3.0 * plain_error.max(largest * f64::from(f32::EPSILON));
        for (index, (found, expected)) in found.iter().zip(self.0).enumerate() {
            let error = if found == expected { 0.0 } else { (found - expected).abs() };
            assert!(
                error <= allowed,
                "{what}, element {index}: {found} is not {expected}, off by {error:e} where plain ops are by {plain_error:e}"
            );
        }
    }
}
