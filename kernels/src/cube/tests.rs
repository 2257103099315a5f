//! The elementwise and row kernels on whatever Vulkan device there is, against the CPU's in double precision.

use super::testing::{Truth, Vulkan, tensor_on, vulkan};
use crate::{
    AttentionInputs, Derived, Dropout, KernelBackend, ScanCarry,
    device::Card,
    layer_norm,
    reference_gradients::tests::{assert_those_of_double_precision, of_every_op},
    testing::{random, random_f64, random_tensor},
};
use burn::{
    backend::Autodiff,
    tensor::{
        DType, Int, Tensor, TensorPrimitive,
        backend::{Backend, DTypeUsage},
        ops::FloatTensor,
    },
};
use burn_flex::Flex;
use burn_wgpu::WgpuDevice;

fn read<B: Backend, const D: usize>(tensor: FloatTensor<B>) -> Vec<f64> {
    Tensor::<B, D>::from_primitive(TensorPrimitive::Float(tensor)).into_data().convert::<f64>().to_vec().unwrap()
}

/// `y` and the gradients of `x`, gain and bias.
fn normalised<B: KernelBackend>(numbers: &[Vec<f32>; 4], rows: usize, width: usize, dtype: DType) -> [Vec<f64>; 4] {
    let [x, gain, bias, grad] = numbers;
    let x = || tensor_on::<B, 2>(x, [rows, width], dtype);
    let gain = || tensor_on::<B, 1>(gain, [width], dtype);
    let y = B::layer_norm_rows(x(), gain(), tensor_on::<B, 1>(bias, [width], dtype));
    let gradients = B::layer_norm_backward(x(), gain(), tensor_on::<B, 2>(grad, [rows, width], dtype));
    [read::<B, 2>(y), read::<B, 2>(gradients.x), read::<B, 1>(gradients.gain), read::<B, 1>(gradients.bias)]
}

#[test]
fn layer_norm_agrees_with_double_precision() {
    let Some(_device) = vulkan() else { return };
    for (rows, width) in [(1, 3), (3, 128), (131, 19), (30, 67)] {
        // A large mean is where a one-pass variance fails.
        let x = random(rows * width, 1).iter().map(|x| x + 5.0).collect();
        let numbers = [x, random(width, 2), random(width, 3), random(rows * width, 4)];
        let expected = normalised::<Flex>(&numbers, rows, width, DType::F64);
        let plain = {
            let tensor = |index: usize| tensor_on::<Flex, 2>(&numbers[index], [rows, width], DType::F32);
            let vector = |index: usize| tensor_on::<Flex, 1>(&numbers[index], [width], DType::F32);
            let y = layer_norm::reference::layer_norm::<Flex>(tensor(0), vector(1), vector(2));
            let gradients = crate::reference_gradients::layer_norm::<Flex>(tensor(0), vector(1), tensor(3));
            [read::<Flex, 2>(y), read::<Flex, 2>(gradients.x), read::<Flex, 1>(gradients.gain), read::<Flex, 1>(gradients.bias)]
        };
        let found = normalised::<Vulkan>(&numbers, rows, width, DType::F32);
        for (index, what) in ["y", "x gradients", "gain gradients", "bias gradients"].into_iter().enumerate() {
            let truth = Truth(&expected[index]);
            truth.assert_within(&found[index], truth.largest_error(&plain[index]), format!("{what} of {rows} x {width}"));
        }
    }
}

#[test]
fn dropout_is_that_of_the_cpu() {
    let Some(_device) = vulkan() else { return };
    let (rows, width) = (37, 53);
    let dropout = Dropout { probability: 0.3, seed: 0xfedc_ba98_7654_3210 };
    let numbers = [random(rows * width, 1), random(rows * width, 2)];
    fn run<B: KernelBackend>(numbers: &[Vec<f32>; 2], shape: [usize; 2], dropout: Dropout) -> [Vec<f64>; 2] {
        let [residual, branch] = [0, 1].map(|index| tensor_on::<B, 2>(&numbers[index], shape, DType::F32));
        [read::<B, 2>(B::dropout_add(residual, branch.clone(), dropout)), read::<B, 2>(B::dropout_backward(branch, dropout))]
    }
    let (found, expected) = (run::<Vulkan>(&numbers, [rows, width], dropout), run::<Flex>(&numbers, [rows, width], dropout));
    for (found, expected) in found.iter().zip(&expected) {
        // One rounding may be fused away.
        Truth(expected).assert_within(found, 0.0, "dropout".into());
    }
    assert_eq!(found[1].iter().map(|&x| x == 0.0).collect::<Vec<_>>(), expected[1].iter().map(|&x| x == 0.0).collect::<Vec<_>>());
}

