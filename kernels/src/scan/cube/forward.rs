//! The scan's forward kernel.
//!
//! ```text
//! L_t = logaddexp(L_{t-1}, s_t)      take_t = sigmoid(s_t - L_{t-1})      keep_t = 1 - take_t
//! o_t = keep_t o_{t-1} + take_t v_t              keep_t = 0 where t starts an episode
//! ```
//!
//! **Inputs.** `scores [batch, heads, time]` f32, `values [batch, heads, time, head_dim]` f32, f16 or bf16, `reset [batch, time]`,
//! and a carry for every segment of every row. Batch, head and time strides are free; `head_dim` is contiguous.
//! **Outputs.** `outputs` as `values`, `log_sums` f32; or, where the kernel summarizes segments, the carry after each segment.
//!
//! **Who owns what.** A cube owns one row (batch, head) of one segment and walks its time in tiles. Its units stand in a grid of
//! `lanes x parts`: a lane is a vector of neighbouring head dimensions, a part a run of neighbouring tokens of the tile, which a
//! unit holds in registers. In a tile
//!
//! 1. unit `u` owns token `u`'s score: log-sums by a scan over the units (plane shuffles, then the planes' totals in shared memory;
//!    shared memory alone where planes have no fixed width), and from them the gates, once per token;
//! 2. a unit runs the recurrence over its own tokens from nothing, and leaves the result and the product of the gates;
//! 3. a unit joins what the parts before its own left, and adds it, decayed, to its tokens.
//!
//! Values and scores of the next tile are loaded before step 3, so that the loads overlap with the cube's work.
//!
//! **Bytes.** Every value and score is read once, every output and log-sum written once: `2 head_dim e + 8` bytes a token and head,
//! `e` the bytes of a value. A second pass over the values (`3 head_dim e`) only where rows are too few to fill the device and time
//! is cut in segments: [`super::join`].
//! **Shared memory.** `parts lanes` vectors of 4 f32 and 6 floats a token: below 10 KiB.
//! **Accumulation.** f32, whatever the values are. The identity is `(L, o) = (-inf, 0)`, inside the kernel [`EMPTY`]: a finite
//! stand-in, so that no infinity is subtracted from another. Sums have one order: the same bits every run.
//! **Limits.** `head_dim / vector` units must fit a cube; beyond that the reference runs. Scores below -1e30 count as `-inf`.
//!
//! **Versions.** (1) A unit a lane, time in sequence: as few bytes, but 64 tokens a batch row keep 1/32 of the units busy. (2) As
//! (1) with gates computed by every unit: 3 transcendentals a vector in place of 3 a token. (3) This one. The three-pass form
//! (summaries, their scan, outputs) for every shape was rejected: it reads the values twice.
//!
//! Source: Feng et al. 2024, arXiv:2405.13956, appendix A; Blelloch 1990 for scans of segments.

// A kernel's `&&` computes both sides; an `if` around another keeps what the inner one does not need from being computed.
#![allow(clippy::collapsible_if)]

use super::gate::{decayed, finite_score, gate, join_log_sums};
use crate::cube::{EMPTY, HeadStrides};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// How a cube's units stand, and what they do: fixed when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    /// Units along `head_dim`, each holding one vector.
    pub lanes: u32,
    /// Units along time.
    pub parts: u32,
    /// Tokens a unit holds at a time.
    pub tokens: u32,
    /// Units of a plane, or 0 to do without planes.
    pub plane: u32,
    /// Units that are launched: whole planes (software Vulkan computes wrongly with parts of one). Those beyond `lanes x parts`
    /// only wait with the others.
    pub launched: u32,
    /// Whether only the carry after each segment is wanted.
    pub is_summary: bool,
}

impl Geometry {
    /// Tokens that a cube works on at a time; no more than it has units.
    pub fn tile(self) -> u32 {
        self.parts * self.tokens
    }

    pub fn units(self) -> u32 {
        self.parts * self.lanes
    }
}

