//! The dense layer on the CPU: blocks of rows, each a matrix product into an output that starts as the bias, activated while it
//! is still in the cache.
//!
//! Factors that are rounded are rounded before, in copies.
//!
//! Bits do not depend on the number of threads: blocks have a fixed size, and every sum over rows belongs to one task.

use super::inputs::{Activation, LinearGradients, LinearSaved};
use super::ops::LinearOps;
use super::reference;
use crate::cpu::{
    Matrix, Real, View, by_float, made_in_chunks, made_on_rows, prefetch, product, tensor, vectorize, view, viewable,
};
use crate::precision::{Precision, rounded_on_cpu};
use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;
use rayon::prelude::*;

/// Rows that one task takes at most: enough that packing the weight (once a task) is a few percent of the product.
const ROWS: usize = 192;
/// No task of the forward pass takes fewer rows than this: matrix kernels treat a single row as a vector and sum in another order,
/// and a row's bits must not depend on its place in the batch.
const FEWEST_ROWS: usize = 16;
/// Rows of the weight gradient (inputs of the layer) that one task takes.
const INPUTS: usize = 64;
/// Columns of the bias gradient that one task takes.
const COLUMNS: usize = 128;
/// Below this many multiply-adds one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 21;
/// Up to this many rows the weight is streamed once through registers in place of a packed matrix product.
pub(crate) const FEW_ROWS: usize = 6;
/// Rows of the weight that are asked for before they are needed: the products of these take about as long as a line from a far cache.
const AHEAD: usize = 8;

