//! Causal attention's gradients; [`super::forward`] says who owns what.

use super::tile::{Sizes, Tiling, add_product, dot, dropout_factor, load, store, zeros};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

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
    let grad_base = sizes.grads.base(batch, head);
    let unit = UNIT_POS as usize;
    let (y, x) = (unit / 16, unit % 16);
    let offset = sizes.key_time - sizes.query_time;

    let mut q = SharedMemory::<f32>::new(tile * pitch);
    let mut g = SharedMemory::<f32>::new(tile * pitch);
    let mut kv = SharedMemory::<f32>::new(tile * pitch);
    let mut ds = SharedMemory::<f32>::new(tile * (tile + 1));

    load(queries, &mut q, query_base, sizes.queries.time, first_query, sizes.query_time, tiling);
    load(grads, &mut g, grad_base, sizes.grads.time, first_query, sizes.query_time, tiling);
    if unit < tile {
        ds[unit] = 0.0f32;
        kv[unit] = 0.0f32;
    }
    sync_cube();
    let mut own = zeros(tiling);
    let mut products = Array::<f32>::new(comptime!(own_rows * own_rows));

    let last_query = min(first_query + tile, sizes.query_time) - 1;
    let from = usize::cast_from(first_key[batch * sizes.query_time + first_query]) / tile;
    let to = (offset + last_query) / tile + 1;
    for block in from..to {
        let first = block * tile;
        load(values, &mut kv, value_base, sizes.values.time, first, sizes.key_time, tiling);
        sync_cube();
        #[unroll]
        for r in 0..own_rows {
            #[unroll]
            for c in 0..own_rows {
                products[comptime!(r * own_rows + c)] = dot(&g, y * own_rows + r, &kv, x + comptime!(16 * c), tiling);
            }
        }
        sync_cube();
        load(keys, &mut kv, key_base, sizes.keys.time, first, sizes.key_time, tiling);
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
        add_product(&mut own, &ds, &kv, y, x, tiling);
        sync_cube();
    }

    #[unroll]
    for r in 0..own_rows {
        let query = first_query + y * own_rows + r;
        if query < sizes.query_time {
            let base = sizes.outputs.base(batch, head) + query * sizes.outputs.time;
            store(&own, r, query_grads, base, x, tiling);
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
    let own_rows = comptime!(tiling.rows as usize);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= sizes.rows {
        terminate!();
    }
    let first = CUBE_POS_Z as usize * tile;
    let (batch, head) = (row / sizes.heads, row % sizes.heads);
    let query_base = sizes.queries.base(batch, head);
    let key_base = sizes.keys.base(batch, head);
    let value_base = sizes.values.base(batch, head);
    let grad_base = sizes.grads.base(batch, head);
    let unit = UNIT_POS as usize;
    let (y, x) = (unit / 16, unit % 16);
    let offset = sizes.key_time - sizes.query_time;

    let mut k = SharedMemory::<f32>::new(tile * pitch);
    let mut v = SharedMemory::<f32>::new(tile * pitch);
    let mut other = SharedMemory::<f32>::new(tile * pitch);
    // A row a key, a column a query.
    let mut p = SharedMemory::<f32>::new(tile * (tile + 1));
    let mut ds = SharedMemory::<f32>::new(tile * (tile + 1));

    load(keys, &mut k, key_base, sizes.keys.time, first, sizes.key_time, tiling);
    load(values, &mut v, value_base, sizes.values.time, first, sizes.key_time, tiling);
    if unit < tile {
        p[unit] = 0.0f32;
        ds[unit] = 0.0f32;
        other[unit] = 0.0f32;
    }
    sync_cube();
    let mut own_k = zeros(tiling);
    let mut own_v = zeros(tiling);
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
            load(queries, &mut other, query_base, sizes.queries.time, first_query, sizes.query_time, tiling);
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
            load(grads, &mut other, grad_base, sizes.grads.time, first_query, sizes.query_time, tiling);
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
            add_product(&mut own_v, &p, &other, y, x, tiling);
            sync_cube();
            load(queries, &mut other, query_base, sizes.queries.time, first_query, sizes.query_time, tiling);
            sync_cube();
            add_product(&mut own_k, &ds, &other, y, x, tiling);
            sync_cube();
        }
    }

    #[unroll]
    for r in 0..own_rows {
        let key = first + y * own_rows + r;
        if key < sizes.key_time {
            let base = sizes.outputs.base(batch, head) + key * sizes.outputs.time;
            store(&own_k, r, key_grads, base, x, tiling);
            store(&own_v, r, value_grads, base, x, tiling);
        }
    }
}
