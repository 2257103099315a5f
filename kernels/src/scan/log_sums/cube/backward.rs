//! The running log-sum-exp, backward: one pass over time, last token first.
//!
//! ```text
//! H_t = dL_t + P_{t+1}        P_t = keep_t H_t        ds_t = take_t H_t        dL_0 = P_1
//! keep_t = e^{L_{t-1} - L_t}, 0 where t starts an episode             take_t = e^{s_t - L_t}
//! ```
//!
//! What is below counts positions in the direction of the pass; `P` is what a position hands to the next.
//!
//! **Inputs.** Those of the forward kernel, its log-sums (contiguous), their gradient `[batch, heads, time]` f32 of any strides.
//! **Outputs.** Gradients of scores and carry, f32; or, where the kernel summarizes segments, what each hands on of its own and
//! the product of its gates.
//!
//! **Who owns what.** As forward: a unit owns neighbouring positions, and pairs of what units hand on and their gates are scanned
//! in shared memory. The gates come from a token's score and the log-sum before it: one exponential a token.
//!
//! **Bytes.** Scores, log-sums and gradients read once, gradients written once: 16 bytes a token and head, and a flag. All that is
//! read is read twice where time is cut in segments.
//! **Shared memory.** 4 floats a unit: 4 KiB.
//! **Accumulation.** f32; the identity is a gate of 1 and a gradient of 0. Sums have one order: the same bits every run.
//! **Limits.** Those of the forward kernel; a log-sum of minus infinity is a constant and has no gradient.
//!
//! **Versions.** (1) The attention scan's backward kernel with values of 1 and outputs of 0: the sums over `head_dim` that it makes
//! and three arrays more to read. (2) This one, checked on software Vulkan and not yet timed on a GPU.

use super::forward::{Geometry, Layout};
use crate::cube::{EMPTY, HeadStrides};
use crate::scan::cube::gate::{finite_score, gate};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// `handed * keep + own`, where a gate of 0 forgets even what is not finite.
#[cube]
fn passed_on(handed: f32, keep: f32, own: f32) -> f32 {
    select(keep == 0.0f32, own, handed * keep + own)
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn running_log_sum_exp_backward<Flag: Numeric>(
    scores: &Array<f32>,
    reset: &Array<Flag>,
    carry: &Array<f32>,
    log_sums: &Array<f32>,
    grads: &Array<f32>,
    // What the segment after hands down; not read where there is none.
    starts: &Array<f32>,
    score_grads: &mut Array<f32>,
    carry_grads: &mut Array<f32>,
    segment_keeps: &mut Array<f32>,
    layout: &Layout,
    grad_strides: &HeadStrides,
    #[comptime] geometry: Geometry,
    #[comptime] has_start: bool,
    #[define(Flag)] _type: StorageType,
) {
    let units = comptime!(geometry.units as usize);
    let tokens = comptime!(geometry.tokens as usize);
    let tile = comptime!(units * tokens);
    let steps = comptime!(geometry.units.ilog2());

    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    let segment = CUBE_POS_Z as usize;
    if row >= layout.rows {
        terminate!();
    }
    let batch = row / layout.heads;
    let head = row % layout.heads;
    let score_base = layout.scores.base(batch, head);
    let grad_base = grad_strides.base(batch, head);
    let reset_base = batch * layout.time;
    let row_base = row * layout.time;
    let unit = UNIT_POS as usize;
    let start = segment * layout.segment;
    let end = min(start + layout.segment, layout.time);
    let slot = row * layout.segments + segment;

    let mut totals = SharedMemory::<f32>::new(2 * units);
    let mut total_keeps = SharedMemory::<f32>::new(2 * units);
    let mut past = 0.0f32.runtime();
    if comptime!(has_start) {
        past = starts[slot];
    }
    let mut segment_keep = 1.0f32.runtime();

    let mut own_grads = Array::<f32>::new(tokens);
    let mut own_keeps = Array::<f32>::new(tokens);
    let mut own_takes = Array::<f32>::new(tokens);
    let tiles = (end - start).div_ceil(tile);
    for number in 0..tiles {
        let first = start + number * tile + unit * tokens;
        let mut handed = 0.0f32.runtime();
        let mut keep = 1.0f32.runtime();
        #[unroll]
        for i in 0..tokens {
            let position = first + i;
            // A position after the end hands on what it is given.
            let mut grad = 0.0f32.runtime();
            let mut token_keep = 1.0f32.runtime();
            let mut token_take = 0.0f32.runtime();
            if position < end {
                let t = layout.time - 1 - position;
                let score = finite_score(scores[score_base + t * layout.scores.time]);
                let mut before = carry[row];
                if t > 0 {
                    before = log_sums[row_base + t - 1];
                }
                before = finite_score(before);
                let is_reset = u32::cast_from(reset[reset_base + t]);
                let gate = gate(score, before, is_reset);
                token_keep = gate.keep;
                token_take = gate.take;
                let is_empty = score <= EMPTY && (before <= EMPTY || is_reset == 1u32);
                grad = select(is_empty, 0.0f32, grads[grad_base + t * grad_strides.time]);
            }
            let sum = handed + grad;
            own_grads[i] = sum;
            own_keeps[i] = keep;
            own_takes[i] = token_take;
            handed = passed_on(sum, token_keep, 0.0f32.runtime());
            keep *= token_keep;
        }
        totals[unit] = handed;
        total_keeps[unit] = keep;
        sync_cube();

        #[unroll]
        for i in 0..steps {
            let step = comptime!(1usize << i);
            let from = comptime!(units * (i as usize % 2));
            let to = comptime!(units - from);
            if unit >= step {
                handed = passed_on(totals[from + unit - step], keep, handed);
                keep *= total_keeps[from + unit - step];
            }
            totals[to + unit] = handed;
            total_keeps[to + unit] = keep;
            sync_cube();
        }
        let last = comptime!(units * (steps as usize % 2));
        let mut before = past;
        if unit > 0 {
            before = passed_on(past, total_keeps[last + unit - 1], totals[last + unit - 1]);
        }
        if comptime!(!geometry.is_summary) {
            #[unroll]
            for i in 0..tokens {
                let position = first + i;
                let sum = passed_on(before, own_keeps[i], own_grads[i]);
                if position < end {
                    let take = own_takes[i];
                    score_grads[row_base + layout.time - 1 - position] = select(take == 0.0f32, 0.0f32, take * sum);
                }
            }
        }
        past = passed_on(past, total_keeps[last + units - 1], totals[last + units - 1]);
        segment_keep *= total_keeps[last + units - 1];
        // Before the next tile's sums replace what is read here.
        sync_cube();
    }

    if unit == 0 {
        if comptime!(geometry.is_summary) {
            carry_grads[slot] = past;
            segment_keeps[slot] = segment_keep;
        } else if end == layout.time {
            carry_grads[row] = select(carry[row] <= EMPTY, 0.0f32, past);
        }
    }
}

/// What each segment is handed by the one that comes before it in the pass: a unit a row, segments in order.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn join(
    segment_grads: &Array<f32>,
    segment_keeps: &Array<f32>,
    starts: &mut Array<f32>,
    rows: usize,
    segments: usize,
) {
    if ABSOLUTE_POS >= rows {
        terminate!();
    }
    let mut handed = 0.0f32.runtime();
    let first = ABSOLUTE_POS * segments;
    starts[first] = handed;
    for segment in 1..segments {
        let before = first + segment - 1;
        handed = passed_on(handed, segment_keeps[before], segment_grads[before]);
        starts[before + 1] = handed;
    }
}