#[test]
fn dense_layer_gradients_agree_with_double_precision() {
    use crate::linear::{LinearSaved, Rectifier};
    let Some(_device) = vulkan() else { return };
    let (rows, inputs, outputs) = (37, 11, 23);
    let [x, weight, grad] = [(rows * inputs, 1), (inputs * outputs, 2), (rows * outputs, 3)].map(|(n, seed)| random_f64(n, seed));
    let single = |numbers: &[f64]| numbers.iter().map(|&x| x as f32).collect::<Vec<_>>();
    fn run<B: KernelBackend>(numbers: [&[f32]; 3], [rows, inputs, outputs]: [usize; 3], dtype: DType) -> [Vec<f64>; 3] {
        let x = tensor_on::<B, 2>(numbers[0], [rows, inputs], dtype);
        let weight = tensor_on::<B, 2>(numbers[1], [inputs, outputs], dtype);
        let bias = tensor_on::<B, 1>(&vec![0.1; outputs], [outputs], dtype);
        let y = B::linear_rectified(x.clone(), weight.clone(), bias, Rectifier::Relu);
        let saved = LinearSaved { x, weight, y, rectifier: Rectifier::Relu };
        let gradients = B::linear_backward(saved, tensor_on::<B, 2>(numbers[2], [rows, outputs], dtype), true);
        [read::<B, 2>(gradients.x.unwrap()), read::<B, 2>(gradients.weight), read::<B, 1>(gradients.bias)]
    }
    let numbers = [single(&x), single(&weight), single(&grad)];
    let numbers = [&numbers[0][..], &numbers[1][..], &numbers[2][..]];
    let shape = [rows, inputs, outputs];
    let (found, expected) = (run::<Vulkan>(numbers, shape, DType::F32), run::<Flex>(numbers, shape, DType::F64));
    let plain = run::<Flex>(numbers, shape, DType::F32);
    for index in 0..3 {
        let truth = Truth(&expected[index]);
        truth.assert_within(&found[index], truth.largest_error(&plain[index]), format!("gradient {index}"));
    }
}

#[test]
fn an_optimizer_step_agrees_with_double_precision() {
    use crate::optimizer::{AdamWInputs, AdamWStep, reference};
    let Some(_device) = vulkan() else { return };
    const STEP: AdamWStep = AdamWStep { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.1, time: 4 };
    /// Parameter, both moments and the sum of squares; clones of the moments stay what they were.
    fn run<B: KernelBackend>(
        numbers: &[Vec<f32>; 4],
        dtype: DType,
        adamw: impl Fn(AdamWInputs<B>, AdamWStep) -> (FloatTensor<B>, [FloatTensor<B>; 2]),
        squares: impl Fn(Vec<FloatTensor<B>>) -> FloatTensor<B>,
    ) -> [Vec<f64>; 4] {
        let [parameter, gradient, first, second] =
            numbers.each_ref().map(|numbers| tensor_on::<B, 1>(numbers, [numbers.len()], dtype));
        let sum = squares(vec![gradient.clone(), parameter.clone()]);
        let (held, factor) = (first.clone(), tensor_on::<B, 1>(&[0.3], [1], dtype));
        let (parameter, [first, second]) = adamw(AdamWInputs { parameter, gradient, moments: [first, second], factor }, STEP);
        assert_eq!(read::<B, 1>(held), numbers[2].iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        [parameter, first, second, sum].map(read::<B, 1>)
    }
    // More than one run of every cube at 9,001.
    for count in [1, 53, 9_001] {
        let numbers = [random(count, 1), random(count, 2), random(count, 3), random(count, 4).iter().map(|x| x * x).collect()];
        let expected = run::<Flex>(&numbers, DType::F64, Flex::adamw, Flex::sum_of_squares);
        let plain = run::<Flex>(&numbers, DType::F32, reference::adamw, reference::sum_of_squares::<Flex>);
        let found = run::<Vulkan>(&numbers, DType::F32, Vulkan::adamw, Vulkan::sum_of_squares);
        for (index, what) in ["parameter", "first moment", "second moment", "squares"].into_iter().enumerate() {
            let truth = Truth(&expected[index]);
            truth.assert_within(&found[index], truth.largest_error(&plain[index]), format!("{what} of {count}"));
        }
    }
}

/// Whatever type the numbers are of, a gradient arrives: of the kernels where they serve it, and else of the reference.
#[test]
fn other_types_of_the_device_have_gradients() {
    let Some(device) = vulkan() else { return };
    let ops = [Derived::Scan, Derived::LogSumExp, Derived::LayerNorm, Derived::Recurrence, Derived::SelectiveScan];
    for op in ops {
        assert!(Vulkan::has_backward(op, &device, 5, DType::F32), "{op:?}");
        assert!(!Vulkan::has_backward(op, &device, 5, DType::F64), "{op:?} sums in single precision");
    }
    // Those of single precision have tests of their own.
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F16, 30.0 * 2f64.powi(-11)), (DType::BF16, 30.0 * 2f64.powi(-9))] {
        let usage = Vulkan::dtype_usage(&device, dtype);
        if usage.contains(DTypeUsage::Storage) && usage.contains(DTypeUsage::Arithmetic) {
            let mut found = of_every_op::<Vulkan>(dtype);
            if dtype == DType::F64 {
                // SPIR-V's functions are of single precision: of what needs more than sums and products, that it arrives is all.
                found.retain(|(op, _)| ["recurrence", "convolution"].contains(op));
            }
            assert_those_of_double_precision(found, tolerance, &format!("{dtype:?}"));
        } else {
            println!("skipped: the device does not compute in {dtype:?} ({usage:?})");
        }
    }
}