impl LinearOps for Flex {
    fn linear_activated(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> FloatTensor<Self> {
        by_float!(
            x.dtype(),
            R => linear::<R>(x, weight, bias, activation, precision),
            _ => reference::linear::<Self>(x, weight, bias, activation, precision),
        )
    }

    fn linear_backward(saved: LinearSaved<Self>, grad: FloatTensor<Self>, needs_x: bool) -> LinearGradients<Self> {
        by_float!(
            grad.dtype(),
            R => linear_backward::<R>(saved, grad, needs_x),
            _ => reference::linear_backward(saved, grad, needs_x),
        )
    }
}

fn linear<R: Real>(
    x: FloatTensor<Flex>,
    weight: FloatTensor<Flex>,
    bias: FloatTensor<Flex>,
    activation: Activation,
    precision: Precision,
) -> FloatTensor<Flex> {
    let [x, weight] = [x, weight].map(|factor| rounded_on_cpu::<R>(factor, precision));
    let (x, weight, bias) = (viewable(x), viewable(weight), viewable(bias));
    let (x, weight, bias) = (view::<R, 2>(&x), view::<R, 2>(&weight), view::<R, 1>(&bias));
    let ([rows, inputs], [_, outputs]) = (x.shape, weight.shape);
    let bias = bias.row([0], outputs);

    // Decided by the whole batch, not by what is left for the last block: a row's bits must not depend on its place.
    let is_few = rows <= FEW_ROWS;
    // On an output that is the bias in every row.
    let block = |start: usize, y: &mut [R]| {
        let rows = y.len() / outputs;
        add_product(y, Matrix::of_rows(&x, start, rows), &weight, is_few);
        match activation {
            Activation::Identity => {}
            // Not `max`, which would hide a NaN.
            Activation::Relu => y.iter_mut().for_each(|y| *y = if *y < R::zero() { R::zero() } else { *y }),
            Activation::Tanh => vectorize(
                #[inline(always)]
                || y.iter_mut().for_each(|y| *y = y.tanh_vectorized()),
            ),
        }
    };
    if rows * inputs * outputs < SEQUENTIAL_BELOW {
        // Small outputs come from memory that was used before, which zeros would have to be written into first.
        let mut y = Vec::with_capacity(rows * outputs);
        (0..rows).for_each(|_| y.extend_from_slice(bias));
        block(0, &mut y);
        return tensor(y, [rows, outputs]);
    }
    let size = block_rows(rows);
    let y = made_on_rows(rows * outputs, size * outputs, bias, |chunk, y| block(chunk * size, y));
    tensor(y, [rows, outputs])
}

/// Rows of a block, such that the last block is not a few rows.
fn block_rows(rows: usize) -> usize {
    let fits = |size: &usize| rows.is_multiple_of(*size) || rows % size >= FEWEST_ROWS;
    (ROWS / 2..=ROWS).rev().find(fits).unwrap_or(ROWS)
}

/// `y += x weight`. Whether rows are few is decided by the whole batch.
pub(crate) fn add_product<R: Real>(y: &mut [R], x: Matrix<R>, weight: &View<R, 2>, is_few: bool) {
    let [inputs, outputs] = weight.shape;
    if is_few {
        vectorize(
            #[inline(always)]
            || few_rows(x, weight, y),
        );
    } else {
        product(y, outputs, x, Matrix::of_rows(weight, 0, inputs), R::one(), true);
    }
}

/// `y += x weight` for a few rows: the weight is read once. Every sum is made in the order of the inputs, so its bits depend neither on
/// tiles nor on the processor.
#[inline(always)]
fn few_rows<R: Real>(x: Matrix<R>, weight: &View<R, 2>, y: &mut [R]) {
    let tiled = match x.rows() {
        _ if !has_wide_registers() => 0,
        1 => tiles::<R, 1, 128>(x, weight, y),
        2 => tiles::<R, 2, 128>(x, weight, y),
        3 => tiles::<R, 3, 128>(x, weight, y),
        4 => tiles::<R, 4, 64>(x, weight, y),
        5 => tiles::<R, 5, 64>(x, weight, y),
        6 => tiles::<R, 6, 64>(x, weight, y),
        _ => 0,
    };
    columns_from(tiled, x, weight, y);
}

/// Whether the sums of a tile, 1.5 KB of single precision, fit the vector registers: AVX-512 has 2 KB of them. With half of that, tiles
/// are no quicker than rows.
fn has_wide_registers() -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(pulp::Arch::new(), pulp::Arch::V4(_));
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// All whole tiles of `COLUMNS` outputs, whose sums stay in registers over all inputs; returns how many outputs those are.
#[inline(always)]
fn tiles<R: Real, const ROWS: usize, const COLUMNS: usize>(x: Matrix<R>, weight: &View<R, 2>, y: &mut [R]) -> usize {
    let [inputs, outputs] = weight.shape;
    let tiled = outputs - outputs % COLUMNS;
    let x: [&[R]; ROWS] = std::array::from_fn(|row| &x.row(row)[..inputs]);
    for column in (0..tiled).step_by(COLUMNS) {
        let mut sums = [[R::zero(); COLUMNS]; ROWS];
        for (sums, y) in sums.iter_mut().zip(y.chunks_exact(outputs)) {
            sums.copy_from_slice(&y[column..column + COLUMNS]);
        }
        for k in 0..inputs {
            // A tile is a part of every row, which the processor does not see coming.
            if k + AHEAD < inputs {
                prefetch(weight.row([k + AHEAD, column], COLUMNS));
            }
            let weight = weight.row([k, column], COLUMNS);
            for (sums, x) in sums.iter_mut().zip(x) {
                for (sum, &weight) in sums.iter_mut().zip(weight) {
                    *sum = weight.mul_add(x[k], *sum);
                }
            }
        }
        for (sums, y) in sums.iter().zip(y.chunks_exact_mut(outputs)) {
            y[column..column + COLUMNS].copy_from_slice(sums);
        }
    }
    tiled
}

/// The outputs from `column` on: four rows of the weight at a time, read in order.
#[inline(always)]
fn columns_from<R: Real>(column: usize, x: Matrix<R>, weight: &View<R, 2>, y: &mut [R]) {
    let [inputs, outputs] = weight.shape;
    if column == outputs {
        return;
    }
    let whole = inputs - inputs % 4;
    for k in (0..whole).step_by(4) {
        let [w0, w1, w2, w3] = [0, 1, 2, 3].map(|i| weight.row([k + i, column], outputs - column));
        for (row, y) in y.chunks_exact_mut(outputs).enumerate() {
            let x = &x.row(row)[k..k + 4];
            for ((((y, &w0), &w1), &w2), &w3) in y[column..].iter_mut().zip(w0).zip(w1).zip(w2).zip(w3) {
                *y = w3.mul_add(x[3], w2.mul_add(x[2], w1.mul_add(x[1], w0.mul_add(x[0], *y))));
            }
        }
    }
    for k in whole..inputs {
        for (row, y) in y.chunks_exact_mut(outputs).enumerate() {
            let x = x.row(row)[k];
            for (y, &w) in y[column..].iter_mut().zip(weight.row([k, column], outputs - column)) {
                *y = w.mul_add(x, *y);
            }
        }
    }
}

fn linear_backward<R: Real>(saved: LinearSaved<Flex>, grad: FloatTensor<Flex>, needs_x: bool) -> LinearGradients<Flex> {
    let LinearSaved { x, weight, y, activation, precision } = saved;
    let grad = match activation {
        Activation::Identity => viewable(grad),
        Activation::Relu | Activation::Tanh => activation_gradient::<R>(y, grad, activation),
    };
    let whole_grad = grad.clone();
    let [x, weight, grad] = [x, weight, grad].map(|factor| viewable(rounded_on_cpu::<R>(factor, precision)));
    let (x, weight, grad) = (view::<R, 2>(&x), view::<R, 2>(&weight), view::<R, 2>(&grad));
    let whole_grad = view::<R, 2>(&whole_grad);
    let ([rows, inputs], [_, outputs]) = (x.shape, weight.shape);

    let grad_x = needs_x.then(|| {
        let grad_x = made_in_chunks(rows * inputs, ROWS * inputs, false, |chunk, grad_x| {
            let grad = Matrix::of_rows(&grad, chunk * ROWS, grad_x.len() / inputs);
            product(grad_x, inputs, grad, Matrix::of_rows(&weight, 0, inputs).transposed(), R::one(), false);
        });
        tensor(grad_x, [rows, inputs])
    });

    let (x, grad) = (Matrix::of_rows(&x, 0, rows), Matrix::of_rows(&grad, 0, rows));
    let grad_bias = bias_gradient(Matrix::of_rows(&whole_grad, 0, rows));
    let grad_weight = weight_gradient(x, grad);
    LinearGradients { x: grad_x, weight: tensor(grad_weight, [inputs, outputs]), bias: tensor(grad_bias, [outputs]) }
}

/// `x^T grad` of `x`, `[rows, inputs]`, and the gradient of what it was multiplied into, `[rows, outputs]`: `[inputs, outputs]`.
pub(crate) fn weight_gradient<R: Real>(x: Matrix<R>, grad: Matrix<R>) -> Vec<R> {
    let (inputs, outputs) = (x.columns(), grad.columns());
    let x = x.transposed();
    let mut sum = vec![R::zero(); inputs * outputs];
    sum.par_chunks_mut((INPUTS * outputs).max(1)).enumerate().for_each(|(chunk, sum)| {
        product(sum, outputs, x.row_range(chunk * INPUTS, sum.len() / outputs), grad, R::one(), false);
    });
    sum
}

/// The sum over rows.
pub(crate) fn bias_gradient<R: Real>(grad: Matrix<R>) -> Vec<R> {
    let mut sums = vec![R::zero(); grad.columns()];
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, sums)| {
        vectorize(
            #[inline(always)]
            || {
                for row in 0..grad.rows() {
                    let grad = &grad.row(row)[chunk * COLUMNS..][..sums.len()];
                    for (sum, &grad) in sums.iter_mut().zip(grad) {
                        *sum += grad;
                    }
                }
            },
        );
    });
    sums
}

/// The gradient before the activation: a rectifier passes it where its input was positive, `tanh` times `1 - y^2`.
fn activation_gradient<R: Real>(y: FloatTensor<Flex>, grad: FloatTensor<Flex>, activation: Activation) -> FloatTensor<Flex> {
    let (y, grad) = (viewable(y), viewable(grad));
    let (y, grad) = (view::<R, 2>(&y), view::<R, 2>(&grad));
    let [rows, outputs] = y.shape;
    let before = made_in_chunks(rows * outputs, ROWS * outputs, false, |chunk, before| {
        for (i, before) in before.chunks_exact_mut(outputs).enumerate() {
            let row = chunk * ROWS + i;
            for ((before, &y), &grad) in before.iter_mut().zip(y.row([row, 0], outputs)).zip(grad.row([row, 0], outputs)) {
                *before = match activation {
                    Activation::Tanh => grad * (R::one() - y * y),
                    _ if y > R::zero() => grad,
                    _ => R::zero(),
                };
            }
        }
    });
    tensor(before, [rows, outputs])
}
