//! The scan on a GPU: launching its kernels.
//!
//! A row (batch, head) is a cube's. Where rows are too few to fill the device, time is cut in segments and a second level joins
//! them ([`join`]); no cube ever waits for another.

use super::forward::{Geometry, LayoutLaunch};
use super::{backward, forward, join};
use crate::cube::{
    HeadStridesLaunch, Limits, Segments, address_type, array, cast_to, contiguous, empty, empty_like, flag_type, head_strides,
    innermost, row_cubes, vector_size,
};
use crate::scan::inputs::{ScanGradients, ScanInputs, ScanOutputs};
use burn::tensor::{DType, TensorMetadata, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

/// Units of a cube where there are rows enough; twice as many where not.
const UNITS: usize = 256;
/// Tokens that a unit holds in registers, forward and backward.
pub(super) const TOKENS: usize = 8;
const TOKENS_BACKWARD: usize = 4;

/// Whether a head of this width fits a cube on any device.
pub(crate) fn fits(head_dim: usize) -> bool {
    let vector = [4, 2, 1].into_iter().find(|vector| head_dim.is_multiple_of(*vector)).unwrap_or(1);
    head_dim / vector <= UNITS
}

/// How one call is launched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    batch: usize,
    heads: usize,
    time: usize,
    head_dim: usize,
    vector: usize,
    geometry: Geometry,
    pub(super) segments: Segments,
}

impl Plan {
    /// Nothing if `head_dim` does not fit a cube.
    pub(super) fn new<R: CubeRuntime>(
        values: &CubeTensor<R>,
        strided: &[&CubeTensor<R>],
        limits: Limits,
        tokens: usize,
    ) -> Option<Self> {
        let [batch, heads, time, head_dim] = values.shape().dims();
        let vector = vector_size(strided);
        let lanes = head_dim / vector;
        let rows = batch * heads;
        let units = limits.whole_planes(if rows < 4 * limits.cubes { 2 * UNITS } else { UNITS });
        if lanes == 0 || lanes > units || rows == 0 {
            return None;
        }
        // Powers of two: a few kernels serve every length. A tile must not have more tokens than the cube has units.
        let most_parts = 1 << (units / lanes).ilog2();
        let tokens = time.div_ceil(most_parts).next_power_of_two().min(tokens).min(1 << lanes.ilog2());
        let parts = time.div_ceil(tokens).next_power_of_two().min(most_parts);
        let geometry = Geometry {
            lanes: lanes as u32,
            parts: parts as u32,
            tokens: tokens as u32,
            plane: limits.plane as u32,
            launched: (lanes * parts).next_multiple_of(limits.widest_plane) as u32,
            is_summary: false,
        };
        let segments = Segments::of(time, parts * tokens, rows, limits);
        Some(Self { batch, heads, time, head_dim, vector, geometry, segments })
    }

    fn rows(&self) -> usize {
        self.batch * self.heads
    }

    fn lanes(&self) -> usize {
        self.head_dim / self.vector
    }

    fn cube_dim(&self) -> CubeDim {
        CubeDim { x: self.geometry.launched, y: 1, z: 1 }
    }

    fn summary(&self) -> Geometry {
        Geometry { is_summary: true, ..self.geometry }
    }

    fn layout<R: CubeRuntime>(&self, scores: &CubeTensor<R>, values: &CubeTensor<R>, outputs: &CubeTensor<R>) -> LayoutLaunch<R> {
        LayoutLaunch::new(
            self.heads,
            self.rows(),
            self.time,
            self.segments.length,
            self.segments.count,
            head_strides(scores, 1),
            head_strides(values, self.vector),
            head_strides(outputs, self.vector),
        )
    }
}

/// The inputs as the kernels read them: scores and carry in f32, `head_dim` contiguous.
fn prepared<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: ScanInputs<CubeBackend<R, F, I, BT>>,
) -> ScanInputs<CubeBackend<R, F, I, BT>> {
    ScanInputs {
        scores: cast_to(inputs.scores, DType::F32),
        values: innermost(inputs.values),
        reset: contiguous(inputs.reset),
        carry_log_sum: contiguous(cast_to(inputs.carry_log_sum, DType::F32)),
        carry_output: contiguous(cast_to(inputs.carry_output, DType::F32)),
    }
}

