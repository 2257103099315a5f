//! The running log-sum-exp on a graphics card: launching its kernels.
//!
//! A row (batch, head) is a cube's. Where rows are too few to fill the device, time is cut in segments and a second level joins
//! them; no cube ever waits for another.

mod backward;
mod forward;
#[cfg(all(test, feature = "vulkan"))]
mod tests;

use super::{LogSumGradients, LogSumInputs};
use crate::{
    cube::{Grid, array, cast_to, contiguous, elements, empty, flag_type},
    scan::cube::Device,
};
use burn::tensor::{DType, TensorMetadata, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;
use forward::LayoutLaunch;

const UNITS: usize = 256;
/// Tokens that a unit holds in registers.
const TOKENS: usize = 8;
/// Tiles below which a segment is not worth a launch.
const TILES_PER_SEGMENT: usize = 4;

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

/// How one call is launched.
#[derive(Clone, Copy, Debug)]
struct Plan {
    batch: usize,
    heads: usize,
    time: usize,
    geometry: Geometry,
    /// Tokens of a segment, and how many segments there are.
    segment: usize,
    segments: usize,
}

impl Plan {
    /// Nothing if there is nothing to do.
    fn new<R: CubeRuntime>(scores: &CubeTensor<R>, device: Device) -> Option<Self> {
        let [batch, heads, time] = scores.shape().dims();
        let rows = batch * heads;
        if rows * time == 0 {
            return None;
        }
        let plane = device.widest_plane.max(1);
        let most_units = (1 << UNITS.min(device.max_units).max(1).ilog2()).max(plane);
        // Powers of two: a few kernels serve every length.
        let tokens = time.div_ceil(most_units).next_power_of_two().min(TOKENS);
        let units = time.div_ceil(tokens).next_power_of_two().clamp(plane, most_units);
        let tile = units * tokens;
        // One cube a row if that gives every multiprocessor one: cutting time costs a second pass over the scores.
        let wanted = if rows >= device.cubes { 1 } else { (2 * device.cubes).div_ceil(rows) };
        let most = time.div_ceil(TILES_PER_SEGMENT * tile).max(1);
        let segment = time.div_ceil(wanted.min(most)).next_multiple_of(tile);
        let geometry = Geometry { units: units as u32, tokens: tokens as u32, is_summary: false };
        Some(Self { batch, heads, time, geometry, segment, segments: time.div_ceil(segment) })
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
        let [batch, head, time] = [0, 1, 2].map(|axis| scores.meta.strides()[axis]);
        LayoutLaunch::new(self.heads, self.rows(), self.time, self.segment, self.segments, batch, head, time)
    }

    /// Memory for a number of every segment.
    fn slots<R: CubeRuntime>(&self, near: &CubeTensor<R>, dtype: DType) -> CubeTensor<R> {
        empty(near, [self.rows(), self.segments], dtype)
    }
}

/// Nothing if there is nothing to do.
pub(crate) fn running_log_sum_exp<R, F, I, BT>(
    inputs: LogSumInputs<CubeBackend<R, F, I, BT>>,
    device: Device,
) -> Option<FloatTensor<CubeBackend<R, F, I, BT>>>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    let dtype = inputs.scores.dtype;
    let plan = Plan::new(&inputs.scores, device)?;
    let scores = cast_to(inputs.scores, DType::F32);
    let reset = contiguous(inputs.reset);
    let carry = contiguous(cast_to(inputs.carry, DType::F32));
    let client = scores.client.clone();
    let log_sums = empty(&scores, [plan.batch, plan.heads, plan.time], DType::F32);
    let resets = plan.slots(&scores, DType::U32);
    let launch = |geometry: Geometry, segments: usize, starts: &CubeTensor<R>, log_sums: &CubeTensor<R>| unsafe {
        forward::running_log_sum_exp::launch_unchecked::<R>(
            &client,
            Grid::rows(&client, plan.rows(), segments).count,
            plan.cube_dim(),
            Grid::address(&[&scores, log_sums]),
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
    };
    if plan.segments == 1 {
        launch(plan.geometry, 1, &carry, &log_sums);
    } else {
        let (sums, starts) = (plan.slots(&scores, DType::F32), plan.slots(&scores, DType::F32));
        // The last segment's summary is nobody's start.
        launch(plan.summary(), plan.segments - 1, &carry, &sums);
        let (count, dim) = elements(&client, plan.rows());
        unsafe {
            forward::join::launch_unchecked::<R>(
                &client,
                count,
                dim,
                Grid::address(&[&starts]),
                array(&carry),
                array(&sums),
                array(&resets),
                array(&starts),
                plan.rows(),
                plan.segments,
            );
        }
        launch(plan.geometry, plan.segments, &starts, &log_sums);
    }
    Some(cast_to(log_sums, dtype))
}

/// Nothing if there is nothing to do.
pub(crate) fn running_log_sum_exp_backward<R, F, I, BT>(
    inputs: LogSumInputs<CubeBackend<R, F, I, BT>>,
    log_sums: FloatTensor<CubeBackend<R, F, I, BT>>,
    grad: FloatTensor<CubeBackend<R, F, I, BT>>,
    device: Device,
) -> Option<LogSumGradients<CubeBackend<R, F, I, BT>>>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    let (dtype, carry_type) = (inputs.scores.dtype, inputs.carry.dtype);
    let plan = Plan::new(&inputs.scores, device)?;
    let [scores, grad] = [inputs.scores, grad].map(|tensor| cast_to(tensor, DType::F32));
    let [carry, log_sums] = [inputs.carry, log_sums].map(|tensor| contiguous(cast_to(tensor, DType::F32)));
    let reset = contiguous(inputs.reset);
    let client = scores.client.clone();
    let score_grads = empty(&scores, [plan.batch, plan.heads, plan.time], DType::F32);
    let carry_grads = empty(&scores, [plan.batch, plan.heads], DType::F32);
    let keeps = plan.slots(&scores, DType::F32);
    let launch = |geometry: Geometry, segments: usize, starts: Option<&CubeTensor<R>>, carry_grads: &CubeTensor<R>| unsafe {
        let [grad_batch, grad_head, grad_time] = [0, 1, 2].map(|axis| grad.meta.strides()[axis]);
        backward::running_log_sum_exp_backward::launch_unchecked::<R>(
            &client,
            Grid::rows(&client, plan.rows(), segments).count,
            plan.cube_dim(),
            Grid::address(&[&scores, &grad, &score_grads]),
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
            backward::GradLayoutLaunch::new(grad_batch, grad_head, grad_time),
            geometry,
            starts.is_some(),
            flag_type(&reset),
        );
    };
    if plan.segments == 1 {
        launch(plan.geometry, 1, None, &carry_grads);
    } else {
        let (handed, starts) = (plan.slots(&scores, DType::F32), plan.slots(&scores, DType::F32));
        launch(plan.summary(), plan.segments - 1, None, &handed);
        let (count, dim) = elements(&client, plan.rows());
        unsafe {
            backward::join::launch_unchecked::<R>(
                &client,
                count,
                dim,
                Grid::address(&[&starts]),
                array(&handed),
                array(&keeps),
                array(&starts),
                plan.rows(),
                plan.segments,
            );
        }
        launch(plan.geometry, plan.segments, Some(&starts), &carry_grads);
    }
    Some(LogSumGradients { scores: cast_to(score_grads, dtype), carry: cast_to(carry_grads, carry_type) })
}
