//! The recurrence on a GPU: launching its kernels.
//!
//! A block of channels of a batch row is a cube's. Where blocks are too few to fill the device they become narrower, and if that
//! is not enough time is cut in segments and a second level joins them; no cube ever waits for another.

use super::kernels::{self, Geometry, LayoutLaunch};
use crate::cube::{
    Limits, Segments, address_type, array, cast_to, contiguous, elements, empty, flag_type, innermost, row_cubes, token_strides,
    vector_size,
};
use crate::recurrence::inputs::{RecurrenceGradients, RecurrenceInputs};
use burn::tensor::{DType, TensorMetadata, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

const UNITS: usize = 256;
/// Vectors of channels of a cube, where there are batch rows enough and where not: of 4 floats, 8 fill a line of memory.
const LANES: usize = 32;
const FEW_LANES: usize = 8;
/// Each part joins all the parts before it.
const MOST_PARTS: usize = 32;
/// Tokens that a unit holds in registers.
pub(super) const TOKENS: usize = 4;

/// How one call is launched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    batch: usize,
    time: usize,
    vector: usize,
    /// Vectors of a token.
    width: usize,
    /// Blocks of channels.
    blocks: usize,
    geometry: Geometry,
    pub(super) segments: Segments,
}

impl Plan {
    /// Nothing if there is nothing to do.
    pub(super) fn new<R: CubeRuntime>(strided: &[&CubeTensor<R>], limits: Limits, is_backward: bool) -> Option<Self> {
        let first = strided.first()?;
        let [batch, time, channels] = first.shape().dims();
        if batch * time * channels == 0 {
            return None;
        }
        let vector = vector_size(strided);
        let width = channels / vector;
        let units = limits.whole_planes(UNITS);
        let blocks_of = |lanes: usize| width.div_ceil(lanes.min(units));
        let is_filled = batch * blocks_of(LANES) >= limits.cubes;
        let blocks = blocks_of(if is_filled { LANES } else { FEW_LANES });
        let lanes = width.div_ceil(blocks);

        // Powers of two: a few kernels serve every length.
        let memory = first.client.properties().hardware.max_shared_memory_size;
        let bytes = |parts: usize| (4 * parts + 2) * lanes * vector * size_of::<f32>() + 2 * parts * size_of::<u32>();
        let mut most_parts = 1 << (units / lanes).min(MOST_PARTS).ilog2();
        while most_parts > 1 && bytes(most_parts) > memory {
            most_parts /= 2;
        }
        let tokens = time.div_ceil(most_parts).next_power_of_two().min(TOKENS);
        let parts = time.div_ceil(tokens).next_power_of_two().min(most_parts);
        let geometry = Geometry {
            lanes: lanes as u32,
            parts: parts as u32,
            tokens: tokens as u32,
            launched: (lanes * parts).next_multiple_of(limits.widest_plane) as u32,
            is_backward,
            is_summary: false,
            has_start: !is_backward,
        };
        let segments = Segments::of(time, parts * tokens, batch * blocks, limits);
        Some(Self { batch, time, vector, width, blocks, geometry, segments })
    }

    fn channels(&self) -> usize {
        self.width * self.vector
    }

    fn layout<R: CubeRuntime>(&self, read: &Read<R>) -> LayoutLaunch<R> {
        LayoutLaunch::new(
            self.batch * self.blocks,
            self.blocks,
            self.width,
            self.time,
            self.segments.length,
            self.segments.count,
            token_strides(&read.gates, self.vector),
            token_strides(&read.inputs, self.vector),
            token_strides(&read.states, self.vector),
        )
    }
}

/// What a pass reads. `inputs` are the states' gradient in a backward pass, `states` those of the forward pass; a forward pass
/// reads no states.
struct Read<R: CubeRuntime> {
    gates: CubeTensor<R>,
    inputs: CubeTensor<R>,
    reset: CubeTensor<R>,
    carry: CubeTensor<R>,
    states: CubeTensor<R>,
}

/// What a pass writes: states, or gradients of inputs, of gates and (f32) of the carry.
struct Written<R: CubeRuntime> {
    outputs: CubeTensor<R>,
    gate_grads: CubeTensor<R>,
    carry_grads: CubeTensor<R>,
}

/// What segments make of their starts, f32.
struct Summaries<R: CubeRuntime> {
    states: CubeTensor<R>,
    gates: CubeTensor<R>,
    resets: CubeTensor<R>,
}

