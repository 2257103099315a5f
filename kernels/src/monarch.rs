//! Monarch matrices: products of two block-diagonal matrices and a transposition, and the Fourier transform as one of them.
//!
//! A vector of `n = n1 n2` elements is an `n1 x n2` grid. A Monarch matrix mixes along one axis of it with a matrix for every row,
//! then along the other with a matrix for every column: `n (n1 + n2)` parameters where a dense one has `n^2`. The discrete Fourier
//! transform is of that kind, with twiddle factors between the halves, so a convolution over long sequences is a handful of real
//! matrix products, which Burn differentiates; its own transform it does not.
//!
//! ```
//! use burn::{backend::Flex, tensor::{DType, Tensor}};
//! use aaren_kernels::MonarchTransform;
//!
//! let device = Default::default();
//! let column = |x: [f64; 3]| Tensor::<Flex, 1>::from_data(x, (&device, DType::F64)).reshape([1, 3, 1]);
//! let transform = MonarchTransform::at_least(5, &device, DType::F64);
//! let taps = Tensor::from_data([[1.0], [10.0]], (&device, DType::F64));
//! let y = transform.convolve(column([1.0, 2.0, 3.0]), taps);
//! assert!((y - column([1.0, 12.0, 23.0])).abs().max().into_scalar() < 1e-6);
//! ```
//!
//! Source: Dao et al. 2022, arXiv:2204.00595; Fu et al. 2023, arXiv:2310.12109.

use burn::tensor::{DType, Tensor, TensorData, backend::Backend};
use std::f64::consts::TAU;

/// The product of a Monarch matrix with vectors: `M[s n1 + l, k n2 + p] = left[l][s, k] right[k][l, p]`.
///
/// # Shapes
/// - `x`: `[rows, n1 * n2]`
/// - `right`: `[n1, n1, n2]`, for every `k` the map from `p` to `l`
/// - `left`: `[n1, n1, n1]`, for every `l` the map from `k` to `s`
/// - returns: `[rows, n1 * n1]`
/// # Panics
/// If the shapes disagree.
pub fn monarch_product<B: Backend>(x: Tensor<B, 2>, right: Tensor<B, 3>, left: Tensor<B, 3>) -> Tensor<B, 2> {
    let ([rows, width], [n1, inner, n2]) = (x.dims(), right.dims());
    assert_eq!(width, n1 * n2, "monarch_product: a width of {width} is no grid of {n1} x {n2}");
    assert_eq!(left.dims(), [inner, n1, n1], "monarch_product: the halves do not fit each other");
    let grid = x.reshape([rows, n1, n2]).permute([1, 2, 0]); // [k, p, rows]
    let halfway = right.matmul(grid); // [k, l, rows]
    let mixed = left.matmul(halfway.swap_dims(0, 1)); // [l, s, rows]
    mixed.permute([2, 1, 0]).reshape([rows, n1 * inner])
}

/// The Fourier transform of `n1 n2` points as a Monarch matrix, over the middle axis of `[batch, n, channels]`. Frequencies come in
/// the order `i0 n2 + i1` for frequency `i1 n1 + i0`, which products of spectra do not mind and [`MonarchTransform::inverse`] undoes.
#[derive(Clone, Debug)]
pub struct MonarchTransform<B: Backend> {
    n1: usize,
    n2: usize,
    /// Cosines and negative sines of the first half, `[n1, n1]` each.
    first: [Tensor<B, 2>; 2],
    /// Of the second half, `[n2, n2]` each.
    second: [Tensor<B, 2>; 2],
    /// Of the twiddle factors, `[1, n1, n2, 1]` each.
    twiddle: [Tensor<B, 4>; 2],
}

/// A complex tensor: real and imaginary part.
type Complex<B, const D: usize> = [Tensor<B, D>; 2];

impl<B: Backend> MonarchTransform<B> {
    /// The transform of `n1 * n2` points.
    pub fn new(n1: usize, n2: usize, device: &B::Device, dtype: DType) -> Self {
        // Exponents are reduced before they become angles: in single precision large ones lose their phase.
        let roots = |rows: usize, columns: usize, of: usize| {
            let angles = (0..rows).flat_map(|i| (0..columns).map(move |j| (i * j % of) as f64 / of as f64 * TAU));
            let angles: Vec<f64> = angles.collect();
            [angles.iter().map(|a| a.cos()).collect::<Vec<f64>>(), angles.iter().map(|a| -a.sin()).collect()]
        };
        let matrix = |n: usize| roots(n, n, n).map(|part| Tensor::from_data(TensorData::new(part, [n, n]), (device, dtype)));
        let twiddle =
            roots(n1, n2, n1 * n2).map(|part| Tensor::from_data(TensorData::new(part, [1, n1, n2, 1]), (device, dtype)));
        Self { n1, n2, first: matrix(n1), second: matrix(n2), twiddle }
    }

