//! The scan's backward kernel: one pass over time, in reverse.
//!
//! ```text
//! R_t = dO_t + keep_{t+1} R_{t+1}        D_t = dO_t * o_t + keep_{t+1} D_{t+1}      (D a vector, element by element)
//! dv_t = take_t R_t                      ds_t = take_t sum_over_head_dim(R_t * v_t - D_t)
//! do_0 = keep_1 R_1                      dL_0 = keep_1 sum_over_head_dim(R_1 * o_0 - D_1)
//! ```
//!
//! **Inputs.** Those of the forward kernel, its outputs and log-sums, and the gradient of the outputs. **Outputs.** Gradients of
//! scores (f32), values (as the values), and of the carry (f32); or, where the kernel summarizes segments, what the segment before
//! needs: `R`, `D` and the product of the gates.
//!
//! **Who owns what.** As forward: a cube walks one segment of one row, last tile first; lanes along `head_dim`, parts along time, a
//! unit's tokens in registers. The gates come from scores and log-sums, one token a unit. Keeping `D` by element costs one
//! multiply-add and saves a second reduction: one sum over `head_dim` a token, through shared memory, lanes in order.
//!
//! **Bytes.** Scores, log-sums, values, outputs and output gradients are read once, gradients written once: `4 head_dim e + 12` bytes a token
//! and head. Where time is cut in segments, outputs and their gradients are read twice.
//! **Shared memory.** `parts lanes` vectors of 4 f32 twice, and a float a token and lane: below 16 KiB.
//! **Accumulation.** f32; the identity is `(R, D) = 0`. Sums have one order: the same bits every run.
//! **Limits.** Those of the forward kernel; a log-sum of minus infinity is a constant and has no gradient.
//!
//! **Versions.** (1) `D_t` as a scalar: two reductions a token. (2) This one. Plane shuffles for the reduction cost `log2(lanes)` of them
//! a token against two accesses to shared memory, and want the lanes to be a power of two.

