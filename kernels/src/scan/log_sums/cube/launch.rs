//! The running log-sum-exp on a GPU: launching its kernels.
//!
//! A row (batch, head) is a cube's. Where rows are too few to fill the device, time is cut in segments and a second level joins
//! them; no cube ever waits for another.

use super::forward::{Geometry, LayoutLaunch};
use super::{backward, forward};
use crate::cube::{
    Limits, Segments, address_type, array, cast_to, contiguous, elements, empty, flag_type, head_strides, row_cubes,
};
use crate::scan::inputs::{LogSumGradients, LogSumInputs};
use burn::tensor::{DType, TensorMetadata, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

const UNITS: usize = 256;
/// Tokens that a unit holds in registers.
pub(super) const TOKENS: usize = 8;

/// How one call is launched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    batch: usize,
    heads: usize,
    time: usize,
    geometry: Geometry,
    pub(super) segments: Segments,
}

impl Plan {
    /// Nothing if there is nothing to do.
    pub(super) fn new<R: CubeRuntime>(scores: &CubeTensor<R>, limits: Limits) -> Option<Self> {
        let [batch, heads, time] = scores.shape().dims();
        let rows = batch * heads;
        if rows * time == 0 {
            return None;
        }
        let plane = limits.widest_plane;
        let most_units = (1 << UNITS.min(limits.max_units).max(1).ilog2()).max(plane);
        // Powers of two: a few kernels serve every length.
        let tokens = time.div_ceil(most_units).next_power_of_two().min(TOKENS);
        let units = time.div_ceil(tokens).next_power_of_two().clamp(plane, most_units);
        let segments = Segments::of(time, units * tokens, rows, limits);
        let geometry = Geometry { units: units as u32, tokens: tokens as u32, is_summary: false };
        Some(Self { batch, heads, time, geometry, segments })
    }

    fn rows(&self) -> usize {
        self.batch * self.heads
    }

    fn summary(&self) -> Geometry {
        Geometry { is_summary: true, ..self.geometry }
    }

    fn cube_dim(&self) -> CubeDim {
        CubeDim { x: self.geometry.units, y: 1, z: 1 }
    }

    fn layout<R: CubeRuntime>(&self, scores: &CubeTensor<R>) -> LayoutLaunch<R> {
        let Segments { length, count } = self.segments;
        LayoutLaunch::new(self.heads, self.rows(), self.time, length, count, head_strides(scores, 1))
    }

    /// Memory for a number of every segment.
    fn slots<R: CubeRuntime>(&self, near: &CubeTensor<R>, dtype: DType) -> CubeTensor<R> {
        empty(near, [self.rows(), self.segments.count], dtype)
    }
}

/// Nothing if there is nothing to do.
pub(crate) fn running_log_sum_exp<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: LogSumInputs<CubeBackend<R, F, I, BT>>,
    limits: Limits,
) -> Option<FloatTensor<CubeBackend<R, F, I, BT>>> {
    let dtype = inputs.scores.dtype;
    let plan = Plan::new(&inputs.scores, limits)?;
    let scores = cast_to(inputs.scores, DType::F32);
    let reset = contiguous(inputs.reset);
    let carry = contiguous(cast_to(inputs.carry, DType::F32));
    let client = scores.client.clone();
    let log_sums = empty(&scores, [plan.batch, plan.heads, plan.time], DType::F32);
    let resets = plan.slots(&scores, DType::U32);
    let launch = |geometry: Geometry, segments: usize, starts: &CubeTensor<R>, log_sums: &CubeTensor<R>| {
        // SAFETY: the layout's strides and sizes are those of the tensors, and a cube has the whole planes that [`Plan`] gives it; a
        // unit beyond rows or tokens touches nothing.
        unsafe {
            forward::running_log_sum_exp::launch_unchecked::<R>(
                &client,
                row_cubes(&client, plan.rows(), segments),
                plan.cube_dim(),
                address_type(&[&scores, log_sums]),
                array(&scores),
                array(&reset),
                array(starts),
                array(log_sums),
                array(&resets),
                plan.layout(&scores),
                f32::NEG_INFINITY,
                geometry,
                flag_type(&reset),
            );
        }
    };
    if plan.segments.count == 1 {
        launch(plan.geometry, 1, &carry, &log_sums);
    } else {
        let (sums, starts) = (plan.slots(&scores, DType::F32), plan.slots(&scores, DType::F32));
        // No segment starts from the last one's summary.
        launch(plan.summary(), plan.segments.count - 1, &carry, &sums);
        let (count, dim) = elements(&client, plan.rows());
        // SAFETY: a unit checks its row; starts and summaries have a slot for every segment of every row.
        unsafe {
            forward::join::launch_unchecked::<R>(
                &client,
                count,
                dim,
                address_type(&[&starts]),
                array(&carry),
                array(&sums),
                array(&resets),
                array(&starts),
                plan.rows(),
                plan.segments.count,
            );
        }
        launch(plan.geometry, plan.segments.count, &starts, &log_sums);
    }
    Some(cast_to(log_sums, dtype))
}

