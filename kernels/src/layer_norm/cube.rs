//! Layer normalization on a GPU: a launch forward, a launch and two sums backward.
//!
//! ```text
//! n = (x - mean) / sqrt(variance + epsilon)          y = n gain + bias
//! dx = (g - mean(g) - n mean(g n)) / sqrt(variance + epsilon)      g = dy gain
//! dgain = sum over rows of dy n                      dbias = sum over rows of dy
//! ```
//!
//! **Inputs.** `x`, `dy` `[rows, width]` contiguous, `gain`, `bias` `[width]`.
//! **Who owns what.** A cube owns a row, its units every [`UNITS`]-th column; sums over the row through shared memory, units in order
//! of a tree.
//! **Bytes.** Forward: x once from memory (twice more from the cache), y once. Backward: x and dy once, dx and `dy n` once; the sums
//! over rows are Burn's reductions.
//! **Accumulation.** f32; the variance is of centred numbers.
//! **Versions.** (1) This one, checked on software Vulkan and not yet timed on a GPU.

use super::inputs::{EPSILON, LayerNormGradients};
use super::ops::LayerNormOps;
use super::reference;
use crate::cube::self_check::{is_trusted, serves};
use crate::cube::{Grid, array, column_sums, contiguous, cube_sum, empty, self_check};
use crate::primitive::{float, primitive};
use burn::backend::Flex;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Device, TensorMetadata};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

/// Units of a cube: a power of two, and whole planes (software Vulkan computes wrongly with parts of one).
const UNITS: u32 = 64;

