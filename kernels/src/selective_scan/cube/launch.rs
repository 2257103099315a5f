//! The selective scan on a GPU: launching its kernels.

use super::kernels::{self, Geometry, LayoutLaunch, SPAN, UNITS};
use crate::cube::{address_type, array, cast_to, contiguous, empty, flag_type, innermost, row_cubes, token_strides};
use crate::primitive::{float, primitive};
use crate::selective_scan::inputs::{SelectiveGradients, SelectiveInputs};
use burn::tensor::{DType, TensorMetadata, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

/// Whether a cube's shared memory holds as many states on the device.
pub(crate) fn fits<R: CubeRuntime>(device: &R::CubeDevice, states: usize) -> bool {
    let client = R::client(device);
    let hardware = &client.properties().hardware;
    let shared = (2 * states * (UNITS + SPAN) + 2 * SPAN * (UNITS + 1) + SPAN) * size_of::<f32>();
    shared <= hardware.max_shared_memory_size && UNITS <= hardware.max_units_per_cube as usize
}

/// The inputs as the kernels read them.
struct Inputs<R: CubeRuntime> {
    inputs: CubeTensor<R>,
    steps: CubeTensor<R>,
    decays: CubeTensor<R>,
    writes: CubeTensor<R>,
    reads: CubeTensor<R>,
    carry: CubeTensor<R>,
    reset: CubeTensor<R>,
    batch: usize,
    time: usize,
    channels: usize,
    states: usize,
}

impl<R: CubeRuntime> Inputs<R> {
    /// Nothing if the cube's memory does not hold the states, or there is nothing to do.
    fn new<F: FloatElement, I: IntElement, BT: BoolElement>(inputs: SelectiveInputs<CubeBackend<R, F, I, BT>>) -> Option<Self> {
        let ([batch, time, channels], [states, _]) = (inputs.inputs.shape().dims(), inputs.decays.shape().dims());
        if !fits::<R>(&inputs.inputs.device, states) || batch * time * channels * states == 0 {
            return None;
        }
        let [u, steps, writes, reads] =
            [inputs.inputs, inputs.steps, inputs.writes, inputs.reads].map(|tensor| innermost(cast_to(tensor, DType::F32)));
        let [decays, carry] = [inputs.decays, inputs.carry].map(|tensor| contiguous(cast_to(tensor, DType::F32)));
        let reset = contiguous(inputs.reset);
        Some(Self { inputs: u, steps, decays, writes, reads, carry, reset, batch, time, channels, states })
    }

    fn blocks(&self) -> usize {
        self.channels.div_ceil(UNITS)
    }

    fn layout(&self) -> LayoutLaunch<R> {
        LayoutLaunch::new(
            self.batch * self.blocks(),
            self.blocks(),
            self.time,
            self.channels,
            token_strides(&self.inputs, 1),
            token_strides(&self.steps, 1),
            token_strides(&self.writes, 1),
            token_strides(&self.reads, 1),
        )
    }

    fn empty<const D: usize>(&self, shape: [usize; D]) -> CubeTensor<R> {
        empty(&self.inputs, shape, DType::F32)
    }

    fn forward(&self, keeps: bool, packed: &CubeTensor<R>, kept: &CubeTensor<R>) {
        let client = &self.inputs.client;
        // SAFETY: the layout's strides and sizes are those of the tensors, whose last axes are contiguous; [`fits`] keeps cubes and their
        // shared memory within the device's limits, and a unit beyond tokens or channels touches nothing.
        unsafe {
            kernels::forward::launch_unchecked::<R>(
                client,
                row_cubes(client, self.batch * self.blocks(), 1),
                CubeDim { x: UNITS as u32, y: 1, z: 1 },
                address_type(&[&self.inputs, &self.steps, &self.writes, &self.reads, packed, kept]),
                array(&self.inputs),
                array(&self.steps),
                array(&self.decays),
                array(&self.writes),
                array(&self.reads),
                array(&self.carry),
                array(&self.reset),
                array(packed),
                array(kept),
                self.layout(),
                Geometry { states: self.states as u32, keeps },
                flag_type(&self.reset),
            );
        }
    }
}

/// Nothing if the shape is beyond the kernel.
pub(crate) fn selective_scan<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: SelectiveInputs<CubeBackend<R, F, I, BT>>,
) -> Option<FloatTensor<CubeBackend<R, F, I, BT>>> {
    let dtype = inputs.inputs.dtype;
    let inputs = Inputs::new(inputs)?;
    let packed = inputs.empty([inputs.batch, (inputs.time + inputs.states) * inputs.channels]);
    inputs.forward(false, &packed, &inputs.empty([1]));
    Some(cast_to(packed, dtype))
}

/// Nothing if the shape is beyond the kernel.
pub(crate) fn selective_scan_backward<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: SelectiveInputs<CubeBackend<R, F, I, BT>>,
    grad: FloatTensor<CubeBackend<R, F, I, BT>>,
) -> Option<SelectiveGradients<CubeBackend<R, F, I, BT>>> {
    let dtype = inputs.inputs.dtype;
    let inputs = Inputs::new(inputs)?;
    let grad = contiguous(cast_to(grad, DType::F32));
    let (batch, time, channels, states) = (inputs.batch, inputs.time, inputs.channels, inputs.states);
    let kept = inputs.empty([batch, time.div_ceil(SPAN), states, channels]);
    inputs.forward(true, &inputs.empty([1]), &kept);

    let tokens = [0, 1].map(|_| inputs.empty([batch, time, channels]));
    let projections = [0, 1].map(|_| inputs.empty([batch, inputs.blocks(), time, states]));
    let [decays, carry] = [0, 1].map(|_| inputs.empty([batch, states, channels]));
    let client = &inputs.inputs.client;
    // SAFETY: as forward; gradients have the shapes of what they are gradients of, times the blocks where blocks share one.
    unsafe {
        kernels::backward::launch_unchecked::<R>(
            client,
            row_cubes(client, batch * inputs.blocks(), 1),
            CubeDim { x: UNITS as u32, y: 1, z: 1 },
            address_type(&[&inputs.inputs, &inputs.steps, &inputs.writes, &inputs.reads, &grad, &kept, &projections[0]]),
            array(&inputs.inputs),
            array(&inputs.steps),
            array(&inputs.decays),
            array(&inputs.writes),
            array(&inputs.reads),
            array(&inputs.reset),
            array(&kept),
            array(&grad),
            array(&tokens[0]),
            array(&tokens[1]),
            array(&decays),
            array(&projections[0]),
            array(&projections[1]),
            array(&carry),
            inputs.layout(),
            Geometry { states: states as u32, keeps: false },
            flag_type(&inputs.reset),
        );
    }
    let decays = float::<CubeBackend<R, F, I, BT>, 3>(decays).sum_dim(0).reshape([states, channels]);
    let decays = primitive::<_, 2>(decays);
    let [writes, reads] = projections
        .map(|blocks| primitive::<_, 3>(float::<CubeBackend<R, F, I, BT>, 4>(blocks).sum_dim(1).reshape([batch, time, states])));
    let [inputs, steps] = tokens;
    let cast = |tensor| cast_to(tensor, dtype);
    let [inputs, steps, decays, writes, reads, carry] = [inputs, steps, decays, writes, reads, carry].map(cast);
    Some(SelectiveGradients { inputs, steps, decays, writes, reads, carry })
}
