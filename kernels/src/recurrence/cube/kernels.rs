//! The recurrence's kernels: one for both directions of time, and one that joins segments.
//!
//! ```text
//! forward   h_t = a_t h_{t-1} + x_t                  h_t = x_t where t starts an episode
//! backward  g_t = dh_t + a_{t+1} g_{t+1}             g_t = dh_t where t + 1 starts an episode
//!           dx_t = g_t       da_t = g_t h_{t-1}      dh_0 = a_1 g_1      (both 0 at a reset)
//! ```
//!
//! Backward is the same recurrence from the last token to the first, with every gate one token later: what is below counts
//! positions in the direction of the pass.
//!
//! **Inputs.** `gates`, `inputs` (backward: the gradient of the states) and `states` `[batch, time, channels]` in f32, f16 or bf16, batch
//! and time strides free and `channels` contiguous; `reset [batch, time]`; a start for every segment, f32.
//! **Outputs.** The states, or the gradients of inputs, gates and carry; or, where the kernel summarizes segments, what each makes of
//! what it is given: a state, a product of gates, and whether there was a reset.
//!
//! **Who owns what.** A cube owns a block of channels of one batch row in one segment of time, and walks it in tiles. Its units stand
//! in a grid of `lanes x parts`: a lane is a vector of neighbouring channels, a part a run of positions of the tile, which a unit
//! holds in registers. In a tile a unit
//!
//! 1. runs the recurrence over its own positions from nothing, and leaves the result and the product of the gates;
//! 2. loads the numbers of its next tile, so that the loads overlap with the work of the cube;
//! 3. joins what the parts before its own left, and adds it, times its own products of gates, to its positions.
//!
//! What parts leave is kept twice, for odd and for even tiles: one barrier a tile.
//!
//! **Bytes.** Forward: gates and inputs read once, states written once, `3 e` bytes a token and channel, `e` those of a number.
//! Backward: gates, states and their gradients read once, two gradients written once, `5 e`. Flags once a block of channels.
//! Where the blocks are too few to fill the device and time is cut in segments, gates and inputs are read twice.
//! **Shared memory.** `4 parts lanes + 2 lanes` vectors of 4 f32 and `2 parts` flags: below 18 KiB.
//! **Accumulation.** f32, whatever the numbers are. The identity is a gate of 1 and an input of 0: positions after the end pass the
//! state on. A reset is a flag and not a gate of 0: what is not finite does not cross it. Sums have one order: the same bits every run.
//! **Limits.** None of shape; other float types take the reference.
//!
//! **Versions.** (1) This one, checked on software Vulkan and not yet timed on a GPU. Joining the parts in sequence takes
//! `parts / 2` multiply-adds of vectors a tile against the `tokens` of step 1: parts are 8 where a block is 32 lanes, 32 at most.
//!
//! Source: Blelloch 1990, *Prefix sums and their applications*, section 1.4.

use crate::cube::TokenStrides;
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// How a cube's units stand, and what they do: fixed when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    /// Units along the channels, each holding one vector.
    pub lanes: u32,
    /// Units along time.
    pub parts: u32,
    /// Positions that a unit holds at a time.
    pub tokens: u32,
    /// Units that are launched: whole planes (software Vulkan computes wrongly with parts of one). Those beyond `lanes x parts` only
    /// wait with the others.
    pub launched: u32,
    /// Whether the pass is that of the gradient, last token first.
    pub is_backward: bool,
    /// Whether only what a segment makes of its start is wanted.
    pub is_summary: bool,
    /// Whether segments start from something; else from zero.
    pub has_start: bool,
}

/// Sizes, and where the elements of the arrays lie; in vectors.
#[derive(CubeLaunch, CubeType)]
pub(crate) struct Layout {
    /// Batch rows times blocks of channels.
    pub rows: usize,
    pub blocks: usize,
    /// Vectors of a token.
    pub width: usize,
    pub time: usize,
    /// Positions of a segment: all but the last have this many.
    pub segment: usize,
    pub segments: usize,
    pub gates: TokenStrides,
    pub inputs: TokenStrides,
    pub states: TokenStrides,
}