/// Nothing if there is nothing to do.
pub(crate) fn running_log_sum_exp_backward<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: LogSumInputs<CubeBackend<R, F, I, BT>>,
    log_sums: FloatTensor<CubeBackend<R, F, I, BT>>,
    grad: FloatTensor<CubeBackend<R, F, I, BT>>,
    limits: Limits,
) -> Option<LogSumGradients<CubeBackend<R, F, I, BT>>> {
    let (dtype, carry_type) = (inputs.scores.dtype, inputs.carry.dtype);
    let plan = Plan::new(&inputs.scores, limits)?;
    let [scores, grad] = [inputs.scores, grad].map(|tensor| cast_to(tensor, DType::F32));
    let [carry, log_sums] = [inputs.carry, log_sums].map(|tensor| contiguous(cast_to(tensor, DType::F32)));
    let reset = contiguous(inputs.reset);
    let client = scores.client.clone();
    let score_grads = empty(&scores, [plan.batch, plan.heads, plan.time], DType::F32);
    let carry_grads = empty(&scores, [plan.batch, plan.heads], DType::F32);
    let keeps = plan.slots(&scores, DType::F32);
    let launch = |geometry: Geometry, segments: usize, starts: Option<&CubeTensor<R>>, carry_grads: &CubeTensor<R>| {
        // SAFETY: as forward; gradients have the shapes of what they are gradients of, or what a summary leaves of a segment.
        unsafe {
            backward::running_log_sum_exp_backward::launch_unchecked::<R>(
                &client,
                row_cubes(&client, plan.rows(), segments),
                plan.cube_dim(),
                address_type(&[&scores, &grad, &score_grads]),
                array(&scores),
                array(&reset),
                array(&carry),
                array(&log_sums),
                array(&grad),
                array(starts.unwrap_or(&carry)),
                array(&score_grads),
                array(carry_grads),
                array(&keeps),
                plan.layout(&scores),
                head_strides(&grad, 1),
                geometry,
                starts.is_some(),
                flag_type(&reset),
            );
        }
    };
    if plan.segments.count == 1 {
        launch(plan.geometry, 1, None, &carry_grads);
    } else {
        let (handed, starts) = (plan.slots(&scores, DType::F32), plan.slots(&scores, DType::F32));
        launch(plan.summary(), plan.segments.count - 1, None, &handed);
        let (count, dim) = elements(&client, plan.rows());
        // SAFETY: as forward.
        unsafe {
            backward::join::launch_unchecked::<R>(
                &client,
                count,
                dim,
                address_type(&[&starts]),
                array(&handed),
                array(&keeps),
                array(&starts),
                plan.rows(),
                plan.segments.count,
            );
        }
        launch(plan.geometry, plan.segments.count, Some(&starts), &carry_grads);
    }
    Some(LogSumGradients { scores: cast_to(score_grads, dtype), carry: cast_to(carry_grads, carry_type) })
}
