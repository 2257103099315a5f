//! Causal attention on a GPU: launching its kernels.

use super::tile::{SIDE, SizesLaunch, Tiling};
use super::{backward, forward};
use crate::attention::inputs::{AttentionGradients, AttentionInputs, AttentionOutputs};
use crate::cube::{address_type, array, contiguous, empty, empty_like, head_strides, innermost, row_cubes};
use crate::dropout::Dropout;
use crate::primitive::{float, primitive};
use burn::tensor::{DType, TensorMetadata, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::{client::ComputeClient, prelude::*};

/// The widest head that a unit's registers hold.
const WIDEST_HEAD: usize = 128;
/// Shared memory that a cube takes at most: more would leave a multiprocessor too few cubes.
const SHARED_BYTES: usize = 64 << 10;

/// Tiles of tokens and squares of weights that the kernels hold: forward, gradients of queries, gradients of keys.
const FORWARD: [usize; 2] = [2, 1];
const OF_QUERIES: [usize; 2] = [3, 1];
const OF_KEYS: [usize; 2] = [3, 2];

/// Whether the kernels run heads of this width on the device.
pub(crate) fn fits<R: CubeRuntime>(device: &R::CubeDevice, head_dim: usize) -> bool {
    largest_tile(&R::client(device), head_dim, OF_KEYS, false).is_some()
}

/// The largest tile that fits in shared memory; nothing if none does.
fn largest_tile<R: CubeRuntime>(
    client: &ComputeClient<R>,
    head_dim: usize,
    [tiles, squares]: [usize; 2],
    has_dropout: bool,
) -> Option<Tiling> {
    let hardware = &client.properties().hardware;
    let memory = hardware.max_shared_memory_size.min(SHARED_BYTES);
    let fits = |rows: &u32| {
        let tiling = Tiling { rows: *rows, head_dim: head_dim as u32, has_dropout };
        let floats = tiles * tiling.tile() * tiling.pitch() + squares * tiling.tile() * (tiling.tile() + 1) + 3 * tiling.tile();
        4 * floats <= memory
    };
    if head_dim > WIDEST_HEAD || hardware.max_units_per_cube < SIDE * SIDE {
        return None;
    }
    [2, 1].into_iter().find(fits).map(|rows| Tiling { rows, head_dim: head_dim as u32, has_dropout })
}

fn tiling<R: CubeRuntime>(like: &CubeTensor<R>, held: [usize; 2], has_dropout: bool) -> Option<Tiling> {
    let head_dim = like.shape().dims::<4>()[3];
    largest_tile(&like.client, head_dim, held, has_dropout)
}

fn sizes<R: CubeRuntime>([queries, keys, values, grads, outputs]: [&CubeTensor<R>; 5], dropout: Dropout) -> SizesLaunch<R> {
    let [batch, heads, query_time, head_dim] = queries.shape().dims();
    SizesLaunch::new(
        batch * heads,
        heads,
        query_time,
        keys.shape().dims::<4>()[2],
        head_strides(queries, 1),
        head_strides(keys, 1),
        head_strides(values, 1),
        head_strides(outputs, 1),
        head_strides(grads, 1),
        (1.0 / (head_dim as f64).sqrt()) as f32,
        dropout.seed as u32,
        (dropout.seed >> 32) as u32,
        dropout.threshold(),
        dropout.scale() as f32,
    )
}

fn cube_dim() -> CubeDim {
    CubeDim { x: SIDE * SIDE, y: 1, z: 1 }
}

/// Nothing if the shape is beyond the kernel.
pub(crate) fn causal_attention<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: AttentionInputs<CubeBackend<R, F, I, BT>>,
) -> Option<AttentionOutputs<CubeBackend<R, F, I, BT>>> {
    let tiling = tiling(&inputs.queries, FORWARD, inputs.dropout.is_on())?;
    let [queries, keys, values] = [inputs.queries, inputs.keys, inputs.values].map(innermost);
    let first_key = contiguous(inputs.first_key);
    let [batch, heads, query_time, _] = queries.shape().dims();
    let outputs = empty_like(&queries);
    let log_sums = empty(&queries, [batch, heads, query_time], DType::F32);
    // SAFETY: the strides and sizes are those of the tensors, whose last axes are contiguous, and [`largest_tile`] keeps cubes and
    // their shared memory within the device's limits; a unit beyond rows, tokens or `head_dim` touches nothing.
    unsafe {
        forward::forward::launch_unchecked::<R>(
            &queries.client,
            row_cubes(&queries.client, batch * heads, query_time.div_ceil(tiling.tile())),
            cube_dim(),
            address_type(&[&queries, &keys, &values, &outputs]),
            array(&queries),
            array(&keys),
            array(&values),
            array(&first_key),
            array(&outputs),
            array(&log_sums),
            sizes([&queries, &keys, &values, &queries, &outputs], inputs.dropout),
            tiling,
            first_key.dtype.into(),
        );
    }
    Some(AttentionOutputs { outputs, log_sums })
}

