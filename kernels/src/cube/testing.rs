//! What the tests of kernels share: the device to run them on, and how far from the truth they may be.

use crate::primitive::float;
use burn::tensor::{DType, Tensor, TensorData, backend::Backend, ops::FloatTensor};
use burn_wgpu::WgpuDevice;

pub(crate) use crate::device::Vulkan;

/// The Vulkan device to test on; a printed reason if there is none.
pub(crate) fn vulkan() -> Option<WgpuDevice> {
    match crate::device::vulkan() {
        Ok(found) => Some(found.device),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

/// Numbers from the host as a tensor.
pub(crate) fn tensor_on<B: Backend, const D: usize>(numbers: &[f32], shape: [usize; D], dtype: DType) -> FloatTensor<B> {
    let data = TensorData::new(numbers.to_vec(), shape).convert_dtype(dtype);
    Tensor::<B, D>::from_data(data, (&Default::default(), dtype)).into_primitive().tensor()
}

/// The numbers of a tensor, in double precision.
pub(crate) fn host<B: Backend, const D: usize>(tensor: FloatTensor<B>) -> Vec<f64> {
    float::<B, D>(tensor).into_data().convert::<f64>().to_vec().unwrap()
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
