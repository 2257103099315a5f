//! What the CPU implementations share: typed views of the backend's tensors, number types, and when to use threads.

use burn::tensor::{Element, Shape, TensorMetadata};
use burn_flex::{FlexTensor, Layout};
use bytemuck::Pod;
use num_traits::Float;

/// The float types that the CPU implementations are compiled for; others take the reference.
pub(crate) trait Real:
    Float + Pod + Element + Send + Sync + std::iter::Sum + std::ops::AddAssign + std::ops::MulAssign
{
    /// The dot products of one vector with several: chains of additions side by side keep the processor busy. Each has the same
    /// bits as it has alone.
    fn dots<const N: usize>(x: &[Self], ys: [&[Self]; N]) -> [Self; N];

    /// `e^x` for `x <= 0`, in a form that vectorises where that keeps the type's accuracy.
    fn exp_of_negative(self) -> Self;

    /// `tanh x`, in a form that vectorises where that keeps the type's accuracy.
    fn tanh_vectorised(self) -> Self;
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
    fn tanh_vectorised(self) -> f32 {
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
}

impl Real for f64 {
    dots!(f64, as_simd_f64s, splat_f64s, mul_add_f64s, reduce_sum_f64s);

    #[inline(always)]
    fn exp_of_negative(self) -> f64 {
        self.exp()
    }

    #[inline(always)]
    fn tanh_vectorised(self) -> f64 {
        self.tanh()
    }
}

/// Read access to a tensor of `N` axes whose last axis is contiguous.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T, const N: usize> {
    data: &'a [T],
    pub shape: [usize; N],
    pub strides: [usize; N],
}

impl<'a, T: Copy, const N: usize> View<'a, T, N> {
    /// The row at the given leading indices.
    #[inline(always)]
    pub fn row(&self, index: [usize; N], length: usize) -> &'a [T] {
        let start = self.offset(index);
        &self.data[start..start + length]
    }

    /// One element.
    #[inline(always)]
    pub fn at(&self, index: [usize; N]) -> T {
        self.data[self.offset(index)]
    }

    /// A pointer to the element at `index`, for matrix products that walk the strides themselves.
    pub fn pointer(&self, index: [usize; N]) -> *const T {
        self.data[self.offset(index)..].as_ptr()
    }

    #[inline(always)]
    fn offset(&self, index: [usize; N]) -> usize {
        index.iter().zip(&self.strides).map(|(index, stride)| index * stride).sum()
    }
}

// SAFETY: a matrix is read access to a slice of plain numbers.
unsafe impl<T: Sync> Send for Matrix<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<T> {}

/// Makes a tensor viewable: positive strides and a contiguous last axis. Copies only where that does not hold.
pub(crate) fn viewable(tensor: FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    let last_contiguous = strides.last().is_none_or(|&stride| stride == 1) || tensor.shape().num_elements() == 0;
    if last_contiguous && strides.iter().all(|&stride| stride >= 0) { tensor } else { tensor.to_contiguous() }
}

/// A tensor to be written to: contiguous, and its memory is its own from the first element on. A contiguous tensor is passed on without
/// taking another handle (as `to_contiguous` does), for what is shared is copied when written.
pub(crate) fn whole(tensor: FlexTensor) -> FlexTensor {
    let is_whole = tensor.is_contiguous() && tensor.layout().start_offset() == 0;
    if is_whole { tensor } else { tensor.to_contiguous() }
}

/// A view of a tensor made [`viewable`].
pub(crate) fn view<T: Pod + Element, const N: usize>(tensor: &FlexTensor) -> View<'_, T, N> {
    let layout = tensor.layout();
    let storage: &[T] = tensor.storage();
    let mut view = View { data: &storage[layout.start_offset().min(storage.len())..], shape: [0; N], strides: [0; N] };
    for axis in 0..N {
        view.shape[axis] = layout.shape()[axis];
        view.strides[axis] = layout.strides()[axis] as usize;
    }
    view
}