/// Where the elements of the arrays lie; in vectors for `values` and `outputs`.
#[derive(CubeLaunch, CubeType)]
pub(crate) struct Layout {
    pub heads: usize,
    pub rows: usize,
    pub time: usize,
    /// Tokens of a segment: all but the last have this many.
    pub segment: usize,
    pub segments: usize,
    pub scores: HeadStrides,
    pub values: HeadStrides,
    pub outputs: HeadStrides,
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn attention_scan<E: Float, Flag: Numeric, N: Size>(
    scores: &Array<f32>,
    values: &Array<Vector<E, N>>,
    reset: &Array<Flag>,
    carry_log_sums: &Array<f32>,
    carry_outputs: &Array<Vector<f32, N>>,
    outputs: &mut Array<Vector<E, N>>,
    log_sums: &mut Array<f32>,
    segment_resets: &mut Array<u32>,
    segment_outputs: &mut Array<Vector<f32, N>>,
    layout: &Layout,
    minus_infinity: f32,
    #[comptime] geometry: Geometry,
    #[define(E, Flag)] _types: [StorageType; 2],
) {
    let lanes = comptime!(geometry.lanes as usize);
    let parts = comptime!(geometry.parts as usize);
    let tokens = comptime!(geometry.tokens as usize);
    let tile = comptime!(geometry.tile() as usize);
    let units = comptime!(geometry.units() as usize);
    let width = comptime!(if geometry.plane == 0 { 1 } else { geometry.plane as usize });
    let planes = comptime!(tile.div_ceil(width));

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
    let reset_base = batch * layout.time;
    let log_sum_base = row * layout.time;
    let carry = row * layout.segments + segment;

    let mut keep = SharedMemory::<f32>::new(tile);
    let mut take = SharedMemory::<f32>::new(tile);
    let mut tile_log_sums = SharedMemory::<f32>::new(tile);
    // Without planes the scan goes to and fro between two halves.
    let mut totals = SharedMemory::<f32>::new(2 * planes);
    let mut total_resets = SharedMemory::<u32>::new(2 * planes);
    let mut part_keep = SharedMemory::<f32>::new(parts);
    let mut part_outputs = SharedMemory::<Vector<f32, N>>::new(units);
    let mut past_outputs = SharedMemory::<Vector<f32, N>>::new(2 * lanes);

    // CubeCL 0.10 lets arrays that are first used in different branches share memory, even where both are alive later. Touching
    // all of them in one place gives each its own.
    if unit == 0 {
        keep[0] = 1.0f32;
        take[0] = 0.0f32;
        tile_log_sums[0] = 0.0f32;
        totals[0] = 0.0f32;
        total_resets[0] = 0u32;
        part_keep[0] = 1.0f32;
        part_outputs[0] = Vector::new(0.0f32);
        past_outputs[0] = Vector::new(0.0f32);
    }
    sync_cube();

    // What the segment starts from. An empty carry holds nothing, whatever its output says.
    let mut past_log_sum = EMPTY.runtime();
    let mut seen_reset = 0u32;
    if comptime!(!geometry.is_summary) {
        past_log_sum = finite_score(carry_log_sums[carry]);
    }
    if is_active && part == 0 {
        let mut first = Vector::<f32, N>::new(0.0f32);
        if comptime!(!geometry.is_summary) {
            if past_log_sum > EMPTY {
                first = carry_outputs[carry * lanes + lane];
            }
        }
        past_outputs[lane] = first;
    }

    // The tile that comes next: this unit's values, and the score of the one token that it owns while log-sums are made.
    let mut ahead = Array::<Vector<f32, N>>::new(tokens);
    let mut score_ahead = EMPTY.runtime();
    let mut reset_ahead = 0u32;
    #[unroll]
    for i in 0..tokens {
        let t = start + part * tokens + i;
        ahead[i] = Vector::new(0.0f32);
        if t < own_end {
            ahead[i] = Vector::cast_from(values[value_base + t * layout.values.time]);
        }
    }
    if unit < tile {
        if start + unit < end {
            score_ahead = finite_score(scores[score_base + (start + unit) * layout.scores.time]);
            reset_ahead = u32::cast_from(reset[reset_base + start + unit]);
        }
    }

    let mut states = Array::<Vector<f32, N>>::new(tokens);
    let mut decays = Array::<f32>::new(tokens);
    let tiles = (end - start).div_ceil(tile);
    for number in 0..tiles {
        let first = start + number * tile;
        let score = score_ahead;
        let has_reset = reset_ahead;

        // 1. Log-sums of the tile's prefixes.
        let mut log_sum = score;
        let mut resets = has_reset;
        if comptime!(geometry.plane > 0) {
            let place = unit % width;
            #[unroll]
            for i in 0..comptime!(width.ilog2()) {
                let step = comptime!(1u32 << i);
                let before = plane_shuffle_up(log_sum, step);
                let resets_before = plane_shuffle_up(resets, step);
                if place >= step as usize {
                    log_sum = join_log_sums(before, log_sum, resets);
                    resets = max(resets, resets_before);
                }
            }
            if unit < tile && (place == width - 1 || unit == tile - 1) {
                totals[unit / width] = log_sum;
                total_resets[unit / width] = resets;
            }
            sync_cube();
        } else {
            if unit < tile {
                totals[unit] = log_sum;
                total_resets[unit] = resets;
            }
            sync_cube();
            #[unroll]
            for i in 0..comptime!(tile.next_power_of_two().ilog2()) {
                let step = comptime!(1usize << i);
                let from = comptime!(tile * (i as usize % 2));
                let to = comptime!(tile - from);
                if unit < tile {
                    if unit >= step {
                        log_sum = join_log_sums(totals[from + unit - step], log_sum, resets);
                        resets = max(resets, total_resets[from + unit - step]);
                    }
                    totals[to + unit] = log_sum;
                    total_resets[to + unit] = resets;
                }
                sync_cube();
            }
        }
        if unit < tile {
            let mut before = past_log_sum;
            if comptime!(geometry.plane > 0) {
                for plane in 0..unit / width {
                    before = join_log_sums(before, totals[plane], total_resets[plane]);
                }
            }
            log_sum = join_log_sums(before, log_sum, resets);
            tile_log_sums[unit] = log_sum;
        }
        sync_cube();

        // The gates follow from the log-sums of neighbours.
        if unit < tile {
            let mut before = past_log_sum;
            if unit > 0 {
                before = tile_log_sums[unit - 1];
            }
            let gate = gate(score, before, has_reset);
            keep[unit] = gate.keep;
            take[unit] = gate.take;
            if comptime!(!geometry.is_summary) {
                if first + unit < end {
                    log_sums[log_sum_base + first + unit] = select(log_sum <= EMPTY, minus_infinity, log_sum);
                }
            }
        }
        past_log_sum = tile_log_sums[tile - 1];
        seen_reset = max(seen_reset, has_reset);
        sync_cube();

        // 2. The recurrence over this unit's tokens, from nothing.
        let mut state = Vector::<f32, N>::new(0.0f32);
        let mut decay = 1.0f32.runtime();
        #[unroll]
        for i in 0..tokens {
            let k = keep[part * tokens + i];
            state = decayed::<N>(state, k, ahead[i] * Vector::new(take[part * tokens + i]));
            decay *= k;
            states[i] = state;
            decays[i] = decay;
        }
        if is_active {
            part_outputs[unit] = state;
            if lane == 0 {
                part_keep[part] = decay;
            }
        }

        // The next tile's values are on their way while this one is finished.
        let next = first + tile;
        #[unroll]
        for i in 0..tokens {
            let t = next + part * tokens + i;
            ahead[i] = Vector::new(0.0f32);
            if t < own_end {
                ahead[i] = Vector::cast_from(values[value_base + t * layout.values.time]);
            }
        }
        score_ahead = EMPTY.runtime();
        reset_ahead = 0u32;
        if unit < tile {
            if next + unit < end {
                score_ahead = finite_score(scores[score_base + (next + unit) * layout.scores.time]);
                reset_ahead = u32::cast_from(reset[reset_base + next + unit]);
            }
        }
        sync_cube();

        // 3. What the parts before left, decayed, comes on top.
        let mut past = past_outputs[number % 2 * lanes + lane];
        for q in 0..part {
            past = decayed::<N>(past, part_keep[q], part_outputs[q * lanes + lane]);
        }
        #[unroll]
        for i in 0..tokens {
            let output = decayed::<N>(past, decays[i], states[i]);
            if comptime!(!geometry.is_summary) {
                let t = first + part * tokens + i;
                if t < own_end {
                    outputs[output_base + t * layout.outputs.time] = Vector::cast_from(output);
                }
            }
            states[i] = output;
        }
        // Tokens after the end keep everything, so the last part's last is the carry. The other half is still being read.
        if is_active && part == parts - 1 {
            past_outputs[(number + 1) % 2 * lanes + lane] = states[tokens - 1];
        }
    }

    if comptime!(geometry.is_summary) {
        sync_cube();
        // Whether any unit saw a reset: a sum over the cube, in shared memory that is no longer read.
        let mut seen = SharedMemory::<u32>::new(units);
        if is_active {
            seen[unit] = seen_reset;
        }
        sync_cube();
        if unit == 0 {
            let mut any = 0u32;
            for u in 0..units {
                any = max(any, seen[u]);
            }
            segment_resets[carry] = any;
            log_sums[carry] = past_log_sum;
        }
        if is_active && part == 0 {
            segment_outputs[carry * lanes + lane] = past_outputs[tiles % 2 * lanes + lane];
        }
    }
}
