//! Layer normalization on the CPU: a row at a time, backward from the input alone (mean and standard deviation are cheaper to
//! recompute than to keep).
//!
//! ```text
//! n = (x - mean) r,  r = 1 / sqrt(variance + eps),  g = dy gain
//! dx = r (g - mean(g) - n mean(g n))       dgain = sum of dy n       dbias = sum of dy
//! ```

use super::inputs::{EPSILON, LayerNormGradients};
use super::ops::LayerNormOps;
use super::reference;
use crate::cpu::{Real, by_float, dot, made_in_chunks, made_in_pairs, serves, tensor, vectorize, view, viewable};
use burn::tensor::{DType, Device, ops::FloatTensor};
use burn_flex::Flex;

/// Rows that one task takes. Fixed, so that the order of every sum is.
const ROWS: usize = 128;
/// Below this many elements one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 14;

impl LayerNormOps for Flex {
    fn has_backward(_device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype)
    }

    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        by_float!(x.dtype(), R => layer_norm::<R>(x, gain, bias), _ => reference::layer_norm::<Self>(x, gain, bias))
    }

    fn layer_norm_backward(x: FloatTensor<Self>, gain: FloatTensor<Self>, grad: FloatTensor<Self>) -> LayerNormGradients<Self> {
        by_float!(x.dtype(), R => layer_norm_backward::<R>(x, gain, grad), _ => reference::layer_norm_backward(x, gain, grad))
    }
}

/// Mean of a row, and `1 / sqrt(variance + eps)`.
#[inline(always)]
fn moments<R: Real>(row: &[R], ones: &[R]) -> (R, R) {
    let width = R::from(row.len()).expect("a width is a number");
    let mean = dot(row, ones) / width;
    // Two passes: `E[x^2] - E[x]^2` cancels when the mean is large. The row is in the cache.
    let mut variance = [R::zero(); 16];
    let lanes = row.chunks_exact(16);
    let tail: R = lanes.remainder().iter().map(|&x| (x - mean) * (x - mean)).sum();
    for x in lanes {
        for lane in 0..16 {
            variance[lane] = (x[lane] - mean).mul_add(x[lane] - mean, variance[lane]);
        }
    }
    let variance = (variance.into_iter().sum::<R>() + tail) / width;
    (mean, R::one() / (variance + R::from(EPSILON).expect("epsilon is a number")).sqrt())
}

fn layer_norm<R: Real>(x: FloatTensor<Flex>, gain: FloatTensor<Flex>, bias: FloatTensor<Flex>) -> FloatTensor<Flex> {
    let (x, gain, bias) = (viewable(x), viewable(gain), viewable(bias));
    let (x, gain, bias) = (view::<R, 2>(&x), view::<R, 1>(&gain), view::<R, 1>(&bias));
    let [rows, width] = x.shape;
    let (gain, bias, ones) = (gain.row([0], width), bias.row([0], width), vec![R::one(); width]);
    let y = made_in_chunks(rows * width, ROWS * width, rows * width < SEQUENTIAL_BELOW, |chunk, y: &mut [R]| {
        vectorize(
            #[inline(always)]
            || {
                for (i, y) in y.chunks_exact_mut(width).enumerate() {
                    let x = x.row([chunk * ROWS + i, 0], width);
                    let (mean, scale) = moments(x, &ones);
                    for (((y, &x), &gain), &bias) in y.iter_mut().zip(x).zip(gain).zip(bias) {
                        *y = ((x - mean) * scale).mul_add(gain, bias);
                    }
                }
            },
        );
    });
    tensor(y, [rows, width])
}

fn layer_norm_backward<R: Real>(
    x: FloatTensor<Flex>,
    gain: FloatTensor<Flex>,
    grad: FloatTensor<Flex>,
) -> LayerNormGradients<Flex> {
    let (x, gain, grad) = (viewable(x), viewable(gain), viewable(grad));
    let (x, gain, grad) = (view::<R, 2>(&x), view::<R, 1>(&gain), view::<R, 2>(&grad));
    let [rows, width] = x.shape;
    let (gain, ones) = (gain.row([0], width), vec![R::one(); width]);
    let inverse_width = R::one() / R::from(width).expect("a width is a number");

    // And every block's own sums over its rows, added in order afterwards: [2, width] a block, gain's then bias's.
    let counts = [rows * width, rows.div_ceil(ROWS) * 2 * width];
    let (grad_x, sums) = made_in_pairs(counts, [ROWS * width, 2 * width], false, |chunk, grad_x: &mut [R], sums: &mut [R]| {
        let (gain_sum, bias_sum) = sums.split_at_mut(width);
        vectorize(
            #[inline(always)]
            || {
                let mut normal = vec![R::zero(); width];
                let mut scaled = vec![R::zero(); width];
                for (i, grad_x) in grad_x.chunks_exact_mut(width).enumerate() {
                    let row = chunk * ROWS + i;
                    let (x, grad) = (x.row([row, 0], width), grad.row([row, 0], width));
                    let (mean, scale) = moments(x, &ones);
                    for column in 0..width {
                        normal[column] = (x[column] - mean) * scale;
                        scaled[column] = grad[column] * gain[column];
                        gain_sum[column] = grad[column].mul_add(normal[column], gain_sum[column]);
                        bias_sum[column] += grad[column];
                    }
                    let mean_scaled = dot(&scaled, &ones) * inverse_width;
                    let mean_product = dot(&scaled, &normal) * inverse_width;
                    for column in 0..width {
                        grad_x[column] = scale * (scaled[column] - mean_scaled - normal[column] * mean_product);
                    }
                }
            },
        );
    });
    let mut totals = vec![R::zero(); 2 * width];
    for block in sums.chunks_exact((2 * width).max(1)) {
        for (total, &sum) in totals.iter_mut().zip(block) {
            *total += sum;
        }
    }
    let bias = totals.split_off(width);
    LayerNormGradients { x: tensor(grad_x, [rows, width]), gain: tensor(totals, [width]), bias: tensor(bias, [width]) }
}
