//! Sums over the rows of a matrix on a GPU.
//!
//! Burn gives a column to one unit, and what a product sums over to one cube: gradients of weights and biases, which sum over all
//! tokens of a batch, would keep a few units busy for a long time and leave the rest of the device idle. Here rows are cut in parts,
//! which are summed at once and then added. Which rows go to which part depends on the sizes alone, so the same bits come every time.

use crate::primitive::{float, primitive};
use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};
use std::ops::Range;

/// Rows below which another launch costs more than it saves.
const WORTH_CUTTING: usize = 512;
/// Rows of a part of a product, at least.
const PRODUCT_ROWS: usize = 256;
/// Cubes of a product that keep a device busy, and the sides of the block of outputs that each computes.
const CUBES: usize = 128;
const SIDE: usize = 64;

/// The sum of every column: `[rows, width]` to `[width]`.
pub(crate) fn column_sums<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 1> {
    let [rows, width] = x.dims();
    if rows < WORTH_CUTTING {
        return x.sum_dim(0).reshape([width]);
    }
    // About as many parts as rows in each.
    let parts = rows.isqrt();
    let cut = Cut::new(rows, parts);
    let sums = cut.parts(x.clone()).sum_dim(1).reshape([parts, width]).sum_dim(0);
    cut.add_rest(sums, |rest| x.slice(rest).sum_dim(0)).reshape([width])
}

/// `x^T y`, of `[rows, n]` and `[rows, m]`: `[n, m]`.
///
/// - `multiply`: the product of two matrices, or of as many as a first axis says
pub(crate) fn product_over_rows<B: Backend>(
    x: Tensor<B, 2>,
    y: Tensor<B, 2>,
    multiply: impl Fn(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> Tensor<B, 2> {
    let of_two = |x: Tensor<B, 2>, y| float::<B, 2>(multiply(primitive(x.transpose()), primitive(y)));
    let ([rows, n], [_, m]) = (x.dims(), y.dims());
    let blocks = (n.div_ceil(SIDE) * m.div_ceil(SIDE)).max(1);
    let parts = (CUBES / blocks).min(rows / PRODUCT_ROWS);
    if parts <= 1 {
        return of_two(x, y);
    }
    let cut = Cut::new(rows, parts);
    let of_parts = multiply(primitive(cut.parts(x.clone()).swap_dims(1, 2)), primitive(cut.parts(y.clone())));
    let products = float::<B, 3>(of_parts).sum_dim(0).reshape([n, m]);
    cut.add_rest(products, |rest| of_two(x.slice(rest.clone()), y.slice(rest)))
}

/// Rows cut in equal parts, but for a few that are left.
struct Cut {
    rows: usize,
    parts: usize,
    length: usize,
}

impl Cut {
    fn new(rows: usize, parts: usize) -> Self {
        Self { rows, parts, length: rows / parts }
    }

    fn whole(&self) -> usize {
        self.parts * self.length
    }

    /// `[rows, width]` as `[parts, length, width]`.
    fn parts<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 3> {
        let width = x.dims()[1];
        x.slice(0..self.whole()).reshape([self.parts, self.length, width])
    }

    /// A sum over the parts and what `of` makes of the rows that are left.
    fn add_rest<B: Backend>(&self, sum: Tensor<B, 2>, of: impl FnOnce(Range<usize>) -> Tensor<B, 2>) -> Tensor<B, 2> {
        if self.whole() == self.rows { sum } else { sum + of(self.whole()..self.rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random_tensor};
    use burn::backend::Flex;
    use burn::tensor::ops::FloatTensorOps;

    /// On the CPU, in whose plain operations a part is summed as a GPU sums it.
    #[test]
    fn sums_in_parts_are_the_sums() {
        for rows in [1, 3, 511, 512, 513, 1031, 3840] {
            for [n, m] in [[1, 1], [5, 3], [130, 67]] {
                let (x, y) = (random_tensor::<Flex, 2>([rows, n], 1), random_tensor::<Flex, 2>([rows, m], 2));
                assert_close(column_sums(x.clone()), x.clone().sum_dim(0).reshape([n]), 1e-4);
                assert_close(product_over_rows(x.clone(), y.clone(), Flex::float_matmul), x.transpose().matmul(y), 1e-4);
            }
        }
    }
}