/// Nothing if the shape is beyond the kernel.
pub(crate) fn attention_scan<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: ScanInputs<CubeBackend<R, F, I, BT>>,
    limits: Limits,
) -> Option<ScanOutputs<CubeBackend<R, F, I, BT>>> {
    let score_type = inputs.scores.dtype;
    let ScanInputs { scores, values, reset, carry_log_sum, carry_output } = prepared(inputs);
    let outputs = empty_like(&values);
    let plan = Plan::new(&values, &[&values, &outputs], limits, TOKENS)?;
    let client = values.client.clone();
    let log_sums = empty(&values, [plan.batch, plan.heads, plan.time], DType::F32);

    let layout_of = outputs.clone();
    let launch = |geometry: Geometry, segments: usize, carries: [&CubeTensor<R>; 2], written: [&CubeTensor<R>; 4]| {
        let types = [values.dtype.into(), flag_type(&reset)];
        let [log_sums, segment_resets, segment_outputs, outputs] = written;
        // SAFETY: the layout's strides and sizes are those of the tensors, whose last axes are contiguous, and [`Plan`] keeps cubes and
        // their shared memory within the device's limits; a unit beyond rows, tokens or lanes touches nothing.
        unsafe {
            forward::attention_scan::launch_unchecked::<R>(
                &client,
                row_cubes(&client, plan.rows(), segments),
                plan.cube_dim(),
                address_type(&[&values, outputs, &scores]),
                plan.vector,
                array(&scores),
                array(&values),
                array(&reset),
                array(carries[0]),
                array(carries[1]),
                array(outputs),
                array(log_sums),
                array(segment_resets),
                array(segment_outputs),
                plan.layout(&scores, &values, &layout_of),
                f32::NEG_INFINITY,
                geometry,
                types,
            );
        }
    };

    let unused = [DType::U32, DType::F32].map(|dtype| empty(&values, [4], dtype));
    if plan.segments.count == 1 {
        launch(plan.geometry, 1, [&carry_log_sum, &carry_output], [&log_sums, &unused[0], &unused[1], &outputs]);
    } else {
        let rows = plan.rows();
        let slots = [rows, plan.segments.count];
        let vectors = [rows, plan.segments.count, plan.head_dim];
        let (sums, resets, summaries) =
            (empty(&values, slots, DType::F32), empty(&values, slots, DType::U32), empty(&values, vectors, DType::F32));
        // No segment starts from the last one's summary.
        let nowhere = empty(&values, [plan.vector], values.dtype);
        launch(plan.summary(), plan.segments.count, [&carry_log_sum, &carry_output], [&sums, &resets, &summaries, &nowhere]);
        let (start_sums, start_outputs) = (empty(&values, slots, DType::F32), empty(&values, vectors, DType::F32));
        // SAFETY: a cube checks its row and has a unit a lane; starts and summaries have a slot for every segment of every row.
        unsafe {
            join::join_forward::launch_unchecked::<R>(
                &client,
                row_cubes(&client, rows, 1),
                CubeDim { x: plan.lanes() as u32, y: 1, z: 1 },
                address_type(&[&summaries]),
                plan.vector,
                array(&carry_log_sum),
                array(&carry_output),
                array(&sums),
                array(&resets),
                array(&summaries),
                array(&start_sums),
                array(&start_outputs),
                rows,
                plan.segments.count,
                plan.lanes(),
            );
        }
        launch(plan.geometry, plan.segments.count, [&start_sums, &start_outputs], [&log_sums, &unused[0], &unused[1], &outputs]);
    }
    Some(ScanOutputs { outputs, log_sums: cast_to(log_sums, score_type) })
}

