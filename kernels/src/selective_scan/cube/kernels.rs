//! The selective scan's kernels, forward and backward.
//!
//! ```text
//! h_t[n] = exp(delta_t A[n]) h_{t-1}[n] + delta_t u_t B_t[n]           y_t = sum over n of C_t[n] h_t[n]
//!
//! P[n] += C_t[n] dy_t          dC_t[n] = sum over c of h_t[n] dy_t          dB_t[n] = sum over c of P[n] delta_t u_t
//! Q[n] = P[n] exp(delta_t A[n]) h_{t-1}[n]            dA[n] += Q[n] delta_t
//! du_t = delta_t (sum over n of P[n] B_t[n])          ddelta_t = sum over n of (Q[n] A[n] + P[n] u_t B_t[n])
//! P[n] <- exp(delta_t A[n]) P[n], and at the end dh_0 = P
//! ```
//!
//! A reset counts as a decay to 0, and gets no gradient. All but `A`, `B` and `C` is of one channel.
//!
//! **Inputs.** `u`, `delta` `[batch, time, channels]`, `B`, `C` `[batch, time, states]`, batch and time strides free; `A [states, channels]`,
//! `h_0` and the gradient contiguous; all f32 (what is not, is cast before). **Outputs.** As on the CPU, outputs and last carry in a
//! row; or the states before every [`SPAN`]th token, from which the backward pass makes those between again; or the gradients,
//! those of `B` and `C` a number for every block of channels and that of `A` one for every batch row, which Burn adds up.
//!
//! **Who owns what.** A unit owns a channel of a batch row and walks time in spans; a cube owns [`UNITS`] neighbouring channels. Of a span,
//! a unit holds its channel's tokens in registers, the cube shares `B`, `C` and the flags. For one state after the other the unit
//! runs over the span: the states of all tokens of a span never lie anywhere at once. Sums over channels go through shared memory,
//! units in order.
//!
//! **Bytes.** Forward: `u`, `delta` read once and outputs written once, `12` bytes a token and channel, `B` and `C` once a block of
//! channels. Backward: `u` and `delta` twice, output gradients once, two gradients written once, `28`, and the states of every
//! span written and read, `8 states / SPAN`.
//! **Shared memory.** Forward `states (UNITS + 2 SPAN)` floats, backward `2 states (UNITS + SPAN) + 2 SPAN (UNITS + 1)`: 18 KiB for 16
//! states.
//! **Accumulation.** f32. Sums have one order: the same bits every run.
//! **Limits.** As many states as shared memory holds; beyond that the reference runs. Time is not cut in segments: a device is full
//! when `batch channels` units fill it.
//!
//! **Versions.** (1) This one, checked on software Vulkan and not yet timed on a GPU. The sum over channels is unrolled: software
//! Vulkan ends a shader after 65,535 rounds of its loops, all together, and says nothing.
//!
//! Source: Gu and Dao 2023, arXiv:2312.00752, section 3.3.2: states where they are used, made again for the gradient.

use crate::cube::TokenStrides;
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// Units of a cube: whole planes (software Vulkan computes wrongly with parts of one), and twice as many as a span's tokens.
pub(crate) const UNITS: usize = 64;
/// Tokens between two kept states.
pub(crate) const SPAN: usize = 16;

/// What a launch does: fixed when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub states: u32,
    /// Whether only the states before every span are wanted.
    pub keeps: bool,
}

/// Sizes, and where the elements lie.
#[derive(CubeLaunch, CubeType)]
pub(crate) struct Layout {
    /// Batch rows times blocks of channels.
    pub rows: usize,
    pub blocks: usize,
    pub time: usize,
    pub channels: usize,
    pub inputs: TokenStrides,
    pub steps: TokenStrides,
    pub writes: TokenStrides,
    pub reads: TokenStrides,
}

/// A span of `B` or `C` into shared memory, zeros after the end.
#[cube]
fn share(
    from: &Array<f32>,
    base: usize,
    stride: usize,
    first: usize,
    time: usize,
    shared: &mut SharedMemory<f32>,
    #[comptime] states: usize,
) {
    let count = comptime!(states * SPAN);
    for k in 0..comptime!(count.div_ceil(UNITS)) {
        let index = k * UNITS + UNIT_POS as usize;
        if index < count {
            let t = first + index / states;
            let mut number = 0.0f32.runtime();
            if t < time {
                number = from[base + t * stride + index % states];
            }
            shared[index] = number;
        }
    }
}

/// A span of flags into shared memory.
#[cube]
fn share_flags<Flag: Numeric>(reset: &Array<Flag>, base: usize, first: usize, time: usize, shared: &mut SharedMemory<u32>) {
    let unit = UNIT_POS as usize;
    if unit < SPAN {
        let mut flag = 0u32.runtime();
        if first + unit < time {
            flag = u32::cast_from(reset[base + first + unit]);
        }
        shared[unit] = flag;
    }
}