/// Where one unit's numbers are: offsets of its channels at the first token, and the end of its positions (0 for one that idles).
#[derive(CubeType, Clone, Copy)]
struct Place {
    gates: usize,
    inputs: usize,
    reset: usize,
    end: usize,
}

/// The token at a position.
#[cube]
fn token(position: usize, time: usize, #[comptime] is_backward: bool) -> usize {
    let mut token = position;
    if comptime!(is_backward) {
        token = time - 1 - position;
    }
    token
}

/// Reads a unit's tokens from position `first` on: gates, inputs, and whether what came before is forgotten.
#[cube]
fn read<E: Float, Flag: Numeric, N: Size>(
    gates: &Array<Vector<E, N>>,
    inputs: &Array<Vector<E, N>>,
    reset: &Array<Flag>,
    layout: &Layout,
    place: Place,
    first: usize,
    gates_ahead: &mut Array<Vector<f32, N>>,
    inputs_ahead: &mut Array<Vector<f32, N>>,
    resets_ahead: &mut Array<u32>,
    #[comptime] geometry: Geometry,
) {
    #[unroll]
    for i in 0..comptime!(geometry.tokens as usize) {
        let position = first + i;
        gates_ahead[i] = Vector::new(1.0f32);
        inputs_ahead[i] = Vector::new(0.0f32);
        resets_ahead[i] = 0u32;
        if position < place.end {
            let t = token(position, layout.time, geometry.is_backward);
            inputs_ahead[i] = Vector::cast_from(inputs[place.inputs + t * layout.inputs.time]);
            if comptime!(!geometry.is_backward) {
                gates_ahead[i] = Vector::cast_from(gates[place.gates + t * layout.gates.time]);
                resets_ahead[i] = u32::cast_from(reset[place.reset + t]);
            } else if position > 0 {
                gates_ahead[i] = Vector::cast_from(gates[place.gates + (t + 1) * layout.gates.time]);
                resets_ahead[i] = u32::cast_from(reset[place.reset + t + 1]);
            }
        }
    }
}

/// `state * gate + input`, or only the input where there was a reset.
#[cube]
fn joined<N: Size>(state: Vector<f32, N>, gate: Vector<f32, N>, input: Vector<f32, N>, reset: u32) -> Vector<f32, N> {
    let mut joined = input;
    if reset == 0u32 {
        joined = state * gate + input;
    }
    joined
}

