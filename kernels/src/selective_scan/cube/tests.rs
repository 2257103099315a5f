//! The selective scan's kernels against double precision, on whatever Vulkan device there is: software will do.

use super::launch::{selective_scan, selective_scan_backward};
use crate::cube::testing::{Truth, Vulkan, host, tensor_on, vulkan};
use crate::primitive::float;
use crate::selective_scan::{SelectiveGradients, SelectiveInputs, SelectiveScanOps, cpu, reference};
use crate::testing::random;
use burn::tensor::{Bool, DType, Tensor, TensorData, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// A scan's inputs and upstream gradient on the host, so that every backend and precision gets the same numbers.
struct Case {
    /// Batch, time, channels, states.
    sizes: [usize; 4],
    inputs: Vec<f32>,
    steps: Vec<f32>,
    decays: Vec<f32>,
    writes: Vec<f32>,
    reads: Vec<f32>,
    carry: Vec<f32>,
    reset: Vec<bool>,
    grad: Vec<f32>,
}

impl Case {
    /// Resets at the first, the last and a middle token of some rows; positive steps, negative decays.
    fn new(sizes: [usize; 4], seed: u64) -> Self {
        let [batch, time, channels, states] = sizes;
        let tokens = batch * time;
        let mut reset = vec![false; tokens];
        if batch > 1 {
            reset[time] = true;
            reset[2 * time - 1] = true;
        }
        if time > 2 {
            reset[(batch - 1) * time + time / 2] = true;
        }
        Self {
            sizes,
            inputs: random(tokens * channels, seed),
            steps: random(tokens * channels, seed + 1).into_iter().map(|x| 0.3 * x.exp()).collect(),
            decays: random(states * channels, seed + 2).into_iter().map(|x| -x.exp()).collect(),
            writes: random(tokens * states, seed + 3),
            reads: random(tokens * states, seed + 4),
            carry: random(batch * states * channels, seed + 5),
            reset,
            grad: random(batch * (time + states) * channels, seed + 6),
        }
    }

    fn inputs<B: Backend>(&self, dtype: DType) -> SelectiveInputs<B> {
        let [batch, time, channels, states] = self.sizes;
        let reset = TensorData::new(self.reset.clone(), [batch, time]);
        SelectiveInputs {
            inputs: tensor_on::<B, 3>(&self.inputs, [batch, time, channels], dtype),
            steps: tensor_on::<B, 3>(&self.steps, [batch, time, channels], dtype),
            decays: tensor_on::<B, 2>(&self.decays, [states, channels], dtype),
            writes: tensor_on::<B, 3>(&self.writes, [batch, time, states], dtype),
            reads: tensor_on::<B, 3>(&self.reads, [batch, time, states], dtype),
            carry: tensor_on::<B, 3>(&self.carry, [batch, states, channels], dtype),
            reset: Tensor::<B, 2, Bool>::from_data(reset, &Default::default()).into_primitive(),
        }
    }

    fn grad<B: Backend>(&self, dtype: DType) -> FloatTensor<B> {
        let [batch, time, channels, states] = self.sizes;
        tensor_on::<B, 2>(&self.grad, [batch, (time + states) * channels], dtype)
    }
}

const NAMES: [&str; 7] = [
    "outputs and carry",
    "input gradients",
    "step gradients",
    "decay gradients",
    "write gradients",
    "read gradients",
    "carry gradients",
];

fn read<B: Backend>(packed: FloatTensor<B>, gradients: SelectiveGradients<B>) -> [Vec<f64>; 7] {
    let [inputs, steps, decays, writes, reads, carry] = gradients.0;
    let decays = host::<B, 2>(decays);
    let [inputs, steps, writes, reads, carry] = [inputs, steps, writes, reads, carry].map(host::<B, 3>);
    [host::<B, 2>(packed), inputs, steps, decays, writes, reads, carry]
}

fn truth(case: &Case) -> [Vec<f64>; 7] {
    let inputs = || case.inputs::<Flex>(DType::F64);
    read(cpu::selective_scan::<f64>(inputs()), cpu::selective_scan_backward::<f64>(inputs(), case.grad::<Flex>(DType::F64)))
}

/// Single precision, plain tensor ops, on the CPU or on the device: half of the arithmetic is exponentials, and a device's are its own.
fn plain<B: SelectiveScanOps>(case: &Case) -> [Vec<f64>; 7] {
    let inputs = || case.inputs::<B>(DType::F32);
    read::<B>(reference::selective_scan(inputs()), reference::selective_scan_backward(inputs(), case.grad::<B>(DType::F32)))
}

/// Single precision, one token after the other.
fn recurrent(case: &Case) -> [Vec<f64>; 7] {
    let inputs = || case.inputs::<Flex>(DType::F32);
    read(cpu::selective_scan::<f32>(inputs()), cpu::selective_scan_backward::<f32>(inputs(), case.grad::<Flex>(DType::F32)))
}

fn on_device(case: &Case) -> [Vec<f64>; 7] {
    let inputs = || case.inputs::<Vulkan>(DType::F32);
    let packed = selective_scan(inputs()).expect("the kernel knows f32");
    read(packed, selective_scan_backward(inputs(), case.grad::<Vulkan>(DType::F32)).expect("the kernel knows f32"))
}

/// Plain ops in single precision are the prefix scan and the recurrence: the kernel may err three times as much as they do.
fn check(case: &Case) {
    let (found, expected) = (on_device(case), truth(case));
    let plain = [plain::<Flex>(case), plain::<Vulkan>(case), recurrent(case)];
    for (index, name) in NAMES.into_iter().enumerate() {
        let truth = Truth(&expected[index]);
        let allowed = plain.iter().map(|plain| truth.largest_error(&plain[index])).fold(0.0, f64::max);
        truth.assert_within(&found[index], allowed, format!("{name} of {:?}", case.sizes));
    }
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = vulkan() else { return };
    let sizes = [[3, 1, 19, 5], [2, 16, 67, 3], [3, 17, 130, 7], [1, 61, 65, 16], [2, 257, 9, 1]];
    for (index, sizes) in sizes.into_iter().enumerate() {
        check(&Case::new(sizes, 10 * index as u64));
    }
}

#[test]
fn agrees_over_ten_thousand_tokens() {
    let Some(_device) = vulkan() else { return };
    check(&Case::new([1, 10_000, 5, 3], 100));
}

#[test]
fn same_bits_every_run() {
    let Some(_device) = vulkan() else { return };
    let case = Case::new([2, 70, 100, 4], 120);
    assert_eq!(on_device(&case), on_device(&case));
}

#[test]
fn a_non_finite_episode_does_not_reach_the_next() {
    let Some(_device) = vulkan() else { return };
    let (time, channels) = (75, 8);
    let border = time / 2;
    let mut case = Case::new([1, time, channels, 3], 130);
    case.inputs[3] = f32::NAN;
    case.inputs[5 * channels + 1] = f32::INFINITY;
    let [packed, ..] = on_device(&case);
    assert!(packed[(border - 1) * channels + 3].is_nan());
    assert!(packed[border * channels..].iter().all(|x| x.is_finite()));
}

#[test]
fn strided_inputs_give_what_contiguous_ones_do() {
    let Some(device) = vulkan() else { return };
    let case = Case::new([3, 23, 12, 5], 140);
    let expected = on_device(&case);
    let strided = |tensor: FloatTensor<Vulkan>, a: usize, b: usize| {
        let tensor = float::<Vulkan, 3>(tensor);
        let moved = Tensor::<Vulkan, 3>::from_data(tensor.swap_dims(a, b).into_data(), &device).swap_dims(a, b);
        moved.into_primitive().tensor()
    };
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        let inputs = case.inputs::<Vulkan>(DType::F32);
        let inputs = SelectiveInputs {
            inputs: strided(inputs.inputs, a, b),
            // Each in another order.
            steps: strided(inputs.steps, 0, 1),
            writes: strided(inputs.writes, a, b),
            reads: strided(inputs.reads, 1, 2),
            carry: strided(inputs.carry, a, b),
            ..inputs
        };
        let packed = Vulkan::selective_scan(inputs.clone());
        let gradients = Vulkan::selective_scan_backward(inputs, case.grad::<Vulkan>(DType::F32));
        assert_eq!(read(packed, gradients), expected, "axes {a} and {b}");
    }
}

#[test]
fn the_graph_has_its_gradients() {
    use burn::backend::Autodiff;
    let Some(device) = vulkan() else { return };
    let case = Case::new([2, 37, 11, 3], 150);
    let inputs = case.inputs::<Autodiff<Vulkan>>(DType::F32);
    let u = float::<Autodiff<Vulkan>, 3>(inputs.inputs).require_grad();
    assert!(<Vulkan as SelectiveScanOps>::has_backward(&device, 3, DType::F32));
    let inputs = SelectiveInputs { inputs: u.clone().into_primitive().tensor(), ..inputs };
    let packed = <Autodiff<Vulkan> as SelectiveScanOps>::selective_scan(inputs);
    let packed = float::<Autodiff<Vulkan>, 2>(packed);
    let upstream = float(case.grad::<Autodiff<Vulkan>>(DType::F32));
    let gradients = (packed * upstream).sum().backward();
    let found: Vec<f64> = u.grad(&gradients).unwrap().into_data().convert::<f64>().to_vec().unwrap();
    assert_eq!(found, on_device(&case)[1]);
}
