//! Number types, and loops compiled for the vector instructions that this processor has.

use burn::tensor::{DType, Element};
use bytemuck::Pod;
use num_traits::Float;

/// The float types that the CPU implementations are compiled for; others take the reference.
pub(crate) trait Real:
    Float + Pod + Element + Send + Sync + std::iter::Sum + std::ops::AddAssign + std::ops::MulAssign
{
    /// The dot products of one vector with several: chains of additions side by side keep the processor busy. Each has the same
    /// bits as it has alone.
    fn dots<const N: usize>(x: &[Self], ys: [&[Self]; N]) -> [Self; N];

    /// `e^x` for `x <= 0`, in a form that vectorizes where that keeps the type's accuracy.
    fn exp_of_negative(self) -> Self;

    /// `tanh x`, in a form that vectorizes where that keeps the type's accuracy.
    fn tanh_vectorized(self) -> Self;

    /// `ln (1 + x)` for `0 <= x <= 1`, in a form that vectorizes where that keeps the type's accuracy.
    fn ln_1p_of_share(self) -> Self;
}

/// [`Real::dots`] in explicit vector instructions: loops over arrays of lanes do not reliably become them.
macro_rules! dots {
    ($real:ty, $as_simd:ident, $splat:ident, $mul_add:ident, $reduce_sum:ident) => {
        #[inline(always)]
        fn dots<const N: usize>(x: &[$real], ys: [&[$real]; N]) -> [$real; N] {
            struct Dots<'a, const N: usize>(&'a [$real], [&'a [$real]; N]);
            impl<const N: usize> pulp::WithSimd for Dots<'_, N> {
                type Output = [$real; N];
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, simd: S) -> [$real; N] {
                    let (x, x_tail) = S::$as_simd(self.0);
                    let ys = self.1.map(S::$as_simd);
                    let mut sums = [simd.$splat(0.0); N];
                    for (i, &x) in x.iter().enumerate() {
                        for (sum, (y, _)) in sums.iter_mut().zip(ys) {
                            *sum = simd.$mul_add(x, y[i], *sum);
                        }
                    }
                    std::array::from_fn(|n| {
                        let tail: $real = x_tail.iter().zip(ys[n].1).map(|(x, y)| x * y).sum();
                        simd.$reduce_sum(sums[n]) + tail
                    })
                }
            }
            pulp::Arch::new().dispatch(Dots(x, ys))
        }
    };
}

impl Real for f32 {
    dots!(f32, as_simd_f32s, splat_f32s, mul_add_f32s, reduce_sum_f32s);

    #[inline(always)]
    fn exp_of_negative(self) -> f32 {
        // e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2; ln 2 in two parts so that r is exact to the last bit.
        // The Taylor polynomial of degree 7 is then off by less than 1e-8, below the rounding of its own sum.
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
        let x = if self > -87.0 { self } else { -87.0 };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let mut sum = 1.0 / 5040.0;
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = sum * r + coefficient;
        }
        let power = f32::from_bits(((shifted.to_bits() as i32) << 23).wrapping_add(0x3f80_0000) as u32);
        let result = sum * power;
        // A product, not a branch, would turn -inf into NaN; below -87 the result is denormal and counts as nothing.
        if self > -87.0 { result } else { 0.0 }
    }

    #[inline(always)]
    fn tanh_vectorized(self) -> f32 {
        // tanh x = m / (m + 2) with m = e^2x - 1, which is exact for small x too if the 1 is never added to what is small: with
        // n and r as above for 2x, m = 2^n (e^r - 1) + (2^n - 1).
        const ROUND: f32 = 12_582_912.0;
        let x = 2.0 * self.clamp(-9.1, 9.1); // beyond, tanh is 1 to the last bit; a NaN stays one
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let mut sum = 1.0 / 5040.0;
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
            sum = sum * r + coefficient;
        }
        let power = f32::from_bits(((shifted.to_bits() as i32) << 23).wrapping_add(0x3f80_0000) as u32);
        let m = power * (r + r * r * sum) + (power - 1.0);
        m / (m + 2.0)
    }

    #[inline(always)]
    fn ln_1p_of_share(self) -> f32 {
        // ln (1 + x) = 2 artanh z with z = x / (2 + x) <= 1 / 3; the first term of artanh's series that is left out is 1e-9 of the first.
        let z = self / (2.0 + self);
        let square = z * z;
        let mut sum = 1.0 / 15.0;
        for coefficient in [1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
            sum = sum * square + coefficient;
        }
        2.0 * z * sum
    }
}

impl Real for f64 {
    dots!(f64, as_simd_f64s, splat_f64s, mul_add_f64s, reduce_sum_f64s);

    #[inline(always)]
    fn exp_of_negative(self) -> f64 {
        self.exp()
    }

    #[inline(always)]
    fn tanh_vectorized(self) -> f64 {
        self.tanh()
    }

    #[inline(always)]
    fn ln_1p_of_share(self) -> f64 {
        self.ln_1p()
    }
}

/// Whether the CPU implementations are compiled for this float type.
pub(crate) fn serves(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

/// Runs the CPU implementation compiled for a float type, which the first arm names; for types that there is none for, the second arm.
macro_rules! by_float {
    ($dtype:expr, $real:ident => $implementation:expr, _ => $reference:expr $(,)?) => {
        match $dtype {
            burn::tensor::DType::F32 => {
                type $real = f32;
                $implementation
            }
            burn::tensor::DType::F64 => {
                type $real = f64;
                $implementation
            }
            _ => $reference,
        }
    };
}
pub(crate) use by_float;

/// Runs `work` compiled for the widest vector instructions that this processor has.
///
/// Mark the closure `#[inline(always)]`: only what is inlined into the dispatch is compiled for those instructions. (Handing `pulp`
/// the closure directly does not do: its trait hides that it is called once, and the call goes through a shim that is not inlined.)
pub(crate) fn vectorize<T>(work: impl FnOnce() -> T) -> T {
    struct Work<F>(F);
    impl<T, F: FnOnce() -> T> pulp::WithSimd for Work<F> {
        type Output = T;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> T {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Work(work))
}

/// `sum of x[i] * y[i]`
#[inline(always)]
pub(crate) fn dot<R: Real>(x: &[R], y: &[R]) -> R {
    let [product] = R::dots(x, [y]);
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_right_to_a_few_last_bits() {
        let mut worst = 0.0f64;
        for i in -200_000..=200_000 {
            let x = i as f32 * 1e-4 * (1.0 + (i % 7) as f32 * 0.1);
            for x in [x, x * 1e-3, x * 1e-6] {
                let expected = f64::from(x).tanh();
                let error = (f64::from(x.tanh_vectorized()) - expected).abs();
                worst = worst.max(error / expected.abs().max(f64::from(f32::MIN_POSITIVE)));
            }
        }
        assert!(worst < 4.0 * f64::from(f32::EPSILON), "relative error of {worst}");
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY, 0.0, 1e30].map(Real::tanh_vectorized), [1.0, -1.0, 0.0, 1.0]);
        assert!(f32::NAN.tanh_vectorized().is_nan());
    }

    #[test]
    fn ln_1p_of_a_share_is_right_to_a_few_last_bits() {
        for i in 0..=100_000 {
            for x in [i as f32 * 1e-5, i as f32 * 1e-9, i as f32 * 1e-20] {
                let expected = f64::from(x).ln_1p();
                let error = (f64::from(x.ln_1p_of_share()) - expected).abs() / expected.max(f64::from(f32::MIN_POSITIVE));
                assert!(error < 3.0 * f64::from(f32::EPSILON), "of {x}: relative error of {error}");
            }
        }
    }
}