/// A channel's tokens of a span; zeros after the end, where a step of 0 changes nothing.
#[cube]
fn own(from: &Array<f32>, base: usize, stride: usize, first: usize, end: usize, tokens: &mut Array<f32>) {
    #[unroll]
    for i in 0..SPAN {
        tokens[i] = 0.0f32.runtime();
        if first + i < end {
            tokens[i] = from[base + (first + i) * stride];
        }
    }
}

/// `h_t` of one state.
#[cube]
fn next(state: f32, decay: f32, step: f32, input: f32, write: f32, reset: u32) -> f32 {
    let written = step * input * write;
    let mut next = written;
    if reset == 0u32 {
        next = (step * decay).exp() * state + written;
    }
    next
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn forward<Flag: Numeric>(
    inputs: &Array<f32>,
    steps: &Array<f32>,
    decays: &Array<f32>,
    writes: &Array<f32>,
    reads: &Array<f32>,
    carry: &Array<f32>,
    reset: &Array<Flag>,
    packed: &mut Array<f32>,
    kept: &mut Array<f32>,
    layout: &Layout,
    #[comptime] geometry: Geometry,
    #[define(Flag)] _type: StorageType,
) {
    let states = comptime!(geometry.states as usize);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= layout.rows {
        terminate!();
    }
    let batch = row / layout.blocks;
    let unit = UNIT_POS as usize;
    let channels = layout.channels;
    let channel = row % layout.blocks * UNITS + unit;
    let is_active = channel < channels;
    let time = layout.time;
    let end = select(is_active, time, 0usize);
    let state_base = batch * states * channels + channel;
    let output_base = batch * (time + states) * channels + channel;

    let mut write = SharedMemory::<f32>::new(comptime!(states * SPAN));
    let mut read = SharedMemory::<f32>::new(comptime!(states * SPAN));
    let mut resets = SharedMemory::<u32>::new(SPAN);
    let mut hidden = SharedMemory::<f32>::new(comptime!(states * UNITS));
    for n in 0..states {
        let mut first = 0.0f32.runtime();
        if is_active {
            first = carry[state_base + n * channels];
        }
        hidden[n * UNITS + unit] = first;
    }

    let mut input = Array::<f32>::new(SPAN);
    let mut step = Array::<f32>::new(SPAN);
    let mut output = Array::<f32>::new(SPAN);
    let spans = time.div_ceil(SPAN);
    for span in 0..spans {
        let first = span * SPAN;
        // Who still reads the last span is waited for.
        sync_cube();
        share(writes, batch * layout.writes.batch, layout.writes.time, first, time, &mut write, states);
        share(reads, batch * layout.reads.batch, layout.reads.time, first, time, &mut read, states);
        share_flags::<Flag>(reset, batch * time, first, time, &mut resets);
        own(inputs, batch * layout.inputs.batch + channel, layout.inputs.time, first, end, &mut input);
        own(steps, batch * layout.steps.batch + channel, layout.steps.time, first, end, &mut step);
        #[unroll]
        for i in 0..SPAN {
            output[i] = 0.0f32.runtime();
        }
        sync_cube();
        for n in 0..states {
            let mut decay = 0.0f32.runtime();
            if is_active {
                decay = decays[n * channels + channel];
            }
            let mut state = hidden[n * UNITS + unit];
            if comptime!(geometry.keeps) {
                let is_keeping = is_active;
                if is_keeping {
                    kept[((batch * spans + span) * states + n) * channels + channel] = state;
                }
            }
            #[unroll]
            for i in 0..SPAN {
                state = next(state, decay, step[i], input[i], write[i * states + n], resets[i]);
                output[i] += read[i * states + n] * state;
            }
            hidden[n * UNITS + unit] = state;
        }
        if comptime!(!geometry.keeps) {
            #[unroll]
            for i in 0..SPAN {
                if first + i < end {
                    packed[output_base + (first + i) * channels] = output[i];
                }
            }
        }
    }
    if comptime!(!geometry.keeps) {
        let is_writing = is_active;
        if is_writing {
            for n in 0..states {
                packed[output_base + (time + n) * channels] = hidden[n * UNITS + unit];
            }
        }
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn backward<Flag: Numeric>(
    inputs: &Array<f32>,
    steps: &Array<f32>,
    decays: &Array<f32>,
    writes: &Array<f32>,
    reads: &Array<f32>,
    reset: &Array<Flag>,
    // States before every span, and the gradient of outputs and last carry, in a row.
    kept: &Array<f32>,
    grads: &Array<f32>,
    input_grads: &mut Array<f32>,
    step_grads: &mut Array<f32>,
    // [batch, states, channels]
    decay_grads: &mut Array<f32>,
    // [batch, blocks, time, states]
    write_grads: &mut Array<f32>,
    read_grads: &mut Array<f32>,
    carry_grads: &mut Array<f32>,
    layout: &Layout,
    #[comptime] geometry: Geometry,
    #[define(Flag)] _type: StorageType,
) {
    let states = comptime!(geometry.states as usize);
    // One more column than units, so that neighbouring tokens' sums are in different banks.
    let columns = comptime!(UNITS + 1);
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= layout.rows {
        terminate!();
    }
    let batch = row / layout.blocks;
    let unit = UNIT_POS as usize;
    let channels = layout.channels;
    let channel = row % layout.blocks * UNITS + unit;
    let is_active = channel < channels;
    let time = layout.time;
    let end = select(is_active, time, 0usize);
    let state_base = batch * states * channels + channel;
    let grad_base = batch * (time + states) * channels + channel;
    let token_base = batch * time * channels + channel;

    let mut write = SharedMemory::<f32>::new(comptime!(states * SPAN));
    let mut read = SharedMemory::<f32>::new(comptime!(states * SPAN));
    let mut resets = SharedMemory::<u32>::new(SPAN);
    // P and the sum of dA, a channel a unit.
    let mut arrived = SharedMemory::<f32>::new(comptime!(states * UNITS));
    let mut decay_sums = SharedMemory::<f32>::new(comptime!(states * UNITS));
    // What channels add to the gradients of B, then of C.
    let mut products = SharedMemory::<f32>::new(comptime!(2 * SPAN * columns));
    for n in 0..states {
        let mut last = 0.0f32.runtime();
        if is_active {
            last = grads[grad_base + (time + n) * channels];
        }
        arrived[n * UNITS + unit] = last;
        decay_sums[n * UNITS + unit] = 0.0f32;
    }

    let mut input = Array::<f32>::new(SPAN);
    let mut step = Array::<f32>::new(SPAN);
    let mut grad = Array::<f32>::new(SPAN);
    let mut input_sums = Array::<f32>::new(SPAN);
    let mut step_sums = Array::<f32>::new(SPAN);
    // The states before and after every token of the span.
    let mut hidden = Array::<f32>::new(comptime!(SPAN + 1));
    let spans = time.div_ceil(SPAN);
    for number in 0..spans {
        let span = spans - 1 - number;
        let first = span * SPAN;
        // Who still reads the last span is waited for.
        sync_cube();
        share(writes, batch * layout.writes.batch, layout.writes.time, first, time, &mut write, states);
        share(reads, batch * layout.reads.batch, layout.reads.time, first, time, &mut read, states);
        share_flags::<Flag>(reset, batch * time, first, time, &mut resets);
        own(inputs, batch * layout.inputs.batch + channel, layout.inputs.time, first, end, &mut input);
        own(steps, batch * layout.steps.batch + channel, layout.steps.time, first, end, &mut step);
        own(grads, grad_base, channels, first, end, &mut grad);
        #[unroll]
        for i in 0..SPAN {
            input_sums[i] = 0.0f32.runtime();
            step_sums[i] = 0.0f32.runtime();
        }
        sync_cube();
        for n in 0..states {
            let mut decay = 0.0f32.runtime();
            let mut state = 0.0f32.runtime();
            if is_active {
                decay = decays[n * channels + channel];
                state = kept[((batch * spans + span) * states + n) * channels + channel];
            }
            hidden[0] = state;
            #[unroll]
            for i in 0..SPAN {
                state = next(state, decay, step[i], input[i], write[i * states + n], resets[i]);
                hidden[comptime!(i + 1)] = state;
            }
            let mut p = arrived[n * UNITS + unit];
            let mut decay_sum = decay_sums[n * UNITS + unit];
            #[unroll]
            for back in 0..SPAN {
                let i = comptime!(SPAN - 1 - back);
                p += read[i * states + n] * grad[i];
                products[i * columns + unit] = p * step[i] * input[i];
                products[(comptime!(SPAN + i)) * columns + unit] = hidden[comptime!(i + 1)] * grad[i];
                let through = p * write[i * states + n];
                input_sums[i] += through * step[i];
                let mut step_grad = through * input[i];
                let mut passed = 0.0f32.runtime();
                if resets[i] == 0u32 {
                    passed = p * (step[i] * decay).exp();
                    let q = passed * hidden[i];
                    step_grad += q * decay;
                    decay_sum += q * step[i];
                }
                step_sums[i] += step_grad;
                p = passed;
            }
            arrived[n * UNITS + unit] = p;
            decay_sums[n * UNITS + unit] = decay_sum;
            sync_cube();
            // A sum over the channels a unit.
            if unit < comptime!(2 * SPAN) {
                let mut sum = 0.0f32.runtime();
                #[unroll]
                for other in 0..UNITS {
                    sum += products[unit * columns + other];
                }
                let t = first + unit % SPAN;
                if t < time {
                    let at = (row * time + t) * states + n;
                    if unit < SPAN {
                        write_grads[at] = sum;
                    } else {
                        read_grads[at] = sum;
                    }
                }
            }
            sync_cube();
        }
        #[unroll]
        for i in 0..SPAN {
            if first + i < end {
                input_grads[token_base + (first + i) * channels] = input_sums[i];
                step_grads[token_base + (first + i) * channels] = step_sums[i];
            }
        }
    }
    if is_active {
        for n in 0..states {
            carry_grads[state_base + n * channels] = arrived[n * UNITS + unit];
            decay_grads[state_base + n * channels] = decay_sums[n * UNITS + unit];
        }
    }
}