/// Nothing if the shape is beyond the kernel.
pub(crate) fn attention_scan_backward<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: ScanInputs<CubeBackend<R, F, I, BT>>,
    outputs: ScanOutputs<CubeBackend<R, F, I, BT>>,
    grad: FloatTensor<CubeBackend<R, F, I, BT>>,
    limits: Limits,
) -> Option<ScanGradients<CubeBackend<R, F, I, BT>>> {
    let (score_type, carry_type) = (inputs.scores.dtype, inputs.carry_output.dtype);
    let ScanInputs { scores, values, reset, carry_log_sum, carry_output } = prepared(inputs);
    let forward_outputs = innermost(outputs.outputs);
    let log_sums = contiguous(cast_to(outputs.log_sums, DType::F32));
    let grad = innermost(cast_to(grad, values.dtype));
    let value_grads = empty_like(&values);
    let plan = Plan::new(&values, &[&values, &forward_outputs, &grad, &value_grads], limits, TOKENS_BACKWARD)?;
    let client = values.client.clone();
    let rows = plan.rows();
    let score_grads = empty(&values, [plan.batch, plan.heads, plan.time], DType::F32);
    let carry_log_sum_grads = empty(&values, [plan.batch, plan.heads], DType::F32);
    let carry_output_grads = empty(&values, [plan.batch, plan.heads, plan.head_dim], DType::F32);

    // Written: gradients of scores, values, the carry's log-sum and output.
    let launch = |geometry: Geometry, later: Option<&CubeTensor<R>>, written: [&CubeTensor<R>; 4]| {
        let [score_grads, value_grads, carry_log_sum_grads, carry_output_grads] = written;
        let is_summary = value_grads.rank() < 4;
        let value_grad_strides =
            if is_summary { HeadStridesLaunch::new(0, 0, 0) } else { head_strides(value_grads, plan.vector) };
        // SAFETY: as forward; gradients have the shapes of what they are gradients of, or what a summary leaves of a segment.
        unsafe {
            backward::attention_scan_backward::launch_unchecked::<R>(
                &client,
                row_cubes(&client, rows, plan.segments.count),
                plan.cube_dim(),
                address_type(&[&values, &forward_outputs, &grad, &scores]),
                plan.vector,
                array(&scores),
                array(&values),
                array(&reset),
                array(&carry_log_sum),
                array(&carry_output),
                array(&forward_outputs),
                array(&log_sums),
                array(&grad),
                array(later.unwrap_or(&carry_output)),
                array(score_grads),
                array(value_grads),
                array(carry_log_sum_grads),
                array(carry_output_grads),
                plan.layout(&scores, &values, &forward_outputs),
                head_strides(&grad, plan.vector),
                value_grad_strides,
                geometry,
                later.is_some(),
                [values.dtype.into(), flag_type(&reset)],
            );
        }
    };

    let written = [&score_grads, &value_grads, &carry_log_sum_grads, &carry_output_grads];
    if plan.segments.count == 1 {
        launch(plan.geometry, None, written);
    } else {
        let keeps = empty(&values, [rows, plan.segments.count], DType::F32);
        let summaries = empty(&values, [rows, plan.segments.count, 2, plan.head_dim], DType::F32);
        let later = empty(&values, [rows, plan.segments.count, 2, plan.head_dim], DType::F32);
        let nowhere = [DType::F32, values.dtype].map(|dtype| empty(&values, [plan.vector], dtype));
        launch(plan.summary(), None, [&nowhere[0], &nowhere[1], &keeps, &summaries]);
        // SAFETY: a cube checks its row and has a unit a lane; starts and summaries have a slot for every segment of every row.
        unsafe {
            join::join_backward::launch_unchecked::<R>(
                &client,
                row_cubes(&client, rows, 1),
                CubeDim { x: plan.lanes() as u32, y: 1, z: 1 },
                address_type(&[&summaries]),
                plan.vector,
                array(&keeps),
                array(&summaries),
                array(&later),
                rows,
                plan.segments.count,
                plan.lanes(),
            );
        }
        launch(plan.geometry, Some(&later), written);
    }
    Some(ScanGradients {
        scores: cast_to(score_grads, score_type),
        values: value_grads,
        carry_log_sum: cast_to(carry_log_sum_grads, score_type),
        carry_output: cast_to(carry_output_grads, carry_type),
    })
}
