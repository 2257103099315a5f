//! The optimizer's step on a GPU: a launch a parameter, and one for its share of the norm.
//!
//! **Inputs.** Parameter, gradient and moments `[elements]` contiguous, the factor `[1]`.
//! **Who owns what.** AdamW: a unit owns an element. Squares: [`CUBES`] cubes share a tensor, each owns every [`CUBES`]-th run of
//! [`UNITS`] elements and leaves one number; the numbers of all tensors are added up by one reduction of Burn's. No atomics: the same
//! order every time.
//! **Bytes.** AdamW reads four numbers an element and writes three, the moments in place where they have no other owner; squares read one.
//! **Accumulation.** f32.
//! **Versions.** (1) Burn's operations: some 20 launches a parameter, about 1,300 of a step's 1,573. (2) This one: two a parameter, 402 a
//! step; checked on software Vulkan and not yet timed on a GPU.

use super::inputs::{AdamWInputs, AdamWStep};
use super::ops::OptimizerOps;
use super::reference;
use crate::cube::self_check::{is_trusted, serves};
use crate::cube::{array, cast_to, contiguous, cube_sum, elements, empty, self_check};
use crate::primitive::{float, primitive};
use burn::backend::Flex;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Device, TensorMetadata};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

/// Units of a cube: a power of two, and whole planes (software Vulkan computes wrongly with parts of one).
const UNITS: u32 = 256;
/// Cubes that add up one tensor's squares.
const CUBES: u32 = 16;

#[cube(launch_unchecked, address_type = "dynamic")]
fn adamw_kernel<E: Float>(
    parameter: &Array<E>,
    gradient: &Array<E>,
    factor: &Array<E>,
    first: &mut Array<E>,
    second: &mut Array<E>,
    updated: &mut Array<E>,
    count: usize,
    beta_1: f32,
    beta_2: f32,
    new_1: f32,
    new_2: f32,
    scale_1: f32,
    scale_2: f32,
    epsilon: f32,
    rate: f32,
    kept: f32,
    #[define(E)] _type: StorageType,
) {
    let index = ABSOLUTE_POS;
    if index >= count {
        terminate!();
    }
    let slope = f32::cast_from(gradient[index]) * f32::cast_from(factor[0]);
    let moment_1 = f32::cast_from(first[index]) * beta_1 + slope * new_1;
    let moment_2 = f32::cast_from(second[index]) * beta_2 + slope * slope * new_2;
    let direction = moment_1 * scale_1 / ((moment_2 * scale_2).sqrt() + epsilon);
    first[index] = E::cast_from(moment_1);
    second[index] = E::cast_from(moment_2);
    updated[index] = E::cast_from(f32::cast_from(parameter[index]) * kept - direction * rate);
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn squares_kernel<E: Float>(
    numbers: &Array<E>,
    sums: &mut Array<f32>,
    count: usize,
    offset: usize,
    #[comptime] units: u32,
    #[comptime] cubes: u32,
    #[define(E)] _type: StorageType,
) {
    let unit = UNIT_POS as usize;
    let cube = CUBE_POS_X as usize;
    let stride = comptime!((units * cubes) as usize);
    let begin = cube * comptime!(units as usize) + unit;
    let mut sum = 0.0f32;
    // Every unit makes as many turns; what is beyond the end adds nothing.
    for i in 0..count.div_ceil(stride) {
        let index = begin + i * stride;
        if index < count {
            let number = f32::cast_from(numbers[index]);
            sum += number * number;
        }
    }
    let mut shared = SharedMemory::<f32>::new(comptime!(units as usize));
    let sum = cube_sum(sum, &mut shared, units);
    if unit == 0 {
        sums[offset + cube] = sum;
    }
}

/// Memory to write to: the tensor's own, unless it has another owner.
fn own<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    let tensor = contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// A step of AdamW on numbers of at most 32 bits.
fn adamw<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    inputs: AdamWInputs<CubeBackend<R, F, I, BT>>,
    step: AdamWStep,
) -> (CubeTensor<R>, [CubeTensor<R>; 2]) {
    let (parameter, gradient, factor) = (contiguous(inputs.parameter), contiguous(inputs.gradient), contiguous(inputs.factor));
    let [first, second] = inputs.moments.map(own);
    let [count] = parameter.shape().dims();
    let updated = empty(&parameter, [count], parameter.dtype);
    let ([beta_1, beta_2], [correction_1, correction_2]) = (step.betas, step.corrections());
    let (cubes, dim) = elements(&parameter.client, count);
    // SAFETY: a unit checks its index against `count`, the length of every array but the factor's one number.
    unsafe {
        adamw_kernel::launch_unchecked::<R>(
            &parameter.client,
            cubes,
            dim,
            parameter.required_address_type(),
            array(&parameter),
            array(&gradient),
            array(&factor),
            array(&first),
            array(&second),
            array(&updated),
            count,
            beta_1 as f32,
            beta_2 as f32,
            (1.0 - beta_1) as f32,
            (1.0 - beta_2) as f32,
            (1.0 / correction_1) as f32,
            (1.0 / correction_2) as f32,
            step.epsilon as f32,
            step.learning_rate as f32,
            step.kept() as f32,
            parameter.dtype.into(),
        );
    }
    (updated, [first, second])
}

