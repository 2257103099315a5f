//! Causal attention's kernels: tiles of queries against tiles of keys, so that no more than one tile of the weights exists.
//!
//! ```text
//! S = q k^T / sqrt(d)     P = exp(S - L)     O = (P * mask) v     L = log-sum-exp of the S that a query sees
//! dP = mask * (dO v^T)    dS = P (dP - dO . O)
//! dv = (P * mask)^T dO    dq = dS k / sqrt(d)     dk = dS^T q / sqrt(d)
//! ```
//!
//! **Inputs.** `queries [batch, heads, query_time, head_dim]`, `keys` and `values [batch, heads, key_time, head_dim]` f32 with free
//! batch, head and time strides, `first_key [batch, query_time]`. The dropout mask is a function of seed and position.
//! **Who owns what.** A cube owns a tile of queries (forward, `dq`) or of keys (`dk`, `dv`) of one row (batch, head), 16 x 16 units
//! each a few rows of it and every 16th column. What it meets goes through shared memory, one tile after the other, first to
//! last: the same bits every run. Tiles that no query of the cube sees are skipped.
//! **Bytes.** Memory linear in time. A cube reads its own tile once, and keys and values (or queries and output gradients) once for
//! every tile that it owns.
//! **Accumulation.** f32, with a running maximum and sum a query. The identity is (-1e30, 0).
//! **Limits.** `head_dim` up to 128, f32; beyond that the reference runs. No tensor cores: a card's half-precision attention is faster.
//! **Versions.** (1) This one, checked on software Vulkan and not yet timed on a card.
//!
//! Source: Dao et al. 2022, arXiv:2205.14135.

use crate::{dropout::cube::is_dropped, scan::cube::EMPTY};
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
    pub query_batch: usize,
    pub query_head: usize,
    pub query_step: usize,
    pub key_batch: usize,
    pub key_head: usize,
    pub key_step: usize,
    pub value_batch: usize,
    pub value_head: usize,
    pub value_step: usize,
    /// Of outputs and of the gradient of queries.
    pub output_batch: usize,
    pub output_head: usize,
    pub output_step: usize,
    pub grad_batch: usize,
    pub grad_head: usize,
    pub grad_step: usize,
    pub scale: f32,
    pub seed_low: u32,
    pub seed_high: u32,
    pub threshold: u32,
    /// What a kept weight is multiplied by.
    pub kept: f32,
}