fn launch<R: CubeRuntime>(
    plan: &Plan,
    geometry: Geometry,
    segments: usize,
    read: &Read<R>,
    starts: &CubeTensor<R>,
    written: &Written<R>,
    summaries: &Summaries<R>,
) {
    let client = &read.inputs.client;
    // SAFETY: the layout's strides and sizes are those of the tensors, whose last axes are contiguous, and [`Plan`] keeps cubes and
    // their shared memory within the device's limits; a unit beyond rows, tokens or channels touches nothing.
    unsafe {
        kernels::gated_recurrence::launch_unchecked::<R>(
            client,
            row_cubes(client, plan.batch * plan.blocks, segments),
            CubeDim { x: geometry.launched, y: 1, z: 1 },
            address_type(&[&read.gates, &read.inputs, &read.states, &written.outputs]),
            plan.vector,
            array(&read.gates),
            array(&read.inputs),
            array(&read.reset),
            array(starts),
            array(&read.carry),
            array(&read.states),
            array(&written.outputs),
            array(&written.gate_grads),
            array(&written.carry_grads),
            array(&summaries.states),
            array(&summaries.gates),
            array(&summaries.resets),
            plan.layout(read),
            geometry,
            [read.inputs.dtype.into(), flag_type(&read.reset)],
        );
    }
}

/// One launch, or three where time is cut in segments.
fn run<R: CubeRuntime>(plan: &Plan, read: &Read<R>, written: &Written<R>) {
    let near = &read.inputs;
    let segments = if plan.segments.count == 1 { 0 } else { plan.segments.count };
    // Without segments nothing of these is touched, but an array needs memory.
    let vectors = [plan.batch, segments.max(1), plan.channels()];
    let vectors = || if segments == 0 { empty(near, [1, 1, plan.vector], DType::F32) } else { empty(near, vectors, DType::F32) };
    let summaries =
        Summaries { states: vectors(), gates: vectors(), resets: empty(near, [plan.batch, segments.max(1)], DType::U32) };
    if segments == 0 {
        return launch(plan, plan.geometry, 1, read, &read.carry, written, &summaries);
    }
    let starts = vectors();
    let summary = Geometry { is_summary: true, has_start: false, ..plan.geometry };
    launch(plan, summary, segments - 1, read, &starts, written, &summaries);
    let (count, dim) = elements(&near.client, plan.batch * plan.width);
    // SAFETY: a unit checks its index against `batch * width`; starts and summaries have `segments` vectors for each.
    unsafe {
        kernels::join::launch_unchecked::<R>(
            &near.client,
            count,
            dim,
            address_type(&[&starts]),
            plan.vector,
            array(&read.carry),
            array(&summaries.states),
            array(&summaries.gates),
            array(&summaries.resets),
            array(&starts),
            plan.batch,
            plan.width,
            segments,
            plan.geometry.has_start,
        );
    }
    launch(plan, Geometry { has_start: true, ..plan.geometry }, segments, read, &starts, written, &summaries);
}

/// Nothing if there is nothing to do.
pub(crate) fn gated_recurrence<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: RecurrenceInputs<CubeBackend<R, F, I, BT>>,
    limits: Limits,
) -> Option<FloatTensor<CubeBackend<R, F, I, BT>>> {
    let dtype = inputs.inputs.dtype;
    let (gates, x) = (innermost(cast_to(inputs.gates, dtype)), innermost(inputs.inputs));
    let plan = Plan::new(&[&x, &gates], limits, false)?;
    let outputs = empty(&x, [plan.batch, plan.time, plan.channels()], dtype);
    let nowhere = |dtype: DType| empty(&x, [1, 1, plan.vector], dtype);
    let written = Written { outputs: outputs.clone(), gate_grads: nowhere(dtype), carry_grads: nowhere(DType::F32) };
    let read = Read {
        states: nowhere(dtype),
        gates,
        reset: contiguous(inputs.reset),
        carry: contiguous(cast_to(inputs.carry, DType::F32)),
        inputs: x,
    };
    run(&plan, &read, &written);
    Some(outputs)
}

/// Nothing if there is nothing to do.
pub(crate) fn gated_recurrence_backward<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: RecurrenceInputs<CubeBackend<R, F, I, BT>>,
    states: FloatTensor<CubeBackend<R, F, I, BT>>,
    grad: FloatTensor<CubeBackend<R, F, I, BT>>,
    limits: Limits,
) -> Option<RecurrenceGradients<CubeBackend<R, F, I, BT>>> {
    let (dtype, gate_type, carry_type) = (inputs.inputs.dtype, inputs.gates.dtype, inputs.carry.dtype);
    let [gates, states, grad] = [inputs.gates, states, grad].map(|tensor| innermost(cast_to(tensor, dtype)));
    let plan = Plan::new(&[&grad, &gates, &states], limits, true)?;
    let shape = [plan.batch, plan.time, plan.channels()];
    let written = Written {
        outputs: empty(&grad, shape, dtype),
        gate_grads: empty(&grad, shape, dtype),
        carry_grads: empty(&grad, [plan.batch, plan.channels()], DType::F32),
    };
    let read = Read {
        gates,
        inputs: grad,
        reset: contiguous(inputs.reset),
        carry: contiguous(cast_to(inputs.carry, DType::F32)),
        states,
    };
    run(&plan, &read, &written);
    Some(RecurrenceGradients {
        gates: cast_to(written.gate_grads, gate_type),
        inputs: written.outputs,
        carry: cast_to(written.carry_grads, carry_type),
    })
}
