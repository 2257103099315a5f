//! What slot attention's kernels share: forward ([`forward`](super::forward)), forward again with what the gradient asks of the slots, and the
//! way back through time (both [`backward`](super::backward)).
//!
//! The formulas are those of `../cpu.rs`.
//!
//! **Inputs.** `queries`, `keys`, `values` `[batch, heads, time, head_dim]` and `scores [batch, heads, time, slots]`, all strides but the
//! last free; the carry, and the gradient of what the forward pass returns, contiguous; all f32 (what is not, is cast before). An empty
//! log-sum is [`EMPTY`](crate::cube::EMPTY) or less. **Outputs.** As on the CPU, outputs, memory and log-sums in a row; or gradients.
//!
//! **Who owns what.** A cube owns a head of a batch row and walks time token by token. A unit owns a channel of keys or of values, and
//! holds it of every slot in registers; a unit for every slot also adds up what channels leave of it in shared memory, in order, and
//! owns its log-sum.
//!
//! **Bytes.** Forward: queries, keys, values and scores read once, outputs written once, `4 (4 head_dim + slots)` a token and head. Backward:
//! the same twice and `40 slots` more, for gates, weights and logits that the first pass leaves to the second.
//! **Shared memory.** `slots (2 head_dim + 1) + 5 slots` floats: 4.4 KiB for 16 slots and 32 channels.
//! **Accumulation.** f32. Sums have one order: the same bits every run. A reset is a flag and not a gate of 0: what is not finite does not
//! cross it.
//! **Limits.** [`MOST_SLOTS`] slots, channels as a cube has units for, and [`MOST_TOKENS`] tokens; beyond that the reference runs. Time is
//! not cut in segments: a device is full when there are heads enough in a batch.
//!
//! **Versions.** (1) This one, checked on software Vulkan and not yet timed on a GPU. Loops over slots and channels are unrolled: software
//! Vulkan ends a shader after 65,535 rounds of its loops, all together, and says nothing.
//!
//! Source: Peng et al. 2022, arXiv:2110.02488.

use crate::cube::EMPTY;
use crate::scan::cube::gate::{finite_score, gate, log_add_exp};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// Slots that a unit has registers for.
pub(super) const MOST_SLOTS: usize = 64;
/// Rounds of the loop over tokens.
pub(super) const MOST_TOKENS: usize = 65_000;
/// Numbers of a token and slot that the first backward pass leaves to the second: what is kept and taken, the weight, the gradient of the
/// logit times its scale, and what is asked of the slot.
pub(super) const TRACE: usize = 5;

/// Fixed when a kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub slots: u32,
    pub head_dim: u32,
}

/// Sizes, and where the elements lie.
#[derive(CubeLaunch, CubeType)]
pub(crate) struct Layout {
    /// Batch rows times heads.
    pub rows: usize,
    pub heads: usize,
    pub time: usize,
    pub score_batch: usize,
    pub score_head: usize,
    pub score_time: usize,
    pub query_batch: usize,
    pub query_head: usize,
    pub query_time: usize,
    pub key_batch: usize,
    pub key_head: usize,
    pub key_time: usize,
    pub value_batch: usize,
    pub value_head: usize,
    pub value_time: usize,
}

/// A slot's log-sum with a token, and what it keeps of the past and takes of the token.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Written {
    pub log_sum: f32,
    pub keep: f32,
    pub take: f32,
}

/// One unit's place, and where its numbers begin.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Place {
    pub scores: usize,
    pub queries: usize,
    pub keys: usize,
    pub values: usize,
    /// In the row of flags.
    pub reset: usize,
    /// Channel of keys or values.
    pub channel: usize,
    pub is_key: bool,
    pub is_value: bool,
    pub is_slot: bool,
}

#[cube]
pub(super) fn place(layout: &Layout, row: usize, #[comptime] geometry: Geometry) -> Place {
    let head_dim = comptime!(geometry.head_dim as usize);
    let unit = UNIT_POS as usize;
    let batch = row / layout.heads;
    let head = row % layout.heads;
    Place {
        scores: batch * layout.score_batch + head * layout.score_head,
        queries: batch * layout.query_batch + head * layout.query_head,
        keys: batch * layout.key_batch + head * layout.key_head,
        values: batch * layout.value_batch + head * layout.value_head,
        reset: batch * layout.time,
        channel: unit % head_dim,
        is_key: unit < head_dim,
        is_value: unit >= head_dim && unit < comptime!(2 * head_dim),
        is_slot: unit < comptime!(geometry.slots as usize),
    }
}

