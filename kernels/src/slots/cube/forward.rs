//! The forward kernel; [`parts`](super::parts) says what it reads, who owns what and what it costs.

use super::parts::{Geometry, Layout, begin, owned, place, softmax, sum_of_slot, take_in};
use crate::cube::EMPTY;
use burn_cubecl::cubecl;
use cubecl::prelude::*;

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
    minus_infinity: f32,
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
        packed[memory_base + slots * wide + unit] = select(log_sum <= EMPTY, minus_infinity, log_sum);
    }
}