/// What a loss of an op and its gradients take, in bytes.
#[derive(Debug)]
struct Taken {
    /// By inputs, output and what the graph keeps for the backward pass.
    kept: u64,
    /// From the driver, for all that there was at once; in pages of some megabytes.
    reserved: u64,
}

fn memory_of(device: &WgpuDevice, loss: impl FnOnce() -> Tensor<Autodiff<Vulkan>, 1>) -> Taken {
    let memory = || {
        Vulkan::sync(device).unwrap();
        Vulkan::memory(device).unwrap()
    };
    Vulkan::release_memory(device);
    let before = memory().in_use;
    let loss = loss();
    let kept = memory().in_use - before;
    let _gradients = loss.backward();
    Taken { kept, reserved: memory().reserved }
}

/// Memory is linear in time: no buffer has a number for every query and key, forward or backward.
#[test]
fn attention_takes_memory_linear_in_time() {
    type Graph = Autodiff<Vulkan>;
    let Some(device) = vulkan() else { return };
    let (heads, head_dim) = (3, 16);
    let three = |time: usize| random_tensor::<Graph, 3>([1, heads, time], 1).require_grad();
    let four = |time: usize, seed: u64| random_tensor::<Graph, 4>([1, heads, time, head_dim], seed).require_grad();
    let none = |time: usize| Tensor::<Graph, 2, Int>::zeros([1, time], &device);
    let scan = |time: usize| {
        memory_of(&device, || {
            let carry = ScanCarry::empty(1, heads, head_dim, &device);
            crate::attention_scan(three(time), four(time, 2), none(time).bool(), carry).0.sum()
        })
    };
    let attention = |time: usize| {
        memory_of(&device, || {
            crate::causal_attention(four(time, 1), four(time, 2), four(time, 3), none(time), Dropout::OFF).sum()
        })
    };
    let by_reference = |time: usize| {
        memory_of(&device, || {
            let [queries, keys, values] = [1, 2, 3].map(|seed| four(time, seed).into_primitive().tensor());
            let inputs = AttentionInputs { queries, keys, values, first_key: none(time).into_primitive(), dropout: Dropout::OFF };
            let outputs = crate::attention::reference::causal_attention::<Graph>(inputs).outputs;
            Tensor::<Graph, 4>::from_primitive(TensorPrimitive::Float(outputs)).sum()
        })
    };
    let square = |time: usize| (4 * heads * time * time) as u64;
    let longest = 2048;
    for (name, op) in [("scan", &scan as &dyn Fn(usize) -> Taken), ("attention", &attention)] {
        let taken = [256, 512, 1024, longest].map(op);
        println!("{name}, from 256 tokens doubled to {longest}: {taken:?}");
        for pair in taken.windows(2) {
            // Less than twice: a carry and a loss do not grow.
            assert!(pair[1].kept <= 2 * pair[0].kept, "{name}: {taken:?}");
        }
        assert!(taken[3].reserved < square(longest), "{name}: {taken:?}");
    }
    // That it would be seen.
    let reference = by_reference(1024);
    assert!(reference.kept > square(1024) && reference.reserved > square(1024), "the reference: {reference:?}");
}