/// The channel that a unit owns of a token's key or value; 0 for one that owns none.
#[cube]
pub(super) fn owned(keys: &Array<f32>, values: &Array<f32>, layout: &Layout, place: Place, t: usize) -> f32 {
    let mut owned = 0.0f32.runtime();
    if place.is_key {
        owned = keys[place.keys + t * layout.key_time + place.channel];
    } else if place.is_value {
        owned = values[place.values + t * layout.value_time + place.channel];
    }
    owned
}

/// The slots before the first token: a unit's channel of each, and its log-sum; an empty one holds nothing.
#[cube]
pub(super) fn begin(
    carry_log_sum: &Array<f32>,
    carry_memory: &Array<f32>,
    row: usize,
    place: Place,
    memory: &mut Array<f32>,
    #[comptime] geometry: Geometry,
) -> f32 {
    let slots = comptime!(geometry.slots as usize);
    let wide = comptime!(2 * geometry.head_dim as usize);
    #[unroll]
    for m in 0..slots {
        memory[m] = 0.0f32.runtime();
        let is_held = (place.is_key || place.is_value) && carry_log_sum[row * slots + m] > EMPTY;
        if is_held {
            memory[m] = carry_memory[(row * slots + m) * wide + UNIT_POS as usize];
        }
    }
    let mut log_sum = EMPTY.runtime();
    if place.is_slot {
        log_sum = carry_log_sum[row * slots + UNIT_POS as usize];
    }
    log_sum
}

/// Writes a token to all slots; waits once.
#[cube]
pub(super) fn take_in<Flag: Numeric>(
    scores: &Array<f32>,
    reset: &Array<Flag>,
    layout: &Layout,
    place: Place,
    t: usize,
    owned: f32,
    past: f32,
    memory: &mut Array<f32>,
    gates: &mut SharedMemory<f32>,
    #[comptime] geometry: Geometry,
) -> Written {
    let slots = comptime!(geometry.slots as usize);
    let unit = UNIT_POS as usize;
    let is_reset = u32::cast_from(reset[place.reset + t]) == 1u32;
    let mut log_sum = past;
    let mut keep = 0.0f32.runtime();
    let mut take = 0.0f32.runtime();
    if place.is_slot {
        let score = finite_score(scores[place.scores + t * layout.score_time + unit]);
        let flag = select(is_reset, 1u32, 0u32);
        let shares = gate(score, past, flag);
        log_sum = log_add_exp(select(is_reset, EMPTY, past), score);
        keep = shares.keep;
        take = shares.take;
        gates[unit] = keep;
        gates[slots + unit] = take;
    }
    sync_cube();
    #[unroll]
    for m in 0..slots {
        let mut held = memory[m];
        if is_reset {
            held = 0.0f32;
        }
        memory[m] = gates[m] * held + gates[slots + m] * owned;
    }
    Written { log_sum, keep, take }
}

/// The sum that a unit's slot gets from the channels `from..to`, in order.
#[cube]
pub(super) fn sum_of_slot(
    products: &SharedMemory<f32>,
    #[comptime] from: usize,
    #[comptime] to: usize,
    #[comptime] stride: usize,
) -> f32 {
    let unit = UNIT_POS as usize;
    let mut sum = 0.0f32.runtime();
    #[unroll]
    for channel in from..to {
        sum += products[unit * stride + channel];
    }
    sum
}

/// The weights of the slots, whose logits are in shared memory.
#[cube]
pub(super) fn softmax(logits: &SharedMemory<f32>, weights: &mut Array<f32>, #[comptime] slots: usize) {
    let mut top = logits[0];
    #[unroll]
    for m in 1..slots {
        top = max(top, logits[m]);
    }
    let mut sum = 0.0f32.runtime();
    #[unroll]
    for m in 0..slots {
        let weight = (logits[m] - top).exp();
        weights[m] = weight;
        sum += weight;
    }
    #[unroll]
    for m in 0..slots {
        weights[m] /= sum;
    }
}
