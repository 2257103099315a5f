//! Tiles of tokens: their sizes, and what both passes do with them.

use crate::cube::HeadStrides;
use crate::dropout::is_dropped;
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// Units along each side of a cube.
pub(crate) const SIDE: u32 = 16;

/// How a kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tiling {
    /// Rows that a unit owns, and with [`SIDE`] the tokens of a tile.
    pub rows: u32,
    pub head_dim: u32,
    pub has_dropout: bool,
}

impl Tiling {
    pub fn tile(self) -> usize {
        (self.rows * SIDE) as usize
    }

    /// Columns of `head_dim` that a unit owns.
    pub fn columns(self) -> usize {
        (self.head_dim.div_ceil(SIDE)) as usize
    }

    /// Floats of a row in shared memory: one more than a multiple of 16, so that rows begin in different banks.
    pub fn pitch(self) -> usize {
        self.columns() * SIDE as usize + 1
    }
}

/// Sizes and strides, in elements.
#[derive(CubeLaunch, CubeType)]
pub(crate) struct Sizes {
    pub rows: usize,
    pub heads: usize,
    pub query_time: usize,
    pub key_time: usize,
    pub queries: HeadStrides,
    pub keys: HeadStrides,
    pub values: HeadStrides,
    /// Of outputs, or of what the gradients are of.
    pub outputs: HeadStrides,
    pub grads: HeadStrides,
    pub scale: f32,
    pub seed_low: u32,
    pub seed_high: u32,
    pub threshold: u32,
    /// What a kept weight is multiplied by.
    pub kept: f32,
}

/// Copies a tile into shared memory; beyond the last token and the last dimension, zeros.
#[cube]
pub(crate) fn load(
    from: &Array<f32>,
    to: &mut SharedMemory<f32>,
    base: usize,
    step: usize,
    first: usize,
    time: usize,
    #[comptime] tiling: Tiling,
) {
    let pitch = comptime!(tiling.pitch());
    let width = comptime!(tiling.columns() * SIDE as usize);
    let count = comptime!(tiling.tile() * tiling.columns() * SIDE as usize / 256);
    for i in 0..count {
        let index = UNIT_POS as usize + i * 256;
        let row = index / width;
        let column = index % width;
        let token = first + row;
        let mut element = 0.0f32;
        if token < time && column < comptime!(tiling.head_dim as usize) {
            element = from[base + token * step + column];
        }
        to[row * pitch + column] = element;
    }
}

/// A dot product of two rows in shared memory.
#[cube]
pub(crate) fn dot(a: &SharedMemory<f32>, a_row: usize, b: &SharedMemory<f32>, b_row: usize, #[comptime] tiling: Tiling) -> f32 {
    let pitch = comptime!(tiling.pitch());
    let mut sum = 0.0f32;
    for d in 0..comptime!(tiling.head_dim as usize) {
        sum += a[a_row * pitch + d] * b[b_row * pitch + d];
    }
    sum
}

/// What a unit owns of an output, zeros: its rows, of every row its columns.
#[cube]
pub(crate) fn zeros(#[comptime] tiling: Tiling) -> Array<f32> {
    let count = comptime!(tiling.rows as usize * tiling.columns());
    let mut own = Array::<f32>::new(count);
    #[unroll]
    for i in 0..count {
        own[i] = 0.0f32;
    }
    own
}

/// Adds the product of weights, a row for every row that a unit owns, with a tile.
#[cube]
pub(crate) fn add_product(
    own: &mut Array<f32>,
    weights: &SharedMemory<f32>,
    rows: &SharedMemory<f32>,
    y: usize,
    x: usize,
    #[comptime] tiling: Tiling,
) {
    let tile = comptime!(tiling.tile());
    let pitch = comptime!(tiling.pitch());
    let columns = comptime!(tiling.columns());
    let own_rows = comptime!(tiling.rows as usize);
    #[unroll]
    for r in 0..own_rows {
        for k in 0..tile {
            let weight = weights[(y * own_rows + r) * (tile + 1) + k];
            #[unroll]
            for c in 0..columns {
                own[comptime!(r * columns + c)] += weight * rows[k * pitch + x + comptime!(16 * c)];
            }
        }
    }
}

/// Writes one of the rows that a unit owns.
#[cube]
pub(crate) fn store(own: &Array<f32>, row: usize, to: &mut Array<f32>, base: usize, x: usize, #[comptime] tiling: Tiling) {
    let columns = comptime!(tiling.columns());
    #[unroll]
    for c in 0..columns {
        let column = x + comptime!(16 * c);
        if column < comptime!(tiling.head_dim as usize) {
            to[base + column] = own[row * columns + c];
        }
    }
}

/// 0 for a dropped weight, what it is multiplied by for a kept one.
#[cube]
pub(crate) fn dropout_factor(sizes: &Sizes, row: usize, query: usize, key: usize, #[comptime] tiling: Tiling) -> f32 {
    let mut factor = 1.0f32;
    if comptime!(tiling.has_dropout) {
        let seed = u64::cast_from(sizes.seed_high) * 0x1_0000_0000u64 + u64::cast_from(sizes.seed_low);
        let mask_row = u64::cast_from(row * sizes.query_time + query);
        factor = select(is_dropped(seed, mask_row, u32::cast_from(key), sizes.threshold), 0.0f32, sizes.kept);
    }
    factor
}
