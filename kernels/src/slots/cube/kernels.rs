//! Slot attention's kernels: forward; forward again with what the gradient asks of the slots; and the way back through time.
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
pub(crate) const MOST_SLOTS: usize = 64;
/// Rounds of the loop over tokens.
pub(crate) const MOST_TOKENS: usize = 65_000;
/// Numbers of a token and slot that the first backward pass leaves to the second: what is kept and taken, the weight, the gradient of the
/// logit times its scale, and what is asked of the slot.
pub(crate) const TRACE: usize = 5;

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
struct Written {
    log_sum: f32,
    keep: f32,
    take: f32,
}

/// One unit's place, and where its numbers begin.
#[derive(CubeType, Clone, Copy)]
struct Place {
    scores: usize,
    queries: usize,
    keys: usize,
    values: usize,
    /// In the row of flags.
    reset: usize,
    /// Channel of keys or values.
    channel: usize,
    is_key: bool,
    is_value: bool,
    is_slot: bool,
}

#[cube]
fn place(layout: &Layout, row: usize, #[comptime] geometry: Geometry) -> Place {
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
fn owned(keys: &Array<f32>, values: &Array<f32>, layout: &Layout, place: Place, t: usize) -> f32 {
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
fn begin(
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
fn take_in<Flag: Numeric>(
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
fn sum_of_slot(products: &SharedMemory<f32>, #[comptime] from: usize, #[comptime] to: usize, #[comptime] stride: usize) -> f32 {
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
fn softmax(logits: &SharedMemory<f32>, weights: &mut Array<f32>, #[comptime] slots: usize) {
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

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn forward<Flag: Numeric>(
    scores: &Array<f32>,
    queries: &Array<f32>,
    keys: &Array<f32>,
    values: &Array<f32>,
    carry_log_sum: &Array<f32>,
    carry_memory: &Array<f32>,
    reset: &Array<Flag>,
    packed: &mut Array<f32>,
    layout: &Layout,
    scale: f32,
    #[comptime] geometry: Geometry,
    #[define(Flag)] _type: StorageType,
) {
    let slots = comptime!(geometry.slots as usize);
    let head_dim = comptime!(geometry.head_dim as usize);
    let wide = comptime!(2 * head_dim);
    // One more column than channels, so that neighbouring slots' sums are in different banks.
    let stride = comptime!(wide + 1);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= layout.rows {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let place = place(layout, row, geometry);
    let time = layout.time;
    let base = row * (time * head_dim + slots * stride);

    let mut gates = SharedMemory::<f32>::new(comptime!(2 * slots));
    let mut logits = SharedMemory::<f32>::new(slots);
    let mut products = SharedMemory::<f32>::new(comptime!(slots * stride));
    // CubeCL 0.10 lets arrays that are first used in different branches share memory, even where both are alive later. Touching
    // all of them in one place gives each its own.
    if unit == 0 {
        gates[0] = 0.0f32;
        logits[0] = 0.0f32;
        products[0] = 0.0f32;
    }
    sync_cube();
    let mut memory = Array::<f32>::new(slots);
    let mut weights = Array::<f32>::new(slots);
    let mut log_sum = begin(carry_log_sum, carry_memory, row, place, &mut memory, geometry);
    for t in 0..time {
        let owned = owned(keys, values, layout, place, t);
        let written = take_in::<Flag>(scores, reset, layout, place, t, owned, log_sum, &mut memory, &mut gates, geometry);
        log_sum = written.log_sum;
        if place.is_key {
            let query = queries[place.queries + t * layout.query_time + place.channel];
            #[unroll]
            for m in 0..slots {
                products[m * stride + unit] = query * memory[m];
            }
        }
        sync_cube();
        if place.is_slot {
            logits[unit] = scale * sum_of_slot(&products, 0usize, head_dim, stride);
        }
        sync_cube();
        if place.is_value {
            softmax(&logits, &mut weights, slots);
            let mut read = 0.0f32.runtime();
            #[unroll]
            for m in 0..slots {
                read += weights[m] * memory[m];
            }
            packed[base + t * head_dim + place.channel] = read;
        }
    }
    let memory_base = base + time * head_dim;
    let is_channel = place.is_key || place.is_value;
    if is_channel {
        #[unroll]
        for m in 0..slots {
            packed[memory_base + m * wide + unit] = memory[m];
        }
    }
    if place.is_slot {
        packed[memory_base + slots * wide + unit] = log_sum;
    }
}

/// In order of time: gradients of queries, and what the way back needs of every token.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn ask<Flag: Numeric>(
    scores: &Array<f32>,
    queries: &Array<f32>,
    keys: &Array<f32>,
    values: &Array<f32>,
    carry_log_sum: &Array<f32>,
    carry_memory: &Array<f32>,
    reset: &Array<Flag>,
    // As what the forward pass wrote.
    grads: &Array<f32>,
    query_grads: &mut Array<f32>,
    // [rows, time, TRACE, slots]
    trace: &mut Array<f32>,
    // What is asked of the slots after the last token: [rows, slots]
    asked_last: &mut Array<f32>,
    layout: &Layout,
    scale: f32,
    #[comptime] geometry: Geometry,
    #[define(Flag)] _type: StorageType,
) {
    let slots = comptime!(geometry.slots as usize);
    let head_dim = comptime!(geometry.head_dim as usize);
    let wide = comptime!(2 * head_dim);
    let stride = comptime!(wide + 1);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= layout.rows {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let place = place(layout, row, geometry);
    let time = layout.time;
    let base = row * (time * head_dim + slots * stride);

    let mut gates = SharedMemory::<f32>::new(comptime!(2 * slots));
    let mut logits = SharedMemory::<f32>::new(slots);
    let mut weight_grads = SharedMemory::<f32>::new(slots);
    let mut products = SharedMemory::<f32>::new(comptime!(slots * stride));
    if unit == 0 {
        gates[0] = 0.0f32;
        logits[0] = 0.0f32;
        weight_grads[0] = 0.0f32;
        products[0] = 0.0f32;
    }
    sync_cube();
    let mut memory = Array::<f32>::new(slots);
    let mut weights = Array::<f32>::new(slots);
    let mut log_sum = begin(carry_log_sum, carry_memory, row, place, &mut memory, geometry);
    let is_channel = place.is_key || place.is_value;
    for t in 0..time {
        let owned = owned(keys, values, layout, place, t);
        let written = take_in::<Flag>(scores, reset, layout, place, t, owned, log_sum, &mut memory, &mut gates, geometry);
        log_sum = written.log_sum;
        if is_channel {
            let query = queries[place.queries + t * layout.query_time + place.channel];
            let upstream = grads[base + t * head_dim + place.channel];
            let asks = select(place.is_key, query, upstream);
            #[unroll]
            for m in 0..slots {
                products[m * stride + unit] = asks * memory[m];
            }
        }
        sync_cube();
        if place.is_slot {
            logits[unit] = scale * sum_of_slot(&products, 0usize, head_dim, stride);
            weight_grads[unit] = sum_of_slot(&products, head_dim, wide, stride);
        }
        sync_cube();
        softmax(&logits, &mut weights, slots);
        let mut mean = 0.0f32.runtime();
        #[unroll]
        for m in 0..slots {
            mean += weights[m] * weight_grads[m];
        }
        if place.is_key {
            let mut query_grad = 0.0f32.runtime();
            #[unroll]
            for m in 0..slots {
                query_grad += weights[m] * (weight_grads[m] - mean) * scale * memory[m];
            }
            query_grads[(row * time + t) * head_dim + place.channel] = query_grad;
        }
        #[unroll]
        for m in 0..slots {
            if unit == m {
                let at = (row * time + t) * comptime!(TRACE * slots) + m;
                let logit_grad = weights[m] * (weight_grads[m] - mean);
                trace[at] = written.keep;
                trace[at + slots] = written.take;
                trace[at + comptime!(2 * slots)] = weights[m];
                trace[at + comptime!(3 * slots)] = logit_grad * scale;
                trace[at + comptime!(4 * slots)] = logit_grad * logits[m] + weights[m] * weight_grads[m];
            }
        }
    }
    // The gradient of the last memory asks too.
    let memory_base = base + time * head_dim;
    sync_cube();
    if is_channel {
        #[unroll]
        for m in 0..slots {
            products[m * stride + unit] = grads[memory_base + m * wide + unit] * memory[m];
        }
    }
    sync_cube();
    if place.is_slot {
        let mut asked = sum_of_slot(&products, 0usize, wide, stride);
        // A log-sum of minus infinity is a constant.
        if log_sum > EMPTY {
            asked -= grads[memory_base + slots * wide + unit];
        }
        asked_last[row * slots + unit] = asked;
    }
}

/// From the last token to the first: gradients of scores, keys, values and carry.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn answer<Flag: Numeric>(
    queries: &Array<f32>,
    keys: &Array<f32>,
    values: &Array<f32>,
    carry_log_sum: &Array<f32>,
    carry_memory: &Array<f32>,
    reset: &Array<Flag>,
    grads: &Array<f32>,
    trace: &Array<f32>,
    asked_last: &Array<f32>,
    score_grads: &mut Array<f32>,
    key_grads: &mut Array<f32>,
    value_grads: &mut Array<f32>,
    carry_log_sum_grads: &mut Array<f32>,
    carry_memory_grads: &mut Array<f32>,
    layout: &Layout,
    #[comptime] geometry: Geometry,
    #[define(Flag)] _type: StorageType,
) {
    let slots = comptime!(geometry.slots as usize);
    let head_dim = comptime!(geometry.head_dim as usize);
    let wide = comptime!(2 * head_dim);
    let stride = comptime!(wide + 1);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= layout.rows {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let place = place(layout, row, geometry);
    let time = layout.time;
    let base = row * (time * head_dim + slots * stride);
    let memory_base = base + time * head_dim;
    let is_channel = place.is_key || place.is_value;

    // Of a token: what is kept, taken, the weight, and the gradient of the logit, of every slot.
    let mut of_token = SharedMemory::<f32>::new(comptime!(4 * slots));
    let mut products = SharedMemory::<f32>::new(comptime!(slots * stride));
    if unit == 0 {
        of_token[0] = 0.0f32;
        products[0] = 0.0f32;
    }
    sync_cube();
    let mut downstream = Array::<f32>::new(slots);
    #[unroll]
    for m in 0..slots {
        downstream[m] = 0.0f32.runtime();
        if is_channel {
            downstream[m] = grads[memory_base + m * wide + unit];
        }
    }
    let mut weighted = 0.0f32.runtime();
    if place.is_slot {
        weighted = asked_last[row * slots + unit];
    }
    for back in 0..time {
        let t = time - 1 - back;
        let at = (row * time + t) * comptime!(TRACE * slots);
        let is_reset = u32::cast_from(reset[place.reset + t]) == 1u32;
        if place.is_slot {
            #[unroll]
            for part in 0..4usize {
                of_token[part * slots + unit] = trace[at + part * slots + unit];
            }
            weighted += trace[at + comptime!(4 * slots) + unit];
        }
        sync_cube();
        if is_channel {
            let owned = owned(keys, values, layout, place, t);
            let query = queries[place.queries + t * layout.query_time + place.channel];
            let upstream = grads[base + t * head_dim + place.channel];
            let asks = select(place.is_key, query, upstream);
            let mut grad = 0.0f32.runtime();
            #[unroll]
            for m in 0..slots {
                let share = select(place.is_key, of_token[comptime!(3 * slots + m)], of_token[comptime!(2 * slots + m)]);
                let sum = downstream[m] + share * asks;
                grad += of_token[comptime!(slots + m)] * sum;
                products[m * stride + unit] = sum * owned;
                downstream[m] = of_token[m] * sum;
                if is_reset {
                    downstream[m] = 0.0f32;
                }
            }
            if place.is_key {
                key_grads[(row * time + t) * head_dim + place.channel] = grad;
            } else {
                value_grads[(row * time + t) * head_dim + place.channel] = grad;
            }
        }
        sync_cube();
        if place.is_slot {
            let keep = trace[at + unit];
            let take = trace[at + slots + unit];
            let mut score_grad = 0.0f32.runtime();
            if take != 0.0f32 {
                score_grad = take * (sum_of_slot(&products, 0usize, wide, stride) - weighted);
            }
            score_grads[(row * time + t) * slots + unit] = score_grad;
            weighted *= keep;
            if is_reset {
                weighted = 0.0f32;
            }
        }
    }
    // Who still reads the last products is waited for.
    sync_cube();
    if is_channel {
        #[unroll]
        for m in 0..slots {
            let mut held = 0.0f32.runtime();
            let mut grad = 0.0f32.runtime();
            if carry_log_sum[row * slots + m] > EMPTY {
                held = carry_memory[(row * slots + m) * wide + unit];
                grad = downstream[m];
            }
            carry_memory_grads[(row * slots + m) * wide + unit] = grad;
            products[m * stride + unit] = grad * held;
        }
    }
    sync_cube();
    if place.is_slot {
        let mut grad = 0.0f32.runtime();
        if carry_log_sum[row * slots + unit] > EMPTY {
            grad = sum_of_slot(&products, 0usize, wide, stride) - weighted;
        }
        carry_log_sum_grads[row * slots + unit] = grad;
    }
}
