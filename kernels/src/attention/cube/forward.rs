//! Causal attention's kernels, this one and those of [`super::backward`]: tiles of queries against tiles of keys, so that no more
//! than one tile of the weights exists.
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
//! **Limits.** `head_dim` up to 128, f32; beyond that the reference runs. No tensor cores: a GPU's half-precision attention is faster.
//! **Versions.** (1) This one, checked on software Vulkan and not yet timed on a GPU.
//!
//! Source: Dao et al. 2022, arXiv:2205.14135.

use super::tile::{Sizes, Tiling, add_product, dot, dropout_factor, load, zeros};
use crate::cube::EMPTY;
use burn_cubecl::cubecl;
use cubecl::prelude::*;

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
    let query_base = sizes.queries.base(batch, head);
    let key_base = sizes.keys.base(batch, head);
    let value_base = sizes.values.base(batch, head);
    let unit = UNIT_POS as usize;
    let (y, x) = (unit / 16, unit % 16);
    let offset = sizes.key_time - sizes.query_time;

    let mut q = SharedMemory::<f32>::new(tile * pitch);
    let mut kv = SharedMemory::<f32>::new(tile * pitch);
    let mut p = SharedMemory::<f32>::new(tile * (tile + 1));
    let mut maxima = SharedMemory::<f32>::new(tile);
    let mut sums = SharedMemory::<f32>::new(tile);
    let mut decays = SharedMemory::<f32>::new(tile);

    load(queries, &mut q, query_base, sizes.queries.time, first_query, sizes.query_time, tiling);
    if unit < tile {
        maxima[unit] = EMPTY;
        sums[unit] = 0.0f32;
        decays[unit] = 1.0f32;
        p[unit] = 0.0f32;
        kv[unit] = 0.0f32;
    }
    sync_cube();
    let mut own = zeros(tiling);

    let last_query = min(first_query + tile, sizes.query_time) - 1;
    let from = usize::cast_from(first_key[batch * sizes.query_time + first_query]) / tile;
    let to = (offset + last_query) / tile + 1;
    for block in from..to {
        let first = block * tile;
        load(keys, &mut kv, key_base, sizes.keys.time, first, sizes.key_time, tiling);
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
        load(values, &mut kv, value_base, sizes.values.time, first, sizes.key_time, tiling);
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
        }
        add_product(&mut own, &p, &kv, y, x, tiling);
        sync_cube();
    }

    #[unroll]
    for r in 0..own_rows {
        let local = y * own_rows + r;
        let query = first_query + local;
        if query < sizes.query_time {
            let sum = sums[local];
            let base = sizes.outputs.base(batch, head) + query * sizes.outputs.time;
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
