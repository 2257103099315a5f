//! What the factors of dense layers' matrix products are rounded to.
//!
//! A training chooses it, not a process: [`within`] makes it that of the layers which one thread computes meanwhile, and a layer's
//! backward pass has the precision of its forward pass, whoever runs it. Everything else stays in single precision: the weights
//! themselves, the sums of products, biases, attention, scans, norms, sums over rows, the optimizer.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::{Activation, Precision, linear, precision};
//!
//! let device = Default::default();
//! // 1 and a 512th: bfloat16 has 7 bits behind the point, TF32 has 10.
//! let x = Tensor::<Flex, 2>::from_floats([[1.001953125]], &device);
//! let y = || linear(x.clone(), Tensor::ones([1, 1], &device), Tensor::zeros([1], &device), Activation::Identity).into_scalar();
//! assert_eq!(precision::within(Precision::Bf16, y), 1.0);
//! assert_eq!(precision::within(Precision::Tf32, y), 1.001953125);
//! assert_eq!(y(), 1.001953125);
//! ```

use crate::cpu::{Real, vectorize, view, viewable};
use crate::primitive::{float, primitive};
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, TensorMetadata, backend::Backend};
use burn_flex::Flex;
use rayon::prelude::*;
use std::cell::Cell;
use std::fmt;

/// What the factors of dense layers' matrix products are rounded to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nothing: products are those of single precision on every device.
    #[default]
    F32,
    /// 10 bits behind the point. CUDA does it on tensor cores where the card has them for it (from compute capability 8.0 on), and then
    /// in every product of matrices.
    Tf32,
    /// bfloat16, 7 bits behind the point. CUDA does it on tensor cores, in dense layers.
    Bf16,
}