#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn gated_recurrence<E: Float, Flag: Numeric, N: Size>(
    gates: &Array<Vector<E, N>>,
    inputs: &Array<Vector<E, N>>,
    reset: &Array<Flag>,
    starts: &Array<Vector<f32, N>>,
    // Backward only: what the forward pass started from and computed.
    carry: &Array<Vector<f32, N>>,
    states: &Array<Vector<E, N>>,
    // States, or gradients of the inputs.
    outputs: &mut Array<Vector<E, N>>,
    gate_grads: &mut Array<Vector<E, N>>,
    carry_grads: &mut Array<Vector<f32, N>>,
    // Summaries only.
    segment_states: &mut Array<Vector<f32, N>>,
    segment_gates: &mut Array<Vector<f32, N>>,
    segment_resets: &mut Array<u32>,
    layout: &Layout,
    #[comptime] geometry: Geometry,
    #[define(E, Flag)] _types: [StorageType; 2],
) {
    let lanes = comptime!(geometry.lanes as usize);
    let parts = comptime!(geometry.parts as usize);
    let tokens = comptime!(geometry.tokens as usize);
    let units = comptime!(lanes * parts);
    let tile = comptime!(parts * tokens);

    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    let segment = CUBE_POS_Z as usize;
    if row >= layout.rows {
        terminate!();
    }
    let batch = row / layout.blocks;
    let block = row % layout.blocks;
    let unit = UNIT_POS as usize;
    let lane = unit % lanes;
    let part = min(unit / lanes, comptime!(parts - 1));
    let column = block * lanes + lane;
    let is_standing = unit < units;
    let is_active = is_standing && column < layout.width;
    let start = segment * layout.segment;
    let end = min(start + layout.segment, layout.time);
    let slot = (batch * layout.segments + segment) * layout.width + column;
    let place = Place {
        gates: batch * layout.gates.batch + column,
        inputs: batch * layout.inputs.batch + column,
        reset: batch * layout.time,
        end: select(is_active, end, 0usize),
    };
    let state_base = batch * layout.states.batch + column;
    let output_base = batch * layout.time * layout.width + column;

    let mut part_states = SharedMemory::<Vector<f32, N>>::new(2 * units);
    let mut part_gates = SharedMemory::<Vector<f32, N>>::new(2 * units);
    let mut part_resets = SharedMemory::<u32>::new(2 * parts);
    let mut past_states = SharedMemory::<Vector<f32, N>>::new(2 * lanes);
    // CubeCL 0.10 lets arrays that are first used in different branches share memory, even where both are alive later. Touching
    // all of them in one place gives each its own.
    if unit == 0 {
        part_states[0] = Vector::new(0.0f32);
        part_gates[0] = Vector::new(1.0f32);
        part_resets[0] = 0u32;
        past_states[0] = Vector::new(0.0f32);
    }
    sync_cube();
    let mut first = Vector::<f32, N>::new(0.0f32);
    if comptime!(geometry.has_start) {
        let is_reading = is_active && part == 0;
        if is_reading {
            first = starts[slot];
        }
    }
    if is_standing && part == 0 {
        past_states[lane] = first;
    }

    let mut gates_ahead = Array::<Vector<f32, N>>::new(tokens);
    let mut inputs_ahead = Array::<Vector<f32, N>>::new(tokens);
    let mut resets_ahead = Array::<u32>::new(tokens);
    let own = start + part * tokens;
    read::<E, Flag, N>(
        gates,
        inputs,
        reset,
        layout,
        place,
        own,
        &mut gates_ahead,
        &mut inputs_ahead,
        &mut resets_ahead,
        geometry,
    );

    let mut own_states = Array::<Vector<f32, N>>::new(tokens);
    let mut own_gates = Array::<Vector<f32, N>>::new(tokens);
    let mut own_resets = Array::<u32>::new(tokens);
    let mut before = Array::<Vector<f32, N>>::new(tokens);
    let mut segment_gate = Vector::<f32, N>::new(1.0f32);
    let mut segment_reset = 0u32;
    let tiles = (end - start).div_ceil(tile);
    for number in 0..tiles {
        let first = own + number * tile;
        let half = number % 2;

        // 1. This unit's positions from nothing.
        let mut state = Vector::<f32, N>::new(0.0f32);
        let mut gate = Vector::<f32, N>::new(1.0f32);
        let mut has_reset = 0u32;
        #[unroll]
        for i in 0..tokens {
            state = joined::<N>(state, gates_ahead[i], inputs_ahead[i], resets_ahead[i]);
            gate *= gates_ahead[i];
            has_reset = max(has_reset, resets_ahead[i]);
            own_states[i] = state;
            own_gates[i] = gate;
            own_resets[i] = has_reset;
        }
        if is_standing {
            part_states[half * units + unit] = state;
            part_gates[half * units + unit] = gate;
            if lane == 0 {
                part_resets[half * parts + part] = has_reset;
            }
        }

        // 2. The next tile's numbers, and the states that this one's gradients of gates want, on their way.
        read::<E, Flag, N>(
            gates,
            inputs,
            reset,
            layout,
            place,
            first + tile,
            &mut gates_ahead,
            &mut inputs_ahead,
            &mut resets_ahead,
            geometry,
        );
        if comptime!(geometry.is_backward && !geometry.is_summary) {
            #[unroll]
            for i in 0..tokens {
                before[i] = Vector::new(0.0f32);
                if first + i < place.end {
                    let t = token(first + i, layout.time, geometry.is_backward);
                    if t > 0 {
                        before[i] = Vector::cast_from(states[state_base + (t - 1) * layout.states.time]);
                    } else {
                        before[i] = carry[batch * layout.width + column];
                    }
                }
            }
        }
        sync_cube();

        // 3. What the parts before left comes on top.
        let mut past = past_states[half * lanes + lane];
        for q in 0..part {
            let of = half * units + q * lanes + lane;
            past = joined::<N>(past, part_gates[of], part_states[of], part_resets[half * parts + q]);
        }
        #[unroll]
        for i in 0..tokens {
            let state = joined::<N>(past, own_gates[i], own_states[i], own_resets[i]);
            own_states[i] = state;
            if comptime!(!geometry.is_summary) {
                let position = first + i;
                if position < place.end {
                    let t = token(position, layout.time, geometry.is_backward);
                    outputs[output_base + t * layout.width] = Vector::cast_from(state);
                    if comptime!(geometry.is_backward) {
                        let mut gate_grad = Vector::<f32, N>::new(0.0f32);
                        let mut carry_grad = Vector::<f32, N>::new(0.0f32);
                        if u32::cast_from(reset[place.reset + t]) == 0u32 {
                            gate_grad = state * before[i];
                            if t == 0 {
                                carry_grad = state * Vector::cast_from(gates[place.gates]);
                            }
                        }
                        gate_grads[output_base + t * layout.width] = Vector::cast_from(gate_grad);
                        if t == 0 {
                            carry_grads[batch * layout.width + column] = carry_grad;
                        }
                    }
                }
            }
        }
        // Positions after the end pass the state on, so the last part's last is the tile's. The other half is still being read.
        if is_standing && part == parts - 1 {
            past_states[(number + 1) % 2 * lanes + lane] = own_states[tokens - 1];
        }
        if comptime!(geometry.is_summary) {
            for q in 0..parts {
                segment_gate *= part_gates[half * units + q * lanes + lane];
                segment_reset = max(segment_reset, part_resets[half * parts + q]);
            }
        }
    }

    if comptime!(geometry.is_summary) {
        sync_cube();
        if is_active && part == 0 {
            segment_states[slot] = past_states[tiles % 2 * lanes + lane];
            segment_gates[slot] = segment_gate;
            if column == 0 {
                segment_resets[batch * layout.segments + segment] = segment_reset;
            }
        }
    }
}

/// What each segment starts from: the second level of the scan, a unit for every vector of channels, segments in order.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn join<N: Size>(
    carry: &Array<Vector<f32, N>>,
    segment_states: &Array<Vector<f32, N>>,
    segment_gates: &Array<Vector<f32, N>>,
    segment_resets: &Array<u32>,
    starts: &mut Array<Vector<f32, N>>,
    batch: usize,
    width: usize,
    segments: usize,
    #[comptime] has_carry: bool,
) {
    if ABSOLUTE_POS >= batch * width {
        terminate!();
    }
    let row = ABSOLUTE_POS / width;
    let column = ABSOLUTE_POS % width;
    let mut state = Vector::<f32, N>::new(0.0f32);
    if comptime!(has_carry) {
        state = carry[ABSOLUTE_POS];
    }
    starts[row * segments * width + column] = state;
    // No segment starts from the last one's summary.
    for segment in 1..segments {
        let before = row * segments + segment - 1;
        let slot = before * width + column;
        state = joined::<N>(state, segment_gates[slot], segment_states[slot], segment_resets[before]);
        starts[slot + width] = state;
    }
}