use super::forward::{Geometry, Layout};
use super::gate::{decayed, finite_score, gate};
use crate::cube::{EMPTY, HeadStrides};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// The sum of a vector's elements.
#[cube]
pub(crate) fn sum_of<N: Size>(vector: Vector<f32, N>) -> f32 {
    let mut sum = 0.0f32.runtime();
    #[unroll]
    for i in 0..vector.vector_size().comptime() {
        sum += vector[i];
    }
    sum
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn attention_scan_backward<E: Float, Flag: Numeric, N: Size>(
    scores: &Array<f32>,
    values: &Array<Vector<E, N>>,
    reset: &Array<Flag>,
    carry_log_sums: &Array<f32>,
    carry_outputs: &Array<Vector<f32, N>>,
    outputs: &Array<Vector<E, N>>,
    log_sums: &Array<f32>,
    grads: &Array<Vector<E, N>>,
    // What the segment after hands down: R, D.
    later: &Array<Vector<f32, N>>,
    score_grads: &mut Array<f32>,
    value_grads: &mut Array<Vector<E, N>>,
    carry_log_sum_grads: &mut Array<f32>,
    carry_output_grads: &mut Array<Vector<f32, N>>,
    layout: &Layout,
    grad_strides: &HeadStrides,
    value_grad_strides: &HeadStrides,
    #[comptime] geometry: Geometry,
    #[comptime] has_later: bool,
    #[define(E, Flag)] _types: [StorageType; 2],
) {
    let lanes = comptime!(geometry.lanes as usize);
    let parts = comptime!(geometry.parts as usize);
    let tokens = comptime!(geometry.tokens as usize);
    let tile = comptime!(geometry.tile() as usize);
    let units = comptime!(geometry.units() as usize);

    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    let segment = CUBE_POS_Z as usize;
    if row >= layout.rows {
        terminate!();
    }
    let batch = row / layout.heads;
    let head = row % layout.heads;
    let unit = UNIT_POS as usize;
    let lane = unit % lanes;
    let part = min(unit / lanes, comptime!(parts - 1));
    let is_active = unit < units;
    let start = segment * layout.segment;
    let end = min(start + layout.segment, layout.time);
    // For an idle unit no token is before the end.
    let own_end = select(is_active, end, 0usize);

    let score_base = layout.scores.base(batch, head);
    let value_base = layout.values.base(batch, head) + lane;
    let output_base = layout.outputs.base(batch, head) + lane;
    let grad_base = grad_strides.base(batch, head) + lane;
    let value_grad_base = value_grad_strides.base(batch, head) + lane;
    let reset_base = batch * layout.time;
    let row_base = row * layout.time;
    let slot = row * layout.segments + segment;

    // `keep[tile]` is the gate between this tile and the one after it.
    let mut keep = SharedMemory::<f32>::new(tile + 1);
    let mut take = SharedMemory::<f32>::new(tile);
    let mut part_keep = SharedMemory::<f32>::new(parts);
    let mut part_r = SharedMemory::<Vector<f32, N>>::new(units);
    let mut part_d = SharedMemory::<Vector<f32, N>>::new(units);
    let mut past_r = SharedMemory::<Vector<f32, N>>::new(2 * lanes);
    let mut past_d = SharedMemory::<Vector<f32, N>>::new(2 * lanes);
    // One more column than lanes, so that neighbouring tokens' sums are in different banks.
    let mut products = SharedMemory::<f32>::new(tile * (lanes + 1));

    // CubeCL 0.10 lets arrays that are first used in different branches share memory, even where both are alive later. Touching
    // all of them in one place gives each its own.
    if unit == 0 {
        keep[0] = 1.0f32;
        take[0] = 0.0f32;
        part_keep[0] = 1.0f32;
        products[0] = 0.0f32;
        part_r[0] = Vector::new(0.0f32);
        part_d[0] = Vector::new(0.0f32);
        past_r[0] = Vector::new(0.0f32);
        past_d[0] = Vector::new(0.0f32);
    }
    sync_cube();

    if is_active && part == 0 {
        let mut r = Vector::<f32, N>::new(0.0f32);
        let mut d = Vector::<f32, N>::new(0.0f32);
        if comptime!(has_later) {
            r = later[(2 * slot) * lanes + lane];
            d = later[(2 * slot + 1) * lanes + lane];
        }
        past_r[lane] = r;
        past_d[lane] = d;
    }
    // The gate of the token after the segment.
    let mut link = 1.0f32.runtime();
    if end < layout.time {
        let score = finite_score(scores[score_base + end * layout.scores.time]);
        let before = finite_score(log_sums[row_base + end - 1]);
        let gate = gate(score, before, u32::cast_from(reset[reset_base + end]));
        link = gate.keep;
    }

    let mut rs = Array::<Vector<f32, N>>::new(tokens);
    let mut ds = Array::<Vector<f32, N>>::new(tokens);
    let mut own_values = Array::<Vector<f32, N>>::new(tokens);
    let mut decays = Array::<f32>::new(tokens);
    let mut segment_keep = 1.0f32.runtime();
    let tiles = (end - start).div_ceil(tile);
    for number in 0..tiles {
        let first = start + (tiles - 1 - number) * tile;

        #[unroll]
        for i in 0..tokens {
            let t = first + part * tokens + i;
            rs[i] = Vector::new(0.0f32);
            ds[i] = Vector::new(0.0f32);
            own_values[i] = Vector::new(0.0f32);
            if t < own_end {
                let grad = Vector::<f32, N>::cast_from(grads[grad_base + t * grad_strides.time]);
                rs[i] = grad;
                ds[i] = grad * Vector::cast_from(outputs[output_base + t * layout.outputs.time]);
                if comptime!(!geometry.is_summary) {
                    own_values[i] = Vector::cast_from(values[value_base + t * layout.values.time]);
                }
            }
        }

        if unit < tile {
            let t = first + unit;
            // A token after the end keeps what it is given, and its gradient is zero.
            let mut own_keep = 1.0f32.runtime();
            let mut own_take = 0.0f32.runtime();
            if t < end {
                let score = finite_score(scores[score_base + t * layout.scores.time]);
                let mut before = carry_log_sums[row];
                if t > 0 {
                    before = log_sums[row_base + t - 1];
                }
                let gate = gate(score, finite_score(before), u32::cast_from(reset[reset_base + t]));
                own_keep = gate.keep;
                own_take = gate.take;
            } else if t == end {
                own_keep = link;
            }
            keep[unit] = own_keep;
            take[unit] = own_take;
        }
        // What a full tile ends with is linked to the tile after, of which only the first gate matters.
        if unit == 0 {
            let mut after = 1.0f32.runtime();
            if first + tile <= end {
                after = link;
            }
            keep[tile] = after;
        }
        sync_cube();

        // The recurrence over this unit's tokens, from nothing, last token first.
        let mut r = Vector::<f32, N>::new(0.0f32);
        let mut d = Vector::<f32, N>::new(0.0f32);
        let mut decay = 1.0f32.runtime();
        #[unroll]
        for back in 0..tokens {
            let i = comptime!(tokens - 1 - back);
            let k = keep[part * tokens + i + 1];
            r = decayed::<N>(r, k, rs[i]);
            d = decayed::<N>(d, k, ds[i]);
            decay *= k;
            rs[i] = r;
            ds[i] = d;
            decays[i] = decay;
        }
        if is_active {
            part_r[unit] = r;
            part_d[unit] = d;
            if lane == 0 {
                part_keep[part] = decay;
            }
        }
        sync_cube();

        // What the parts after left, decayed, comes on top.
        let mut later_r = past_r[number % 2 * lanes + lane];
        let mut later_d = past_d[number % 2 * lanes + lane];
        for back in 0..parts - 1 - part {
            let q = parts - 1 - back;
            later_r = decayed::<N>(later_r, part_keep[q], part_r[q * lanes + lane]);
            later_d = decayed::<N>(later_d, part_keep[q], part_d[q * lanes + lane]);
        }
        #[unroll]
        for i in 0..tokens {
            let r = decayed::<N>(later_r, decays[i], rs[i]);
            let d = decayed::<N>(later_d, decays[i], ds[i]);
            rs[i] = r;
            ds[i] = d;
            if comptime!(!geometry.is_summary) {
                let t = first + part * tokens + i;
                let own_take = take[part * tokens + i];
                let mut value_grad = Vector::<f32, N>::new(0.0f32);
                if own_take != 0.0f32 {
                    value_grad = r * Vector::new(own_take);
                }
                if t < own_end {
                    value_grads[value_grad_base + t * value_grad_strides.time] = Vector::cast_from(value_grad);
                }
                if is_active {
                    products[(part * tokens + i) * (lanes + 1) + lane] = sum_of::<N>(r * own_values[i] - d);
                }
            }
        }
        if is_active && part == 0 {
            past_r[(number + 1) % 2 * lanes + lane] = rs[0];
            past_d[(number + 1) % 2 * lanes + lane] = ds[0];
        }
        if comptime!(geometry.is_summary) {
            for q in 0..parts {
                segment_keep *= part_keep[q];
            }
        }
        // Before the gates of the tile before replace it.
        link = keep[0];
        sync_cube();

        if comptime!(!geometry.is_summary) {
            if unit < tile && first + unit < end {
                let own_take = take[unit];
                let mut grad = 0.0f32.runtime();
                if own_take != 0.0f32 {
                    let mut sum = 0.0f32.runtime();
                    for l in 0..lanes {
                        sum += products[unit * (lanes + 1) + l];
                    }
                    grad = own_take * sum;
                }
                score_grads[row_base + first + unit] = grad;
            }
            // Reading `take` and the products, before the next tile's replace them.
            sync_cube();
        }
    }

    // The first token's R and D, in the half that was written last.
    let r = past_r[tiles % 2 * lanes + lane];
    let d = past_d[tiles % 2 * lanes + lane];
    if comptime!(geometry.is_summary) {
        if is_active && part == 0 {
            carry_output_grads[(2 * slot) * lanes + lane] = r;
            carry_output_grads[(2 * slot + 1) * lanes + lane] = d;
            if lane == 0 {
                carry_log_sum_grads[slot] = segment_keep;
            }
        }
    } else if segment == 0 {
        let is_empty = carry_log_sums[row] <= EMPTY;
        if is_active && part == 0 {
            let mut output_grad = Vector::<f32, N>::new(0.0f32);
            let mut product = 0.0f32.runtime();
            if !is_empty && link != 0.0f32 {
                output_grad = r * Vector::new(link);
                product = sum_of::<N>(r * carry_outputs[row * lanes + lane] - d);
            }
            carry_output_grads[row * lanes + lane] = output_grad;
            products[lane] = product;
        }
        sync_cube();
        if unit == 0 {
            let mut sum = 0.0f32.runtime();
            for l in 0..lanes {
                sum += products[l];
            }
            carry_log_sum_grads[row] = sum * link;
        }
    }
}