    /// The transform that fits `length` points with the least waste: two factors near their root.
    pub fn at_least(length: usize, device: &B::Device, dtype: DType) -> Self {
        let n1 = ((length as f64).sqrt() as usize).max(1);
        Self::new(n1, length.div_ceil(n1), device, dtype)
    }

    /// Points of the transform.
    pub fn points(&self) -> usize {
        self.n1 * self.n2
    }

    /// Of real sequences `[batch, time, channels]` with `time <= points`, zeros after: `[batch, points, channels]`.
    pub fn forward(&self, x: Tensor<B, 3>) -> Complex<B, 3> {
        let [batch, time, channels] = x.dims();
        let (n1, n2) = (self.n1, self.n2);
        let missing = self.points() - time;
        let x = match missing {
            0 => x,
            _ => {
                let zeros = Tensor::zeros([batch, missing, channels], (&x.device(), x.dtype()));
                Tensor::cat(vec![x, zeros], 1)
            }
        };
        let x = x.reshape([batch, n1, n2 * channels]);
        let halfway = self.first.clone().map(|half| half.unsqueeze::<3>().matmul(x.clone()).reshape([batch, n1, n2, channels]));
        let turned = product(halfway, self.twiddle.clone());
        let [real, imaginary] = turned.map(|part| part.reshape([batch * n1, n2, channels]));
        let [cosines, sines] = self.second.clone().map(|half| half.unsqueeze::<3>());
        let parts = [
            cosines.clone().matmul(real.clone()) - sines.clone().matmul(imaginary.clone()),
            cosines.matmul(imaginary) + sines.matmul(real),
        ];
        parts.map(|part| part.reshape([batch, n1 * n2, channels]))
    }

    /// Real sequences from their transforms, `[batch, points, channels]`.
    pub fn inverse(&self, spectrum: Complex<B, 3>) -> Tensor<B, 3> {
        let [batch, _, channels] = spectrum[0].dims();
        let (n1, n2) = (self.n1, self.n2);
        let [real, imaginary] = spectrum.map(|part| part.reshape([batch * n1, n2, channels]));
        let [cosines, sines] = self.second.clone().map(|half| half.unsqueeze::<3>());
        // Conjugate factors: the sign of every sine is turned.
        let halfway = [
            cosines.clone().matmul(real.clone()) + sines.clone().matmul(imaginary.clone()),
            cosines.matmul(imaginary) - sines.matmul(real),
        ];
        let halfway = halfway.map(|part| part.reshape([batch, n1, n2, channels]));
        let [turn, against] = self.twiddle.clone();
        let [real, imaginary] = product(halfway, [turn, against.neg()]).map(|part| part.reshape([batch, n1, n2 * channels]));
        let [cosines, sines] = self.first.clone().map(|half| half.unsqueeze::<3>());
        let x = cosines.matmul(real) + sines.matmul(imaginary);
        x.reshape([batch, n1 * n2, channels]) * (1.0 / self.points() as f64)
    }

    /// Circular convolution over the middle axis: `x` `[batch, time, channels]` with a filter `[taps, channels]`, both at most as
    /// long as the transform. It is the causal convolution from output `time + taps - 1 - points` on, and from the first if the
    /// transform has room for both.
    pub fn convolve(&self, x: Tensor<B, 3>, taps: Tensor<B, 2>) -> Tensor<B, 3> {
        let ([batch, time, channels], [count, _]) = (x.dims(), taps.dims());
        assert!(time <= self.points() && count <= self.points(), "convolve: {time} tokens and {count} taps in {}", self.points());
        let spectrum = product(self.forward(x), self.forward(taps.unsqueeze::<3>()));
        self.inverse(spectrum).slice([0..batch, 0..time, 0..channels])
    }
}

