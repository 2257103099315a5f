//! The running log-sum-exp, forward: every prefix of every row, and what each segment starts from.
//!
//! ```text
//! L_t = logaddexp(L_{t-1}, s_t)        L_t = s_t where t starts an episode
//! ```
//!
//! **Inputs.** `scores [batch, heads, time]` f32 of any strides, `reset [batch, time]`, a start for every segment of every row.
//! **Outputs.** `log_sums [batch, heads, time]` f32; or, where the kernel summarizes segments, the log-sum of each and whether it
//! has a reset.
//!
//! **Who owns what.** A cube owns one row (batch, head) of one segment and walks it in tiles; a unit owns neighbouring tokens of the
//! tile, in registers. A unit sums over its own tokens, the units' sums are scanned in shared memory (Hillis and Steele, between two
//! halves of it), and what the units before left comes on top. The next tile's scores are loaded before the scan.
//!
//! **Bytes.** Every score read once, every log-sum written once: 8 bytes a token and head, and a flag. Scores are read twice
//! where rows are too few to fill the device and time is cut in segments.
//! **Shared memory.** 2 floats and 2 flags a unit: 4 KiB.
//! **Accumulation.** f32. The identity is [`EMPTY`], a finite stand-in for `-inf`. Sums have one order: the same bits every run.
//! **Limits.** Scores below -1e30 count as `-inf`.
//!
//! **Versions.** (1) This one, checked on software Vulkan and not yet timed on a GPU. Plane shuffles would save barriers of the scan;
//! with a tile of 2,048 tokens there is one for every 200.
//!
//! Source: Feng et al. 2024, arXiv:2405.13956, appendix A.

use crate::cube::{EMPTY, HeadStrides};
use crate::scan::cube::gate::{finite_score, join_log_sums};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// What a cube's units do: fixed when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    /// A power of two, and whole planes.
    pub units: u32,
    /// Tokens that a unit holds at a time.
    pub tokens: u32,
    /// Whether only what a segment makes of its start is wanted.
    pub is_summary: bool,
}

/// Sizes, and where the scores lie.
#[derive(CubeLaunch, CubeType)]
pub(crate) struct Layout {
    pub heads: usize,
    pub rows: usize,
    pub time: usize,
    /// Tokens of a segment: all but the last in the direction of the pass have this many.
    pub segment: usize,
    pub segments: usize,
    pub scores: HeadStrides,
}

/// Reads a unit's tokens from `first` on; those after the end change nothing.
#[cube]
fn read<Flag: Numeric>(
    scores: &Array<f32>,
    reset: &Array<Flag>,
    score_base: usize,
    score_time: usize,
    reset_base: usize,
    first: usize,
    end: usize,
    scores_ahead: &mut Array<f32>,
    resets_ahead: &mut Array<u32>,
    #[comptime] tokens: usize,
) {
    #[unroll]
    for i in 0..tokens {
        let t = first + i;
        scores_ahead[i] = EMPTY.runtime();
        resets_ahead[i] = 0u32;
        if t < end {
            scores_ahead[i] = finite_score(scores[score_base + t * score_time]);
            resets_ahead[i] = u32::cast_from(reset[reset_base + t]);
        }
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn running_log_sum_exp<Flag: Numeric>(
    scores: &Array<f32>,
    reset: &Array<Flag>,
    starts: &Array<f32>,
    log_sums: &mut Array<f32>,
    segment_resets: &mut Array<u32>,
    layout: &Layout,
    minus_infinity: f32,
    #[comptime] geometry: Geometry,
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
    let score_base = layout.scores.base(batch, row % layout.heads);
    let reset_base = batch * layout.time;
    let unit = UNIT_POS as usize;
    let start = segment * layout.segment;
    let end = min(start + layout.segment, layout.time);
    let slot = row * layout.segments + segment;

    let mut totals = SharedMemory::<f32>::new(2 * units);
    let mut total_resets = SharedMemory::<u32>::new(2 * units);
    let mut past = EMPTY.runtime();
    let mut seen_reset = 0u32;
    if comptime!(!geometry.is_summary) {
        past = finite_score(starts[slot]);
    }

    let own = start + unit * tokens;
    let mut scores_ahead = Array::<f32>::new(tokens);
    let mut resets_ahead = Array::<u32>::new(tokens);
    let score_time = layout.scores.time;
    read::<Flag>(scores, reset, score_base, score_time, reset_base, own, end, &mut scores_ahead, &mut resets_ahead, tokens);

    let mut own_sums = Array::<f32>::new(tokens);
    let mut own_resets = Array::<u32>::new(tokens);
    let tiles = (end - start).div_ceil(tile);
    for number in 0..tiles {
        let first = own + number * tile;
        let mut log_sum = EMPTY.runtime();
        let mut resets = 0u32;
        #[unroll]
        for i in 0..tokens {
            log_sum = join_log_sums(log_sum, scores_ahead[i], resets_ahead[i]);
            resets = max(resets, resets_ahead[i]);
            own_sums[i] = log_sum;
            own_resets[i] = resets;
        }
        totals[unit] = log_sum;
        total_resets[unit] = resets;
        let next = first + tile;
        read::<Flag>(scores, reset, score_base, score_time, reset_base, next, end, &mut scores_ahead, &mut resets_ahead, tokens);
        sync_cube();

        #[unroll]
        for i in 0..steps {
            let step = comptime!(1usize << i);
            let from = comptime!(units * (i as usize % 2));
            let to = comptime!(units - from);
            if unit >= step {
                log_sum = join_log_sums(totals[from + unit - step], log_sum, resets);
                resets = max(resets, total_resets[from + unit - step]);
            }
            totals[to + unit] = log_sum;
            total_resets[to + unit] = resets;
            sync_cube();
        }
        let last = comptime!(units * (steps as usize % 2));
        let mut before = past;
        if unit > 0 {
            before = join_log_sums(past, totals[last + unit - 1], total_resets[last + unit - 1]);
        }
        if comptime!(!geometry.is_summary) {
            #[unroll]
            for i in 0..tokens {
                let log_sum = join_log_sums(before, own_sums[i], own_resets[i]);
                let t = first + i;
                if t < end {
                    log_sums[row * layout.time + t] = select(log_sum <= EMPTY, minus_infinity, log_sum);
                }
            }
        }
        past = join_log_sums(past, totals[last + units - 1], total_resets[last + units - 1]);
        seen_reset = max(seen_reset, total_resets[last + units - 1]);
        // Before the next tile's sums replace what is read here.
        sync_cube();
    }

    if comptime!(geometry.is_summary) {
        let is_writing = unit == 0;
        if is_writing {
            log_sums[slot] = past;
            segment_resets[slot] = seen_reset;
        }
    }
}

/// What each segment starts from, given the rows' carries and the segments' log-sums: a unit a row, segments in order.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn join(
    carry: &Array<f32>,
    segment_log_sums: &Array<f32>,
    segment_resets: &Array<u32>,
    starts: &mut Array<f32>,
    rows: usize,
    segments: usize,
) {
    if ABSOLUTE_POS >= rows {
        terminate!();
    }
    let mut log_sum = finite_score(carry[ABSOLUTE_POS]);
    let first = ABSOLUTE_POS * segments;
    starts[first] = log_sum;
    for segment in 1..segments {
        let before = first + segment - 1;
        log_sum = join_log_sums(log_sum, segment_log_sums[before], segment_resets[before]);
        starts[before + 1] = log_sum;
    }
}