/// Copies a tile into shared memory; beyond the last token and the last dimension, zeros.
#[cube]
fn load(
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
fn dot(a: &SharedMemory<f32>, a_row: usize, b: &SharedMemory<f32>, b_row: usize, #[comptime] tiling: Tiling) -> f32 {
    let pitch = comptime!(tiling.pitch());
    let mut sum = 0.0f32;
    for d in 0..comptime!(tiling.head_dim as usize) {
        sum += a[a_row * pitch + d] * b[b_row * pitch + d];
    }
    sum
}

/// 0 for a dropped weight, what it is multiplied by for a kept one.
#[cube]
fn dropout_factor(sizes: &Sizes, row: usize, query: usize, key: usize, #[comptime] tiling: Tiling) -> f32 {
    let mut factor = 1.0f32;
    if comptime!(tiling.has_dropout) {
        let seed = u64::cast_from(sizes.seed_high) * 0x1_0000_0000u64 + u64::cast_from(sizes.seed_low);
        let mask_row = u64::cast_from(row * sizes.query_time + query);
        factor = select(is_dropped(seed, mask_row, u32::cast_from(key), sizes.threshold), 0.0f32, sizes.kept);
    }
    factor
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn forward<I: Numeric>(
    queries: &Array<f32>,
    keys: &Array<f32>,
    values: &Array<f32>,
    first_key: &Array<I>,
    outputs: &mut Array<f32>,
    log_sums: &mut Array<f32>,
    sizes: &Sizes,
    #[comptime] tiling: Tiling,
    #[define(I)] _type: StorageType,
) {
    let tile = comptime!(tiling.tile());
    let pitch = comptime!(tiling.pitch());
    let columns = comptime!(tiling.columns());
    let own_rows = comptime!(tiling.rows as usize);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= sizes.rows {
        terminate!();
    }
    let first_query = CUBE_POS_Z as usize * tile;
    let (batch, head) = (row / sizes.heads, row % sizes.heads);
    let unit = UNIT_POS as usize;
    let (y, x) = (unit / 16, unit % 16);
    let offset = sizes.key_time - sizes.query_time;

    let mut q = SharedMemory::<f32>::new(tile * pitch);
    let mut kv = SharedMemory::<f32>::new(tile * pitch);
    let mut p = SharedMemory::<f32>::new(tile * (tile + 1));
    let mut maxima = SharedMemory::<f32>::new(tile);
    let mut sums = SharedMemory::<f32>::new(tile);
    let mut decays = SharedMemory::<f32>::new(tile);

    load(
        queries,
        &mut q,
        batch * sizes.query_batch + head * sizes.query_head,
        sizes.query_step,
        first_query,
        sizes.query_time,
        tiling,
    );
    if unit < tile {
        maxima[unit] = EMPTY;
        sums[unit] = 0.0f32;
        decays[unit] = 1.0f32;
        p[unit] = 0.0f32;
        kv[unit] = 0.0f32;
    }
    sync_cube();
    let mut own = Array::<f32>::new(comptime!(own_rows * columns));
    #[unroll]
    for i in 0..comptime!(own_rows * columns) {
        own[i] = 0.0f32;
    }

    let last_query = min(first_query + tile, sizes.query_time) - 1;
    let from = usize::cast_from(first_key[batch * sizes.query_time + first_query]) / tile;
    let to = (offset + last_query) / tile + 1;
    for block in from..to {
        let first = block * tile;
        load(keys, &mut kv, batch * sizes.key_batch + head * sizes.key_head, sizes.key_step, first, sizes.key_time, tiling);
        sync_cube();
        #[unroll]
        for r in 0..own_rows {
            let query = first_query + y * own_rows + r;
            let mut first_seen = sizes.key_time;
            if query < sizes.query_time {
                first_seen = usize::cast_from(first_key[batch * sizes.query_time + query]);
            }
            #[unroll]
            for c in 0..own_rows {
                let key = first + x + comptime!(16 * c);
                let score = dot(&q, y * own_rows + r, &kv, x + comptime!(16 * c), tiling) * sizes.scale;
                let is_seen = key >= first_seen && key <= offset + query;
                p[(y * own_rows + r) * (tile + 1) + x + comptime!(16 * c)] = select(is_seen, score, EMPTY);
            }
        }
        sync_cube();
        load(
            values,
            &mut kv,
            batch * sizes.value_batch + head * sizes.value_head,
            sizes.value_step,
            first,
            sizes.key_time,
            tiling,
        );
        if unit < tile {
            let before = maxima[unit];
            let mut largest = before;
            for c in 0..tile {
                largest = max(largest, p[unit * (tile + 1) + c]);
            }
            let decay = (before - largest).exp();
            let mut sum = 0.0f32;
            for c in 0..tile {
                let score = p[unit * (tile + 1) + c];
                let weight = select(score <= EMPTY, 0.0f32, (score - largest).exp());
                sum += weight;
                p[unit * (tile + 1) + c] = weight * dropout_factor(sizes, row, first_query + unit, first + c, tiling);
            }
            maxima[unit] = largest;
            sums[unit] = sums[unit] * decay + sum;
            decays[unit] = decay;
        }
        sync_cube();
        #[unroll]
        for r in 0..own_rows {
            let decay = decays[y * own_rows + r];
            #[unroll]
            for c in 0..columns {
                own[comptime!(r * columns + c)] *= decay;
            }
            for k in 0..tile {
                let weight = p[(y * own_rows + r) * (tile + 1) + k];
                #[unroll]
                for c in 0..columns {
                    own[comptime!(r * columns + c)] += weight * kv[k * pitch + x + comptime!(16 * c)];
                }
            }
        }
        sync_cube();
    }

    #[unroll]
    for r in 0..own_rows {
        let local = y * own_rows + r;
        let query = first_query + local;
        if query < sizes.query_time {
            let sum = sums[local];
            let base = batch * sizes.output_batch + head * sizes.output_head + query * sizes.output_step;
            #[unroll]
            for c in 0..columns {
                let column = x + comptime!(16 * c);
                if column < comptime!(tiling.head_dim as usize) {
                    outputs[base + column] = own[comptime!(r * columns + c)] / sum;
                }
            }
            if x == 0 {
                log_sums[row * sizes.query_time + query] = maxima[local] + sum.ln();
            }
        }
    }
}

/// A weight and the gradient of its score; zero for a key that the query does not see.
#[derive(CubeType, Clone, Copy)]
struct Weight {
    /// After dropout.
    dropped: f32,
    score_grad: f32,
}

#[cube]
fn weight(
    score: f32,
    grad: f32,
    row: usize,
    query: usize,
    key: usize,
    first_seen: usize,
    log_sum: f32,
    delta: f32,
    sizes: &Sizes,
    #[comptime] tiling: Tiling,
) -> Weight {
    let offset = sizes.key_time - sizes.query_time;
    let is_seen = query < sizes.query_time && key >= first_seen && key <= offset + query;
    let mut dropped = 0.0f32;
    let mut score_grad = 0.0f32;
    if is_seen {
        let factor = dropout_factor(sizes, row, query, key, tiling);
        let p = (score - log_sum).exp();
        dropped = p * factor;
        score_grad = p * (grad * factor - delta) * sizes.scale;
    }
    Weight { dropped, score_grad }
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn query_gradients<I: Numeric>(
    queries: &Array<f32>,
    keys: &Array<f32>,
    values: &Array<f32>,
    first_key: &Array<I>,
    grads: &Array<f32>,
    log_sums: &Array<f32>,
    deltas: &Array<f32>,
    query_grads: &mut Array<f32>,
    sizes: &Sizes,
    #[comptime] tiling: Tiling,
    #[define(I)] _type: StorageType,
) {
    let tile = comptime!(tiling.tile());
    let pitch = comptime!(tiling.pitch());
    let columns = comptime!(tiling.columns());
    let own_rows = comptime!(tiling.rows as usize);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= sizes.rows {
        terminate!();
    }
    let first_query = CUBE_POS_Z as usize * tile;
    let (batch, head) = (row / sizes.heads, row % sizes.heads);
    let unit = UNIT_POS as usize;
    let (y, x) = (unit / 16, unit % 16);
    let offset = sizes.key_time - sizes.query_time;

    let mut q = SharedMemory::<f32>::new(tile * pitch);
    let mut g = SharedMemory::<f32>::new(tile * pitch);
    let mut kv = SharedMemory::<f32>::new(tile * pitch);
    let mut ds = SharedMemory::<f32>::new(tile * (tile + 1));

    load(
        queries,
        &mut q,
        batch * sizes.query_batch + head * sizes.query_head,
        sizes.query_step,
        first_query,
        sizes.query_time,
        tiling,
    );
    load(
        grads,
        &mut g,
        batch * sizes.grad_batch + head * sizes.grad_head,
        sizes.grad_step,
        first_query,
        sizes.query_time,
        tiling,
    );
    if unit < tile {
        ds[unit] = 0.0f32;
        kv[unit] = 0.0f32;
    }
    sync_cube();
    let mut own = Array::<f32>::new(comptime!(own_rows * columns));
    #[unroll]
    for i in 0..comptime!(own_rows * columns) {
        own[i] = 0.0f32;
    }
    let mut products = Array::<f32>::new(comptime!(own_rows * own_rows));

    let last_query = min(first_query + tile, sizes.query_time) - 1;
    let from = usize::cast_from(first_key[batch * sizes.query_time + first_query]) / tile;
    let to = (offset + last_query) / tile + 1;
    for block in from..to {
        let first = block * tile;
        load(
            values,
            &mut kv,
            batch * sizes.value_batch + head * sizes.value_head,
            sizes.value_step,
            first,
            sizes.key_time,
            tiling,
        );
        sync_cube();
        #[unroll]
        for r in 0..own_rows {
            #[unroll]
            for c in 0..own_rows {
                products[comptime!(r * own_rows + c)] = dot(&g, y * own_rows + r, &kv, x + comptime!(16 * c), tiling);
            }
        }
        sync_cube();
        load(keys, &mut kv, batch * sizes.key_batch + head * sizes.key_head, sizes.key_step, first, sizes.key_time, tiling);
        sync_cube();
        #[unroll]
        for r in 0..own_rows {
            let query = first_query + y * own_rows + r;
            let safe = min(query, sizes.query_time - 1);
            let first_seen = usize::cast_from(first_key[batch * sizes.query_time + safe]);
            let log_sum = log_sums[row * sizes.query_time + safe];
            let delta = deltas[row * sizes.query_time + safe];
            #[unroll]
            for c in 0..own_rows {
                let key = first + x + comptime!(16 * c);
                let score = dot(&q, y * own_rows + r, &kv, x + comptime!(16 * c), tiling) * sizes.scale;
                let grad = products[comptime!(r * own_rows + c)];
                let weight = weight(score, grad, row, query, key, first_seen, log_sum, delta, sizes, tiling);
                ds[(y * own_rows + r) * (tile + 1) + x + comptime!(16 * c)] = weight.score_grad;
            }
        }
        sync_cube();
        #[unroll]
        for r in 0..own_rows {
            for k in 0..tile {
                let score_grad = ds[(y * own_rows + r) * (tile + 1) + k];
                #[unroll]
                for c in 0..columns {
                    own[comptime!(r * columns + c)] += score_grad * kv[k * pitch + x + comptime!(16 * c)];
                }
            }
        }
        sync_cube();
    }

    #[unroll]
    for r in 0..own_rows {
        let query = first_query + y * own_rows + r;
        if query < sizes.query_time {
            let base = batch * sizes.output_batch + head * sizes.output_head + query * sizes.output_step;
            #[unroll]
            for c in 0..columns {
                let column = x + comptime!(16 * c);
                if column < comptime!(tiling.head_dim as usize) {
                    query_grads[base + column] = own[comptime!(r * columns + c)];
                }
            }
        }
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn key_gradients<I: Numeric>(
    queries: &Array<f32>,
    keys: &Array<f32>,
    values: &Array<f32>,
    first_key: &Array<I>,
    grads: &Array<f32>,
    log_sums: &Array<f32>,
    deltas: &Array<f32>,
    // Both in the layout that `sizes` gives for outputs, over key time.
    key_grads: &mut Array<f32>,
    value_grads: &mut Array<f32>,
    sizes: &Sizes,
    #[comptime] tiling: Tiling,
    #[define(I)] _type: StorageType,
) {
    let tile = comptime!(tiling.tile());
    let pitch = comptime!(tiling.pitch());
    let columns = comptime!(tiling.columns());
    let own_rows = comptime!(tiling.rows as usize);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= sizes.rows {
        terminate!();
    }
    let first = CUBE_POS_Z as usize * tile;
    let (batch, head) = (row / sizes.heads, row % sizes.heads);
    let unit = UNIT_POS as usize;
    let (y, x) = (unit / 16, unit % 16);
    let offset = sizes.key_time - sizes.query_time;

    let mut k = SharedMemory::<f32>::new(tile * pitch);
    let mut v = SharedMemory::<f32>::new(tile * pitch);
    let mut other = SharedMemory::<f32>::new(tile * pitch);
    // A row a key, a column a query.
    let mut p = SharedMemory::<f32>::new(tile * (tile + 1));
    let mut ds = SharedMemory::<f32>::new(tile * (tile + 1));

    load(keys, &mut k, batch * sizes.key_batch + head * sizes.key_head, sizes.key_step, first, sizes.key_time, tiling);
    load(values, &mut v, batch * sizes.value_batch + head * sizes.value_head, sizes.value_step, first, sizes.key_time, tiling);
    if unit < tile {
        p[unit] = 0.0f32;
        ds[unit] = 0.0f32;
        other[unit] = 0.0f32;
    }
    sync_cube();
    let mut own_k = Array::<f32>::new(comptime!(own_rows * columns));
    let mut own_v = Array::<f32>::new(comptime!(own_rows * columns));
    #[unroll]
    for i in 0..comptime!(own_rows * columns) {
        own_k[i] = 0.0f32;
        own_v[i] = 0.0f32;
    }
    let mut scores = Array::<f32>::new(comptime!(own_rows * own_rows));

    // Queries from the first that sees the first key on.
    let mut from = 0usize;
    if first > offset {
        from = (first - offset) / tile;
    }
    let to = sizes.query_time.div_ceil(tile);
    for block in from..to {
        let first_query = block * tile;
        // First keys never decrease: later queries see none of these keys either, if the first of the tile does not.
        let is_seen = usize::cast_from(first_key[batch * sizes.query_time + first_query]) < first + tile;
        if is_seen {
            let query_base = batch * sizes.query_batch + head * sizes.query_head;
            load(queries, &mut other, query_base, sizes.query_step, first_query, sizes.query_time, tiling);
            sync_cube();
            #[unroll]
            for r in 0..own_rows {
                #[unroll]
                for c in 0..own_rows {
                    let score = dot(&k, y * own_rows + r, &other, x + comptime!(16 * c), tiling) * sizes.scale;
                    scores[comptime!(r * own_rows + c)] = score;
                }
            }
            sync_cube();
            load(
                grads,
                &mut other,
                batch * sizes.grad_batch + head * sizes.grad_head,
                sizes.grad_step,
                first_query,
                sizes.query_time,
                tiling,
            );
            sync_cube();
            #[unroll]
            for c in 0..own_rows {
                let query = first_query + x + comptime!(16 * c);
                let safe = min(query, sizes.query_time - 1);
                let first_seen = usize::cast_from(first_key[batch * sizes.query_time + safe]);
                let log_sum = log_sums[row * sizes.query_time + safe];
                let delta = deltas[row * sizes.query_time + safe];
                #[unroll]
                for r in 0..own_rows {
                    let key = first + y * own_rows + r;
                    let grad = dot(&v, y * own_rows + r, &other, x + comptime!(16 * c), tiling);
                    let score = scores[comptime!(r * own_rows + c)];
                    let weight = weight(score, grad, row, query, key, first_seen, log_sum, delta, sizes, tiling);
                    p[(y * own_rows + r) * (tile + 1) + x + comptime!(16 * c)] = weight.dropped;
                    ds[(y * own_rows + r) * (tile + 1) + x + comptime!(16 * c)] = weight.score_grad;
                }
            }
            sync_cube();
            #[unroll]
            for r in 0..own_rows {
                for i in 0..tile {
                    let weight = p[(y * own_rows + r) * (tile + 1) + i];
                    #[unroll]
                    for c in 0..columns {
                        own_v[comptime!(r * columns + c)] += weight * other[i * pitch + x + comptime!(16 * c)];
                    }
                }
            }
            sync_cube();
            load(queries, &mut other, query_base, sizes.query_step, first_query, sizes.query_time, tiling);
            sync_cube();
            #[unroll]
            for r in 0..own_rows {
                for i in 0..tile {
                    let score_grad = ds[(y * own_rows + r) * (tile + 1) + i];
                    #[unroll]
                    for c in 0..columns {
                        own_k[comptime!(r * columns + c)] += score_grad * other[i * pitch + x + comptime!(16 * c)];
                    }
                }
            }
            sync_cube();
        }
    }

    #[unroll]
    for r in 0..own_rows {
        let key = first + y * own_rows + r;
        if key < sizes.key_time {
            let base = batch * sizes.output_batch + head * sizes.output_head + key * sizes.output_step;
            #[unroll]
            for c in 0..columns {
                let column = x + comptime!(16 * c);
                if column < comptime!(tiling.head_dim as usize) {
                    key_grads[base + column] = own_k[comptime!(r * columns + c)];
                    value_grads[base + column] = own_v[comptime!(r * columns + c)];
                }
            }
        }
    }
}
