//! The optimizer's step on a GPU: a launch for dozens of parameters, and one for their share of the norm.
//!
//! **Inputs.** Parameters, gradients and moments `[elements]` contiguous, the factor `[1]`. A launch takes as many parameters as the device
//! has places for arrays, [`TOGETHER`] at most, all with the same numbers of the step.
//! **Who owns what.** The cubes of a row of the grid share a tensor: each owns every so-many-th run of [`UNITS`] elements, a unit one of
//! each run. Squares: each leaves one number; the numbers of all tensors are added up by one reduction of Burn's. No atomics: the same
//! order every time.
//! **Bytes.** AdamW reads four numbers an element and writes three, the moments in place where they have no other owner; squares read one.
//! **Accumulation.** f32.
//! **Versions.** (1) Burn's operations: some 20 launches a parameter, about 1,300 of a step's 1,573. (2) Two launches a parameter, 402 a
//! step. (3) This one: a launch takes 32 parameters. Checked on software Vulkan and an emulated card, and not yet timed on a GPU.

use super::inputs::{AdamWInputs, AdamWOutputs, AdamWStep};
use super::ops::OptimizerOps;
use super::reference;
use crate::cube::self_check::{is_trusted, serves};
use crate::cube::{Grid, array, cast_to, contiguous, cube_sum, empty, self_check};
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
/// Cubes that step one parameter, at most.
const MOST_CUBES: u32 = 128;
/// Parameters of a launch, at most: more would make a kernel long to compile.
const TOGETHER: usize = 32;

/// The numbers of a step as kernels read them.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Numbers {
    beta_1: f32,
    beta_2: f32,
    new_1: f32,
    new_2: f32,
    scale_1: f32,
    scale_2: f32,
    epsilon: f32,
    rate: f32,
    kept: f32,
}