impl Precision {
    /// Bits behind the point that are rounded away, of the 23 of single precision.
    fn bits_lost(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::Tf32 => 13,
            Self::Bf16 => 16,
        }
    }

    /// The largest relative error of a rounded factor: half of the last place. 0 where nothing is rounded.
    pub fn rounding(self) -> f64 {
        match self {
            Self::F32 => 0.0,
            rounded => 2f64.powi(rounded.bits_lost() as i32 - 24),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// Runs `work`, whose dense layers are computed in this precision where this thread computes them. Other threads have their own.
pub fn within<T>(precision: Precision, work: impl FnOnce() -> T) -> T {
    /// Also where `work` panics.
    struct Restore(Precision);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(precision));
    work()
}

/// The precision of this thread's dense layers.
pub fn current() -> Precision {
    CURRENT.get()
}

/// To nearest, ties to even. Infinities stay; a NaN stays one.
#[inline(always)]
fn round(x: f32, bits_lost: u32) -> f32 {
    let bits = x.to_bits();
    let half = (1u32 << (bits_lost - 1)) - 1 + ((bits >> bits_lost) & 1);
    let rounded = f32::from_bits(bits.wrapping_add(half) & (u32::MAX << bits_lost));
    // The sum of a NaN's bits may become those of another number.
    if x.is_nan() { x } else { rounded }
}

/// Rounded factors on the CPU; numbers of double precision are not, nor are any with [`Precision::F32`].
pub(crate) fn rounded_on_cpu<R: Real>(tensor: FloatTensor<Flex>, precision: Precision) -> FloatTensor<Flex> {
    /// Numbers that are rounded by one task.
    const CHUNK: usize = 1 << 16;
    let bits_lost = precision.bits_lost();
    if bits_lost == 0 || R::dtype() != DType::F32 {
        return tensor;
    }
    let tensor = viewable(tensor);
    let shape: [usize; 2] = tensor.shape().dims();
    let rows = view::<f32, 2>(&tensor);
    let mut numbers: Vec<f32> = (0..shape[0]).flat_map(|row| rows.row([row, 0], shape[1])).copied().collect();
    numbers.par_chunks_mut(CHUNK).for_each(|numbers| {
        vectorize(
            #[inline(always)]
            || numbers.iter_mut().for_each(|x| *x = round(*x, bits_lost)),
        );
    });
    crate::cpu::tensor(numbers, shape)
}

/// Rounded factors in plain tensor operations, to nearest; ties go either way, and what is not finite becomes NaN.
///
/// # Source
/// Veltkamp's splitting: Dekker 1971, A floating-point technique for extending the available precision.
pub(crate) fn rounded<B: Backend>(tensor: FloatTensor<B>, precision: Precision) -> FloatTensor<B> {
    if precision == Precision::F32 {
        return tensor;
    }
    let x = float::<B, 2>(tensor);
    let scaled = x.clone() * (2f64.powi(precision.bits_lost() as i32) + 1.0);
    primitive(scaled.clone() - (scaled - x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_tensor;
    use burn::tensor::Tensor;

    #[test]
    fn numbers_are_rounded_to_nearest_with_ties_to_even() {
        let [bf16, tf32] = [Precision::Bf16, Precision::Tf32].map(|precision| move |x: f32| round(x, precision.bits_lost()));
        let ulp = |bits: i32| 2f32.powi(-bits);
        assert_eq!(
            [bf16(1.0 + ulp(8)), bf16(1.0 + 3.0 * ulp(8)), bf16(-1.0 - 1.01 * ulp(8))],
            [1.0, 1.0 + ulp(6), -1.0 - ulp(7)]
        );
        assert_eq!([tf32(1.0 + ulp(11)), tf32(1.0 + 3.0 * ulp(11)), tf32(1.0 + ulp(10))], [1.0, 1.0 + ulp(9), 1.0 + ulp(10)]);
        assert_eq!([bf16(f32::INFINITY), bf16(f32::MIN), bf16(0.0)], [f32::INFINITY, f32::NEG_INFINITY, 0.0]);
        // All bits set: the sum would become 0.
        assert!([f32::NAN, f32::from_bits(u32::MAX), f32::from_bits(0x7f80_0001)].iter().all(|&x| bf16(x).is_nan()));
    }

    #[test]
    fn bfloat16_is_that_of_everybody() {
        let x = random_tensor::<Flex, 2>([37, 29], 1);
        let rounded = float::<Flex, 2>(rounded_on_cpu::<f32>(primitive(x.clone()), Precision::Bf16));
        let expected = x.cast(DType::BF16).cast(DType::F32);
        assert_eq!(rounded.into_data(), expected.into_data());
    }

    #[test]
    fn plain_operations_round_to_nearest_too() {
        for precision in [Precision::Tf32, Precision::Bf16] {
            let x = random_tensor::<Flex, 2>([37, 29], 1);
            let numbers = |tensor| float::<Flex, 2>(tensor).into_data().to_vec::<f32>().unwrap();
            let found = numbers(rounded::<Flex>(primitive(x.clone()), precision));
            let expected = numbers(rounded_on_cpu::<f32>(primitive(x.clone()), precision));
            for ((x, found), expected) in numbers(primitive(x)).into_iter().zip(found).zip(expected) {
                assert!((found - x).abs() == (expected - x).abs(), "{precision}: {x} became {found}, and {expected}");
                assert_eq!(round(found, precision.bits_lost()), found, "{precision}: {x} became {found}");
            }
        }
        let x = Tensor::<Flex, 2>::ones([1, 1], &Default::default()) / 3.0;
        assert_eq!(float::<Flex, 2>(rounded::<Flex>(primitive(x.clone()), Precision::F32)).into_data(), x.into_data());
    }

    #[test]
    fn a_precision_ends_with_its_work_even_if_that_panics() {
        let panicked = std::panic::catch_unwind(|| within(Precision::Bf16, || panic!("on purpose, in {}", current())));
        assert!(panicked.is_err());
        assert_eq!(current(), Precision::F32);
        within(Precision::Bf16, || {
            assert_eq!(std::thread::spawn(current).join().unwrap(), Precision::F32);
            within(Precision::Tf32, || assert_eq!(current(), Precision::Tf32));
            assert_eq!(current(), Precision::Bf16);
        });
    }
}