/// Nothing if the shape is beyond the kernels.
pub(crate) fn causal_attention_backward<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: AttentionInputs<CubeBackend<R, F, I, BT>>,
    outputs: AttentionOutputs<CubeBackend<R, F, I, BT>>,
    grad: FloatTensor<CubeBackend<R, F, I, BT>>,
) -> Option<AttentionGradients<CubeBackend<R, F, I, BT>>> {
    let of_queries = tiling(&inputs.queries, OF_QUERIES, inputs.dropout.is_on())?;
    let of_keys = tiling(&inputs.queries, OF_KEYS, inputs.dropout.is_on())?;
    let [queries, keys, values, grad] = [inputs.queries, inputs.keys, inputs.values, grad].map(innermost);
    let first_key = contiguous(inputs.first_key);
    let log_sums = contiguous(outputs.log_sums);
    let [of_grad, of_outputs] = [grad.clone(), outputs.outputs].map(float::<CubeBackend<R, F, I, BT>, 4>);
    let deltas = contiguous(primitive((of_grad * of_outputs).sum_dim(3)));
    let [batch, heads, query_time, _] = queries.shape().dims();
    let key_time = keys.shape().dims::<4>()[2];
    let query_grads = empty_like(&queries);
    let key_grads = empty_like(&keys);
    // The kernel writes both with the same offsets.
    let mut value_grads = empty_like(&keys);
    value_grads.meta = key_grads.meta.clone();
    let client = queries.client.clone();
    let address = address_type(&[&queries, &keys, &values, &grad]);
    // SAFETY: as forward; gradients have the shapes of what they are gradients of.
    unsafe {
        backward::query_gradients::launch_unchecked::<R>(
            &client,
            row_cubes(&client, batch * heads, query_time.div_ceil(of_queries.tile())),
            cube_dim(),
            address,
            array(&queries),
            array(&keys),
            array(&values),
            array(&first_key),
            array(&grad),
            array(&log_sums),
            array(&deltas),
            array(&query_grads),
            sizes([&queries, &keys, &values, &grad, &query_grads], inputs.dropout),
            of_queries,
            first_key.dtype.into(),
        );
        backward::key_gradients::launch_unchecked::<R>(
            &client,
            row_cubes(&client, batch * heads, key_time.div_ceil(of_keys.tile())),
            cube_dim(),
            address,
            array(&queries),
            array(&keys),
            array(&values),
            array(&first_key),
            array(&grad),
            array(&log_sums),
            array(&deltas),
            array(&key_grads),
            array(&value_grads),
            sizes([&queries, &keys, &values, &grad, &key_grads], inputs.dropout),
            of_keys,
            first_key.dtype.into(),
        );
    }
    Some(AttentionGradients { queries: query_grads, keys: key_grads, values: value_grads })
}
