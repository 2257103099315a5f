//! Slot attention on a GPU: launching its kernels.

use super::parts::{Geometry, LayoutLaunch, MOST_SLOTS, MOST_TOKENS, TRACE};
use super::{backward, forward};
use crate::cube::{EMPTY, Grid, Limits, array, cast_to, contiguous, empty, flag_type, innermost};
use crate::primitive::{float, primitive};
use crate::slots::inputs::{SlotGradients, SlotInputs};
use burn::tensor::{DType, Tensor, TensorMetadata, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

/// Batch, heads, time, channels of a head, slots.
fn sizes<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: &SlotInputs<CubeBackend<R, F, I, BT>>,
) -> [usize; 5] {
    let ([batch, heads, time, head_dim], [.., slots]) = (inputs.values.shape().dims(), inputs.scores.shape().dims::<4>());
    [batch, heads, time, head_dim, slots]
}

/// One for every channel of keys and values, and for every slot; whole planes.
fn units(head_dim: usize, slots: usize, limits: Limits) -> usize {
    (2 * head_dim).max(slots).next_multiple_of(limits.widest_plane)
}

/// Whether the kernels know these sizes, and there is anything to do.
pub(super) fn fits<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: &SlotInputs<CubeBackend<R, F, I, BT>>,
) -> bool {
    let [batch, heads, time, head_dim, slots] = sizes(inputs);
    let (client, limits) = (&inputs.values.client, Limits::of(&inputs.values.client));
    let shared = (slots * (2 * head_dim + 1) + 5 * slots) * size_of::<f32>();
    slots <= MOST_SLOTS
        && time <= MOST_TOKENS
        && units(head_dim, slots, limits) <= limits.max_units
        && shared <= client.properties().hardware.max_shared_memory_size
        && batch * heads * time * head_dim * slots > 0
}

/// The inputs as the kernels read them.
struct Inputs<R: CubeRuntime> {
    scores: CubeTensor<R>,
    queries: CubeTensor<R>,
    keys: CubeTensor<R>,
    values: CubeTensor<R>,
    carry_log_sum: CubeTensor<R>,
    carry_memory: CubeTensor<R>,
    reset: CubeTensor<R>,
    batch: usize,
    heads: usize,
    time: usize,
    head_dim: usize,
    slots: usize,
    units: u32,
}

impl<R: CubeRuntime> Inputs<R> {
    /// Nothing if the sizes are beyond the kernels, or there is nothing to do.
    fn new<F: FloatElement, I: IntElement, BT: BoolElement>(inputs: SlotInputs<CubeBackend<R, F, I, BT>>) -> Option<Self> {
        if !fits(&inputs) {
            return None;
        }
        let [batch, heads, time, head_dim, slots] = sizes(&inputs);
        let units = units(head_dim, slots, Limits::of(&inputs.values.client));
        let [scores, queries, keys, values] =
            [inputs.scores, inputs.queries, inputs.keys, inputs.values].map(|tensor| innermost(cast_to(tensor, DType::F32)));
        let log_sum: Tensor<CubeBackend<R, F, I, BT>, 3> = float(cast_to(inputs.carry_log_sum, DType::F32));
        let carry_log_sum = contiguous(primitive(log_sum.clamp_min(EMPTY)));
        let carry_memory = contiguous(cast_to(inputs.carry_memory, DType::F32));
        let reset = contiguous(inputs.reset);
        let units = units as u32;
        Some(Self {
            scores,
            queries,
            keys,
            values,
            carry_log_sum,
            carry_memory,
            reset,
            batch,
            heads,
            time,
            head_dim,
            slots,
            units,
        })
    }

    fn rows(&self) -> usize {
        self.batch * self.heads
    }