/// The sum of squares of numbers of at most 32 bits, in the first tensor's type.
fn sum_of_squares<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(tensors: Vec<CubeTensor<R>>) -> CubeTensor<R> {
    let dtype = tensors[0].dtype;
    let sums = empty(&tensors[0], [tensors.len() * CUBES as usize], DType::F32);
    for (index, tensor) in tensors.into_iter().enumerate() {
        let tensor = contiguous(tensor);
        let [count] = tensor.shape().dims();
        // SAFETY: a unit reads below `count` only, and `sums` has `CUBES` numbers for each tensor from its offset on.
        unsafe {
            squares_kernel::launch_unchecked::<R>(
                &tensor.client,
                CubeCount::Static(CUBES, 1, 1),
                CubeDim { x: UNITS, y: 1, z: 1 },
                tensor.required_address_type(),
                array(&tensor),
                array(&sums),
                count,
                index * CUBES as usize,
                UNITS,
                CUBES,
                tensor.dtype.into(),
            );
        }
    }
    cast_to(primitive(float::<CubeBackend<R, F, I, BT>, 1>(sums).sum_dim(0)), dtype)
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> OptimizerOps for CubeBackend<R, F, I, BT> {
    fn adamw(inputs: AdamWInputs<Self>, step: AdamWStep) -> (FloatTensor<Self>, [FloatTensor<Self>; 2]) {
        if runs::<Self>(&inputs.parameter.device, inputs.parameter.dtype) {
            adamw(inputs, step)
        } else {
            reference::adamw(inputs, step)
        }
    }

    fn sum_of_squares(tensors: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        if tensors.iter().all(|tensor| runs::<Self>(&tensor.device, tensor.dtype)) {
            sum_of_squares::<R, F, I, BT>(tensors)
        } else {
            reference::sum_of_squares::<Self>(tensors)
        }
    }
}

fn runs<B: OptimizerOps>(device: &Device<B>, dtype: DType) -> bool {
    serves(dtype) && is_trusted::<B>("the optimizer's step", device, results::<B>, results::<Flex>)
}

fn results<B: OptimizerOps>(device: &Device<B>) -> Vec<f64> {
    let tensor = |step: f64| self_check::tensor::<B, 1>([307], step, device);
    let factor = self_check::tensor_of::<B, 1>(vec![0.5], [1], device);
    let second = self_check::numbers(307, 0.4).into_iter().map(f32::abs).collect();
    let moments = [tensor(1.1), self_check::tensor_of::<B, 1>(second, [307], device)];
    let inputs = AdamWInputs::<B> { parameter: tensor(0.7), gradient: tensor(0.3), moments, factor };
    let step = AdamWStep { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-5, weight_decay: 0.3, time: 3 };
    let sum = B::sum_of_squares(vec![inputs.gradient.clone(), inputs.parameter.clone()]);
    let (parameter, [first, second]) = B::adamw(inputs, step);
    self_check::read::<B>([parameter, first, second, sum])
}
