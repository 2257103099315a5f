//! Dropout on a GPU.
//!
//! ```text
//! y = residual + kept(row, column) ? branch / (1 - probability) : 0
//! ```
//!
//! **Inputs.** `residual` and `branch`, `[rows, width]` contiguous; the mask is a function of the seed, as on the CPU bit for bit.
//! **Who owns what.** A unit owns an element; nothing is shared.
//! **Bytes.** Branch and residual read once, output written once; no mask in memory.
//! **Limits.** Below 2^32 columns; a device without 64-bit integers runs the reference.
//! **Versions.** (1) This one, checked on software Vulkan and not yet timed on a GPU.

use super::{mask::Dropout, ops::DropoutOps, reference};
use crate::cube::self_check::{is_trusted, serves};
use crate::cube::{array, contiguous, elements, empty, self_check};
use burn::backend::Flex;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Device, TensorMetadata};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

/// [`Dropout::row_key`], [`super::mask::column_hash`] and the comparison.
#[cube]
pub(crate) fn is_dropped(seed: u64, row: u64, column: u32, threshold: u32) -> bool {
    let mut z = seed + (row + 1u64) * 0x9e37_79b9_7f4a_7c15u64;
    z = (z ^ (z >> 30u64)) * 0xbf58_476d_1ce4_e5b9u64;
    z = (z ^ (z >> 27u64)) * 0x94d0_49bb_1331_11ebu64;
    let key = u32::cast_from(z ^ (z >> 31u64));
    let mut x = key ^ (column * 0x9e37_79b9u32);
    x = (x ^ (x >> 16u32)) * 0x7feb_352du32;
    x = (x ^ (x >> 15u32)) * 0x846c_a68bu32;
    (x ^ (x >> 16u32)) < threshold
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn dropout_kernel<E: Float>(
    residual: &Array<E>,
    branch: &Array<E>,
    output: &mut Array<E>,
    count: usize,
    width: usize,
    seed_low: u32,
    seed_high: u32,
    threshold: u32,
    scale: f32,
    #[comptime] has_residual: bool,
    #[define(E)] _type: StorageType,
) {
    let index = ABSOLUTE_POS;
    if index >= count {
        terminate!();
    }
    let seed = u64::cast_from(seed_high) * 0x1_0000_0000u64 + u64::cast_from(seed_low);
    let row = u64::cast_from(index / width);
    let column = u32::cast_from(index % width);
    let mut y = 0.0f32;
    if comptime!(has_residual) {
        y = f32::cast_from(residual[index]);
    }
    if !is_dropped(seed, row, column, threshold) {
        y += f32::cast_from(branch[index]) * scale;
    }
    output[index] = E::cast_from(y);
}

/// `residual + dropout(branch)`, or the dropped branch alone.
fn dropout_add<R: CubeRuntime>(residual: Option<CubeTensor<R>>, branch: CubeTensor<R>, dropout: Dropout) -> CubeTensor<R> {
    let branch = contiguous(branch);
    let residual = residual.map(contiguous);
    let [rows, width] = branch.shape().dims();
    let output = empty(&branch, [rows, width], branch.dtype);
    let (count, dim) = elements(&branch.client, rows * width);
    // SAFETY: a unit checks its index against `count`, which is the number of elements of every array.
    unsafe {
        dropout_kernel::launch_unchecked::<R>(
            &branch.client,
            count,
            dim,
            branch.required_address_type(),
            array(residual.as_ref().unwrap_or(&branch)),
            array(&branch),
            array(&output),
            rows * width,
            width,
            dropout.seed as u32,
            (dropout.seed >> 32) as u32,
            dropout.threshold(),
            dropout.scale() as f32,
            residual.is_some(),
            branch.dtype.into(),
        );
    }
    output
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> DropoutOps for CubeBackend<R, F, I, BT> {
    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if runs::<Self>(&branch.device, branch.dtype) {
            dropout_add(Some(residual), branch, dropout)
        } else {
            reference::dropout_add::<Self>(residual, branch, dropout)
        }
    }

    fn dropout_backward(grad: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if runs::<Self>(&grad.device, grad.dtype) {
            dropout_add(None, grad, dropout)
        } else {
            reference::masked::<Self>(grad, dropout)
        }
    }
}

fn runs<B: DropoutOps>(device: &Device<B>, dtype: DType) -> bool {
    serves(dtype) && is_trusted::<B>("dropout", device, results::<B>, results::<Flex>)
}

fn results<B: DropoutOps>(device: &Device<B>) -> Vec<f64> {
    let tensor = |step: f64| self_check::tensor::<B, 2>([3, 37], step, device);
    let dropout = Dropout { probability: 0.4, seed: 0x1234_5678_9abc_def0 };
    self_check::read::<B>([B::dropout_add(tensor(0.7), tensor(1.1), dropout)])
}