    /// Numbers of a slot.
    fn wide(&self) -> usize {
        2 * self.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    fn geometry(&self) -> Geometry {
        Geometry { slots: self.slots as u32, head_dim: self.head_dim as u32 }
    }

    fn layout(&self) -> LayoutLaunch<R> {
        let strides = |tensor: &CubeTensor<R>| [0, 1, 2].map(|axis| tensor.meta.strides()[axis]);
        let [score_batch, score_head, score_time] = strides(&self.scores);
        let [query_batch, query_head, query_time] = strides(&self.queries);
        let [key_batch, key_head, key_time] = strides(&self.keys);
        let [value_batch, value_head, value_time] = strides(&self.values);
        LayoutLaunch::new(
            self.rows(),
            self.heads,
            self.time,
            score_batch,
            score_head,
            score_time,
            query_batch,
            query_head,
            query_time,
            key_batch,
            key_head,
            key_time,
            value_batch,
            value_head,
            value_time,
        )
    }

    fn grid(&self) -> (CubeCount, CubeDim) {
        (Grid::rows(&self.values.client, self.rows(), 1).count, CubeDim { x: self.units, y: 1, z: 1 })
    }

    fn empty<const D: usize>(&self, shape: [usize; D]) -> CubeTensor<R> {
        empty(&self.values, shape, DType::F32)
    }

    /// Numbers that a head of a row returns.
    fn packed(&self) -> usize {
        self.time * self.head_dim + self.slots * (self.wide() + 1)
    }
}

/// Nothing if the sizes are beyond the kernel.
pub(crate) fn slot_attention<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: SlotInputs<CubeBackend<R, F, I, BT>>,
) -> Option<FloatTensor<CubeBackend<R, F, I, BT>>> {
    let dtype = inputs.values.dtype;
    let inputs = Inputs::new(inputs)?;
    let packed = inputs.empty([inputs.batch, inputs.heads, inputs.packed()]);
    let (count, dim) = inputs.grid();
    // SAFETY: the layout's strides and sizes are those of the tensors, whose last axes are contiguous; `Inputs::new` keeps cubes and their
    // shared memory within the device's limits, and a unit beyond channels or slots touches nothing.
    unsafe {
        forward::forward::launch_unchecked::<R>(
            &inputs.values.client,
            count,
            dim,
            Grid::address(&[&inputs.scores, &inputs.queries, &inputs.keys, &inputs.values, &packed]),
            array(&inputs.scores),
            array(&inputs.queries),
            array(&inputs.keys),
            array(&inputs.values),
            array(&inputs.carry_log_sum),
            array(&inputs.carry_memory),
            array(&inputs.reset),
            array(&packed),
            inputs.layout(),
            inputs.scale(),
            f32::NEG_INFINITY,
            inputs.geometry(),
            flag_type(&inputs.reset),
        );
    }
    Some(cast_to(packed, dtype))
}

/// Nothing if the sizes are beyond the kernels.
pub(crate) fn slot_attention_backward<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: SlotInputs<CubeBackend<R, F, I, BT>>,
    grad: FloatTensor<CubeBackend<R, F, I, BT>>,
) -> Option<SlotGradients<CubeBackend<R, F, I, BT>>> {
    let dtype = inputs.values.dtype;
    let inputs = Inputs::new(inputs)?;
    let grad = contiguous(cast_to(grad, DType::F32));
    let Inputs { batch, heads, time, head_dim, slots, .. } = inputs;
    let tokens = || inputs.empty([batch, heads, time, head_dim]);
    let (queries, keys, values) = (tokens(), tokens(), tokens());
    let scores = inputs.empty([batch, heads, time, slots]);
    let carry_log_sum = inputs.empty([batch, heads, slots]);
    let carry_memory = inputs.empty([batch, heads, slots, inputs.wide()]);
    let trace = inputs.empty([batch, heads, time, TRACE * slots]);
    let asked = inputs.empty([batch, heads, slots]);
    let address = Grid::address(&[&inputs.scores, &inputs.queries, &inputs.keys, &inputs.values, &grad, &trace]);
    let (count, dim) = inputs.grid();
    // SAFETY: as forward; gradients have the shapes of what they are gradients of, and the trace that of what the passes hand over.
    unsafe {
        backward::ask::launch_unchecked::<R>(
            &inputs.values.client,
            count,
            dim,
            address,
            array(&inputs.scores),
            array(&inputs.queries),
            array(&inputs.keys),
            array(&inputs.values),
            array(&inputs.carry_log_sum),
            array(&inputs.carry_memory),
            array(&inputs.reset),
            array(&grad),
            array(&queries),
            array(&trace),
            array(&asked),
            inputs.layout(),
            inputs.scale(),
            inputs.geometry(),
            flag_type(&inputs.reset),
        );
    }
    let (count, dim) = inputs.grid();
    // SAFETY: as above.
    unsafe {
        backward::answer::launch_unchecked::<R>(
            &inputs.values.client,
            count,
            dim,
            address,
            array(&inputs.queries),
            array(&inputs.keys),
            array(&inputs.values),
            array(&inputs.carry_log_sum),
            array(&inputs.carry_memory),
            array(&inputs.reset),
            array(&grad),
            array(&trace),
            array(&asked),
            array(&scores),
            array(&keys),
            array(&values),
            array(&carry_log_sum),
            array(&carry_memory),
            inputs.layout(),
            inputs.geometry(),
            flag_type(&inputs.reset),
        );
    }
    let [scores, queries, keys, values, carry_log_sum, carry_memory] =
        [scores, queries, keys, values, carry_log_sum, carry_memory].map(|tensor| cast_to(tensor, dtype));
    Some(SlotGradients { scores, queries, keys, values, carry_log_sum, carry_memory })
}
