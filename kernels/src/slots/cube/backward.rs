//! The two backward kernels; [`parts`](super::parts) says what they read, who owns what and what they cost.

use super::parts::{Geometry, Layout, TRACE, begin, owned, place, softmax, sum_of_slot, take_in};
use crate::cube::EMPTY;
use burn_cubecl::cubecl;
use cubecl::prelude::*;

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