#[cube]
fn step_of_one<E: Float>(
    parameter: &Array<E>,
    gradient: &Array<E>,
    first: &mut Array<E>,
    second: &mut Array<E>,
    updated: &mut Array<E>,
    count: usize,
    factor: f32,
    numbers: &Numbers,
    #[comptime] units: u32,
) {
    let stride = CUBE_COUNT_X as usize * comptime!(units as usize);
    let begin = CUBE_POS_X as usize * comptime!(units as usize) + UNIT_POS as usize;
    if begin < count {
        for turn in 0..(count - begin).div_ceil(stride) {
            let index = begin + turn * stride;
            let slope = f32::cast_from(gradient[index]) * factor;
            let moment_1 = f32::cast_from(first[index]) * numbers.beta_1 + slope * numbers.new_1;
            let moment_2 = f32::cast_from(second[index]) * numbers.beta_2 + slope * slope * numbers.new_2;
            let direction = moment_1 * numbers.scale_1 / ((moment_2 * numbers.scale_2).sqrt() + numbers.epsilon);
            first[index] = E::cast_from(moment_1);
            second[index] = E::cast_from(moment_2);
            updated[index] = E::cast_from(f32::cast_from(parameter[index]) * numbers.kept - direction * numbers.rate);
        }
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn adamw_kernel<E: Float>(
    parameters: &Sequence<Array<E>>,
    gradients: &Sequence<Array<E>>,
    firsts: &mut Sequence<Array<E>>,
    seconds: &mut Sequence<Array<E>>,
    updated: &mut Sequence<Array<E>>,
    factor: &Array<E>,
    counts: &Sequence<usize>,
    numbers: &Numbers,
    #[comptime] together: usize,
    #[comptime] units: u32,
    #[define(E)] _type: StorageType,
) {
    let own = CUBE_POS_Y as usize;
    let factor = f32::cast_from(factor[0]);
    #[unroll]
    for i in 0..together {
        if own == i {
            step_of_one::<E>(
                parameters.index(i),
                gradients.index(i),
                firsts.index_mut(i),
                seconds.index_mut(i),
                updated.index_mut(i),
                *counts.index(i),
                factor,
                numbers,
                units,
            );
        }
    }
}

#[cube]
fn squares_of_one<E: Float>(numbers: &Array<E>, count: usize, #[comptime] units: u32, #[comptime] cubes: u32) -> f32 {
    let stride = comptime!((units * cubes) as usize);
    let begin = CUBE_POS_X as usize * comptime!(units as usize) + UNIT_POS as usize;
    let mut sum = 0.0f32;
    // Every unit makes as many turns; what is beyond the end adds nothing.
    for turn in 0..count.div_ceil(stride) {
        let index = begin + turn * stride;
        if index < count {
            let number = f32::cast_from(numbers[index]);
            sum += number * number;
        }
    }
    sum
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn squares_kernel<E: Float>(
    tensors: &Sequence<Array<E>>,
    sums: &mut Array<f32>,
    counts: &Sequence<usize>,
    offset: usize,
    #[comptime] together: usize,
    #[comptime] units: u32,
    #[comptime] cubes: u32,
    #[define(E)] _type: StorageType,
) {
    let own = CUBE_POS_Y as usize;
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..together {
        if own == i {
            sum = squares_of_one::<E>(tensors.index(i), *counts.index(i), units, cubes);
        }
    }
    let mut shared = SharedMemory::<f32>::new(comptime!(units as usize));
    let sum = cube_sum(sum, &mut shared, units);
    if UNIT_POS == 0 {
        sums[offset + own * comptime!(cubes as usize) + CUBE_POS_X as usize] = sum;
    }
}

/// Memory to write to: the tensor's own, unless it has another owner.
fn own<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    let tensor = contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// How many parameters a launch may take that binds so many arrays for each, and three others.
fn together<R: CubeRuntime>(client: &ComputeClient<R>, arrays: usize) -> usize {
    let places = client.properties().hardware.max_bindings as usize;
    (places.saturating_sub(3) / arrays).clamp(1, TOGETHER)
}

type Inputs<R, F, I, BT> = AdamWInputs<CubeBackend<R, F, I, BT>>;
type Outputs<R, F, I, BT> = AdamWOutputs<CubeBackend<R, F, I, BT>>;

/// A step of AdamW on numbers of at most 32 bits, for parameters of one type whose steps have the same numbers.
fn adamw<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    group: Vec<Inputs<R, F, I, BT>>,
    factor: &CubeTensor<R>,
) -> Vec<Outputs<R, F, I, BT>> {
    let (step, client, dtype) = (group[0].step, group[0].parameter.client.clone(), group[0].parameter.dtype);
    let ([beta_1, beta_2], [correction_1, correction_2]) = (step.betas, step.corrections());
    let number = |x: f64| x as f32;
    let numbers = NumbersLaunch::new(
        number(beta_1),
        number(beta_2),
        number(1.0 - beta_1),
        number(1.0 - beta_2),
        number(1.0 / correction_1),
        number(1.0 / correction_2),
        number(step.epsilon),
        number(step.learning_rate),
        number(step.kept()),
    );
    let (mut parameters, mut gradients) = (SequenceArg::new(), SequenceArg::new());
    let (mut firsts, mut seconds, mut updated) = (SequenceArg::new(), SequenceArg::new(), SequenceArg::new());
    let (mut counts, mut held, mut outputs) = (SequenceArg::new(), Vec::new(), Vec::new());
    let (mut most, mut address) = (0, Default::default());
    let together = group.len();
    for inputs in group {
        let (parameter, gradient) = (contiguous(inputs.parameter), contiguous(inputs.gradient));
        let [first, second] = inputs.moments.map(own);
        let [count] = parameter.shape().dims();
        let made = empty(&parameter, [count], dtype);
        parameters.push(array(&parameter));
        gradients.push(array(&gradient));
        firsts.push(array(&first));
        seconds.push(array(&second));
        updated.push(array(&made));
        counts.push(count);
        (most, address) = (most.max(count), Grid::address(&[&parameter]).max(address));
        held.push((parameter, gradient));
        outputs.push(AdamWOutputs { parameter: made, moments: [first, second] });
    }
    let cubes = (most.div_ceil(UNITS as usize) as u32).clamp(1, MOST_CUBES);
    // SAFETY: a unit reads and writes below its parameter's count only, the length of all of its arrays; the factor has one number.
    unsafe {
        adamw_kernel::launch_unchecked::<R>(
            &client,
            CubeCount::Static(cubes, together as u32, 1),
            CubeDim { x: UNITS, y: 1, z: 1 },
            address,
            parameters,
            gradients,
            firsts,
            seconds,
            updated,
            array(factor),
            counts,
            numbers,
            together,
            UNITS,
            dtype.into(),
        );
    }
    outputs
}

/// The sum of squares of numbers of at most 32 bits, in the first tensor's type.
fn sum_of_squares<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(tensors: Vec<CubeTensor<R>>) -> CubeTensor<R> {
    let (client, dtype) = (tensors[0].client.clone(), tensors[0].dtype);
    let sums = empty(&tensors[0], [tensors.len() * CUBES as usize], DType::F32);
    let tensors: Vec<_> = tensors.into_iter().map(contiguous).collect();
    let mut begun = 0;
    for group in tensors.chunk_by(|one, other| one.dtype == other.dtype) {
        for group in group.chunks(together(&client, 1)) {
            // SAFETY: a unit reads below its tensor's count only, and `sums` has `CUBES` numbers for each tensor from its offset on.
            unsafe {
                squares_kernel::launch_unchecked::<R>(
                    &client,
                    CubeCount::Static(CUBES, group.len() as u32, 1),
                    CubeDim { x: UNITS, y: 1, z: 1 },
                    group.iter().map(CubeTensor::required_address_type).max().unwrap_or_default(),
                    group.iter().map(array).collect(),
                    array(&sums),
                    group.iter().map(|tensor| tensor.shape().num_elements()).collect(),
                    begun * CUBES as usize,
                    group.len(),
                    UNITS,
                    CUBES,
                    group[0].dtype.into(),
                );
            }
            begun += group.len();
        }
    }
    cast_to(primitive(float::<CubeBackend<R, F, I, BT>, 1>(sums).sum_dim(0)), dtype)
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> OptimizerOps for CubeBackend<R, F, I, BT> {
    fn adamw(inputs: Vec<AdamWInputs<Self>>, factor: FloatTensor<Self>) -> Vec<AdamWOutputs<Self>> {
        if !inputs.iter().all(|one| runs::<Self>(&one.parameter.device, one.parameter.dtype)) {
            return inputs.into_iter().map(|inputs| reference::adamw(inputs, factor.clone())).collect();
        }
        let factor = contiguous(factor);
        let mut outputs: Vec<Option<AdamWOutputs<Self>>> = vec![None; inputs.len()];
        let mut rest: Vec<(usize, AdamWInputs<Self>)> = inputs.into_iter().enumerate().collect();
        while let Some((_, first)) = rest.first() {
            let numbers = |one: &AdamWInputs<Self>| (one.step, one.parameter.dtype);
            let (wanted, most) = (numbers(first), together(&first.parameter.client, 5));
            let (alike, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(_, one)| numbers(one) == wanted);
            rest = others;
            let mut alike = alike.into_iter().peekable();
            while alike.peek().is_some() {
                let (places, group): (Vec<usize>, Vec<_>) = alike.by_ref().take(most).unzip();
                for (place, after) in places.into_iter().zip(adamw(group, &factor)) {
                    outputs[place] = Some(after);
                }
            }
        }
        outputs.into_iter().map(|after| after.expect("every parameter is in one group")).collect()
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
    let step = AdamWStep { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-5, weight_decay: 0.3, time: 3 };
    let inputs = |count: usize| {
        let tensor = |step: f64| self_check::tensor::<B, 1>([count], step, device);
        let second = self_check::numbers(count, 0.4).into_iter().map(f32::abs).collect();
        let moments = [tensor(1.1), self_check::tensor_of::<B, 1>(second, [count], device)];
        AdamWInputs::<B> { parameter: tensor(0.7), gradient: tensor(0.3), moments, step }
    };
    let inputs = vec![inputs(307), inputs(5)];
    let sum = B::sum_of_squares(inputs.iter().map(|one| one.gradient.clone()).collect());
    let after = B::adamw(inputs, self_check::tensor_of::<B, 1>(vec![0.5], [1], device));
    let tensors = after.into_iter().flat_map(|AdamWOutputs { parameter, moments: [first, second] }| [parameter, first, second]);
    self_check::read::<B>(tensors.chain([sum]))
}