/// The elements of a bool tensor in row-major order, as 0 and 1.
pub(crate) fn flags(tensor: &FlexTensor) -> Vec<bool> {
    let tensor = tensor.to_contiguous();
    let start = tensor.layout().start_offset();
    tensor.bytes()[start..start + tensor.shape().num_elements()].iter().map(|&byte| byte != 0).collect()
}

/// A contiguous tensor from its elements.
pub(crate) fn tensor<T: Real, const N: usize>(data: Vec<T>, shape: [usize; N]) -> FlexTensor {
    FlexTensor::new(burn::tensor::Bytes::from_elems(data), Layout::contiguous(Shape::from(shape.to_vec())), T::dtype())
}

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

/// A matrix somewhere in a slice that outlives the call it is made for.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<T> {
    pointer: *const T,
    pub rows: usize,
    pub columns: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<T> Matrix<T> {
    /// Row-major over a slice, `row_stride` elements from row to row.
    pub fn new(data: &[T], rows: usize, columns: usize, row_stride: usize) -> Self {
        debug_assert!(rows == 0 || data.len() >= (rows - 1) * row_stride + columns);
        Self { pointer: data.as_ptr(), rows, columns, row_stride, column_stride: 1 }
    }

    /// Some rows of a two-axis view.
    pub fn of_rows(view: &View<'_, T, 2>, start: usize, rows: usize) -> Self
    where
        T: Copy,
    {
        assert!(start + rows <= view.shape[0], "rows of a matrix");
        Self { pointer: view.pointer([start, 0]), rows, columns: view.shape[1], row_stride: view.strides[0], column_stride: 1 }
    }

    /// Some of its rows.
    pub fn row_range(self, start: usize, rows: usize) -> Self {
        assert!(start + rows <= self.rows, "rows of a matrix");
        // SAFETY: the rows asked for are rows of this matrix, which lies whole in one slice.
        Self { pointer: unsafe { self.pointer.add(start * self.row_stride) }, rows, ..self }
    }

    /// `time x head_dim` of a view at one batch row and head, from token `start` on.
    pub fn of_view(view: &View<'_, T, 4>, b: usize, h: usize, start: usize, rows: usize) -> Self
    where
        T: Copy,
    {
        assert!(start + rows <= view.shape[2], "tokens of a head");
        Self {
            pointer: view.pointer([b, h, start, 0]),
            rows,
            columns: view.shape[3],
            row_stride: view.strides[2],
            column_stride: 1,
        }
    }

    /// The same elements with the axes swapped.
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }
}

/// `destination = scale * lhs rhs`, added to what is there if `accumulate`. Row-major destination, one thread.
///
/// # Panics
/// If the inner sizes differ or the destination is too short.
pub(crate) fn product<R: Real>(
    destination: &mut [R],
    row_stride: usize,
    lhs: Matrix<R>,
    rhs: Matrix<R>,
    scale: R,
    accumulate: bool,
) {
    let (rows, columns) = (lhs.rows, rhs.columns);
    assert_eq!(lhs.columns, rhs.rows, "inner sizes of a matrix product");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(destination.len() >= (rows - 1) * row_stride + columns, "destination of a matrix product");
    // SAFETY: the destination was checked just above; both operands were made from slices that hold them whole (`Matrix`) and
    // live until this call returns.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            lhs.columns,
            destination.as_mut_ptr(),
            1,
            row_stride as isize,
            accumulate,
            lhs.pointer,
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.pointer,
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            R::one(),
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
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
                let error = (f64::from(x.tanh_vectorised()) - expected).abs();
                worst = worst.max(error / expected.abs().max(f64::from(f32::MIN_POSITIVE)));
            }
        }
        assert!(worst < 4.0 * f64::from(f32::EPSILON), "relative error of {worst}");
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY, 0.0, 1e30].map(Real::tanh_vectorised), [1.0, -1.0, 0.0, 1.0]);
        assert!(f32::NAN.tanh_vectorised().is_nan());
    }
}