/// Element-wise product of complex tensors.
fn product<B: Backend, const D: usize>(x: Complex<B, D>, y: Complex<B, D>) -> Complex<B, D> {
    let ([a, b], [c, d]) = (x, y);
    [a.clone() * c.clone() - b.clone() * d.clone(), a * d + b * c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{causal_convolution, testing::random_f64};
    use burn::backend::Flex;

    fn tensor<const D: usize>(numbers: Vec<f64>, shape: [usize; D]) -> Tensor<Flex, D> {
        Tensor::from_data(TensorData::new(numbers, shape), (&Default::default(), DType::F64))
    }

    fn near<const D: usize>(found: Tensor<Flex, D>, expected: &[f64], tolerance: f64) {
        let found = found.into_data().to_vec::<f64>().unwrap();
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found - expected).abs() < tolerance, "element {i}: {found} is not {expected}");
        }
    }

    #[test]
    fn worked_example_of_a_monarch_matrix() {
        let right = tensor((1..=8).map(f64::from).collect(), [2, 2, 2]);
        let left = tensor(vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -1.0], [2, 2, 2]);
        near(
            monarch_product(tensor(vec![1.0, 0.0, 0.0, -1.0], [1, 4]), right.clone(), left.clone()),
            &[1.0, -5.0, -6.0, 11.0],
            1e-12,
        );
        let identity = tensor((0..16).map(|i| f64::from(u8::from(i % 5 == 0))).collect(), [4, 4]);
        let columns = [1.0, 3.0, 0.0, 3.0, 2.0, 4.0, 0.0, 4.0, 0.0, 7.0, 5.0, -7.0, 0.0, 8.0, 6.0, -8.0];
        near(monarch_product(identity.clone(), right, left), &columns, 1e-12);
        let blocks = tensor(vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], [2, 2, 2]);
        near(monarch_product(identity.clone(), blocks.clone(), blocks), &identity.into_data().to_vec::<f64>().unwrap(), 1e-12);
    }

    #[test]
    fn the_transform_is_fouriers_and_its_inverse_undoes_it() {
        for (n1, n2) in [(1, 5), (4, 4), (4, 8), (3, 7)] {
            let (batch, channels, n) = (2, 3, n1 * n2);
            let numbers = random_f64(batch * n * channels, 7);
            let transform = MonarchTransform::<Flex>::new(n1, n2, &Default::default(), DType::F64);
            let x = tensor(numbers.clone(), [batch, n, channels]);
            let spectrum = transform.forward(x);
            let mut expected = [vec![0.0; numbers.len()], vec![0.0; numbers.len()]];
            for b in 0..batch {
                for frequency in 0..n {
                    let place = (frequency % n1) * n2 + frequency / n1;
                    for time in 0..n {
                        let angle = -TAU * (frequency * time % n) as f64 / n as f64;
                        for c in 0..channels {
                            let number = numbers[(b * n + time) * channels + c];
                            expected[0][(b * n + place) * channels + c] += number * angle.cos();
                            expected[1][(b * n + place) * channels + c] += number * angle.sin();
                        }
                    }
                }
            }
            near(spectrum[0].clone(), &expected[0], 1e-12);
            near(spectrum[1].clone(), &expected[1], 1e-12);
            near(transform.inverse(spectrum), &numbers, 1e-13);
        }
    }

    #[test]
    fn a_transform_with_room_for_both_convolves_causally_and_one_without_wraps_around() {
        let (batch, time, channels, taps) = (2, 13, 3, 9);
        let x = tensor(random_f64(batch * time * channels, 1), [batch, time, channels]);
        let filter = tensor(random_f64(taps * channels, 2), [taps, channels]);
        let first = Tensor::zeros([batch, time], &Default::default());
        let expected = causal_convolution(x.clone(), filter.clone(), first).into_data().to_vec::<f64>().unwrap();
        let room = MonarchTransform::at_least(time + taps - 1, &Default::default(), DType::F64);
        near(room.convolve(x.clone(), filter.clone()), &expected, 1e-13);

        let narrow = MonarchTransform::<Flex>::new(3, 5, &Default::default(), DType::F64);
        let wrapped = narrow.convolve(x, filter).into_data().to_vec::<f64>().unwrap();
        let clean = time + taps - 1 - narrow.points();
        for (i, (found, expected)) in wrapped.iter().zip(&expected).enumerate() {
            let is_clean = i / channels % time >= clean;
            assert_eq!((found - expected).abs() < 1e-12, is_clean, "element {i}");
        }
    }
}