#[cube(launch_unchecked, address_type = "dynamic")]
fn forward<E: Float>(
    x: &Array<E>,
    gain: &Array<E>,
    bias: &Array<E>,
    y: &mut Array<E>,
    rows: usize,
    width: usize,
    epsilon: f32,
    #[comptime] units: u32,
    #[define(E)] _type: StorageType,
) {
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= rows {
        terminate!();
    }
    let mut shared = SharedMemory::<f32>::new(comptime!(units as usize));
    let unit = UNIT_POS as usize;
    let base = row * width;
    let own = (width + comptime!(units as usize - 1) - unit) / comptime!(units as usize);
    let mut sum = 0.0f32;
    for i in 0..own {
        sum += f32::cast_from(x[base + unit + i * comptime!(units as usize)]);
    }
    let mean = cube_sum(sum, &mut shared, units) / f32::cast_from(width as u32);
    let mut squares = 0.0f32;
    for i in 0..own {
        let centred = f32::cast_from(x[base + unit + i * comptime!(units as usize)]) - mean;
        squares += centred * centred;
    }
    let variance = cube_sum(squares, &mut shared, units) / f32::cast_from(width as u32);
    let standard_deviation = (variance + epsilon).sqrt();
    for i in 0..own {
        let column = unit + i * comptime!(units as usize);
        let normal = (f32::cast_from(x[base + column]) - mean) / standard_deviation;
        y[base + column] = E::cast_from(normal * f32::cast_from(gain[column]) + f32::cast_from(bias[column]));
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn backward<E: Float>(
    x: &Array<E>,
    gain: &Array<E>,
    grad: &Array<E>,
    x_grad: &mut Array<E>,
    gain_grads: &mut Array<E>,
    rows: usize,
    width: usize,
    epsilon: f32,
    #[comptime] units: u32,
    #[define(E)] _type: StorageType,
) {
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= rows {
        terminate!();
    }
    let mut shared = SharedMemory::<f32>::new(comptime!(units as usize));
    let unit = UNIT_POS as usize;
    let base = row * width;
    let count = f32::cast_from(width as u32);
    let own = (width + comptime!(units as usize - 1) - unit) / comptime!(units as usize);
    let mut sum = 0.0f32;
    for i in 0..own {
        sum += f32::cast_from(x[base + unit + i * comptime!(units as usize)]);
    }
    let mean = cube_sum(sum, &mut shared, units) / count;
    let mut squares = 0.0f32;
    for i in 0..own {
        let centred = f32::cast_from(x[base + unit + i * comptime!(units as usize)]) - mean;
        squares += centred * centred;
    }
    let standard_deviation = (cube_sum(squares, &mut shared, units) / count + epsilon).sqrt();
    let mut grads = 0.0f32;
    let mut products = 0.0f32;
    for i in 0..own {
        let column = unit + i * comptime!(units as usize);
        let normal = (f32::cast_from(x[base + column]) - mean) / standard_deviation;
        let upstream = f32::cast_from(grad[base + column]);
        let g = upstream * f32::cast_from(gain[column]);
        grads += g;
        products += g * normal;
        gain_grads[base + column] = E::cast_from(upstream * normal);
    }
    let grad_mean = cube_sum(grads, &mut shared, units) / count;
    let product_mean = cube_sum(products, &mut shared, units) / count;
    for i in 0..own {
        let column = unit + i * comptime!(units as usize);
        let normal = (f32::cast_from(x[base + column]) - mean) / standard_deviation;
        let g = f32::cast_from(grad[base + column]) * f32::cast_from(gain[column]);
        x_grad[base + column] = E::cast_from((g - grad_mean - normal * product_mean) / standard_deviation);
    }
}

fn layer_norm<R: CubeRuntime>(x: CubeTensor<R>, gain: CubeTensor<R>, bias: CubeTensor<R>) -> CubeTensor<R> {
    let (x, gain, bias) = (contiguous(x), contiguous(gain), contiguous(bias));
    let [rows, width] = x.shape().dims();
    let y = empty(&x, [rows, width], x.dtype);
    // SAFETY: a cube checks its row and a unit stays below `width`; the arrays are `rows x width` or, gain and bias, `width` long.
    unsafe {
        forward::launch_unchecked::<R>(
            &x.client,
            Grid::rows(&x.client, rows, 1).count,
            CubeDim { x: UNITS, y: 1, z: 1 },
            x.required_address_type(),
            array(&x),
            array(&gain),
            array(&bias),
            array(&y),
            rows,
            width,
            EPSILON as f32,
            UNITS,
            x.dtype.into(),
        );
    }
    y
}

fn layer_norm_backward<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    x: CubeTensor<R>,
    gain: CubeTensor<R>,
    grad: CubeTensor<R>,
) -> LayerNormGradients<CubeBackend<R, F, I, BT>> {
    let (x, gain, grad) = (contiguous(x), contiguous(gain), contiguous(grad));
    let [rows, width] = x.shape().dims();
    let x_grad = empty(&x, [rows, width], x.dtype);
    let gain_grads = empty(&x, [rows, width], x.dtype);
    // SAFETY: a cube checks its row and a unit stays below `width`; the arrays are `rows x width` or, gain and bias, `width` long.
    unsafe {
        backward::launch_unchecked::<R>(
            &x.client,
            Grid::rows(&x.client, rows, 1).count,
            CubeDim { x: UNITS, y: 1, z: 1 },
            x.required_address_type(),
            array(&x),
            array(&gain),
            array(&grad),
            array(&x_grad),
            array(&gain_grads),
            rows,
            width,
            EPSILON as f32,
            UNITS,
            x.dtype.into(),
        );
    }
    let over_rows = |tensor| primitive(column_sums(float::<CubeBackend<R, F, I, BT>, 2>(tensor)));
    LayerNormGradients { x: x_grad, gain: over_rows(gain_grads), bias: over_rows(grad) }
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> LayerNormOps for CubeBackend<R, F, I, BT> {
    fn has_backward(device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype) && is_trusted::<Self>("layer normalization", device, results::<Self>, results::<Flex>)
    }

    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        if Self::has_backward(&x.device, x.dtype) {
            layer_norm(x, gain, bias)
        } else {
            reference::layer_norm::<Self>(x, gain, bias)
        }
    }

    fn layer_norm_backward(x: FloatTensor<Self>, gain: FloatTensor<Self>, grad: FloatTensor<Self>) -> LayerNormGradients<Self> {
        if Self::has_backward(&x.device, x.dtype) {
            layer_norm_backward(x, gain, grad)
        } else {
            reference::layer_norm_backward(x, gain, grad)
        }
    }
}

fn results<B: LayerNormOps>(device: &Device<B>) -> Vec<f64> {
    let matrix = |step: f64| self_check::tensor::<B, 2>([3, 37], step, device);
    let vector = |step: f64| self_check::tensor::<B, 1>([37], step, device);
    let (x, gain) = (matrix(0.7), vector(0.4));
    let y = B::layer_norm_rows(x.clone(), gain.clone(), vector(1.9));
    let gradients = B::layer_norm_backward(x, gain, matrix(1.1));
    self_check::read::<B>([y, gradients.x, gradients.gain, gradients.bias])
}
