//! The convolution against worked numbers, its reference, and finite differences.

use super::*;
use crate::primitive::{float, primitive};
use crate::testing::{assert_close, assert_slopes, random_f64, random_tensor, upstream};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 3;
/// More than one block of channels, and not a whole number of them.
const CHANNELS: usize = 37;

/// Distinct odd sizes; every row with another border, the last with one at its last token.
fn case<B: Backend>(history: usize, time: usize, taps: usize, seed: u64) -> (Tensor<B, 3>, Tensor<B, 2>, Tensor<B, 2, Int>) {
    let first = |row: usize, t: usize| match row {
        0 => 0,
        1 => {
            if t >= time / 2 {
                history + time / 2
            } else {
                1.min(history)
            }
        }
        _ => {
            if t == time - 1 {
                history + t
            } else {
                history
            }
        }
    };
    let first: Vec<i32> = (0..BATCH * time).map(|i| first(i / time, i % time) as i32).collect();
    (
        random_tensor([BATCH, history + time, CHANNELS], seed),
        random_tensor([taps, CHANNELS], seed + 1),
        Tensor::from_data(TensorData::new(first, [BATCH, time]), &Default::default()),
    )
}

fn by_reference<B: Backend>(inputs: Tensor<B, 3>, taps: Tensor<B, 2>, first: Tensor<B, 2, Int>) -> Tensor<B, 3> {
    float(reference::causal_convolution::<B>(ConvolutionInputs {
        inputs: primitive(inputs),
        taps: primitive(taps),
        first: first.into_primitive(),
    }))
}

#[test]
fn worked_example() {
    let tensor = |numbers: &[f32]| Tensor::<Cpu, 1>::from_data(numbers, &Default::default());
    let inputs = tensor(&[1.0, 2.0, 3.0, 4.0]).reshape([1, 4, 1]);
    let taps = tensor(&[2.0, -1.0, 0.5]).reshape([3, 1]); // PyTorch's [.5, -1, 2]
    let whole = causal_convolution(inputs.clone(), taps.clone(), Tensor::zeros([1, 4], &Default::default()));
    assert_eq!(whole.into_data().to_vec::<f32>().unwrap(), [2.0, 3.0, 4.5, 6.0]);
    // The last two, the last of them beginning an episode.
    let first = Tensor::from_data([[0, 3]], &Default::default());
    assert_eq!(causal_convolution(inputs, taps, first).into_data().to_vec::<f32>().unwrap(), [4.5, 8.0]);
}

#[test]
fn cpu_agrees_with_the_reference_and_so_do_gradients() {
    for (history, time, taps) in
        [(0, 1, 1), (0, 1, 4), (3, 1, 4), (0, 13, 3), (3, 17, 4), (5, 61, 100), (40, 29, 33), (2, 300, 257)]
    {
        let run = |use_reference: bool| {
            let (inputs, taps, first) = case::<Graph>(history, time, taps, 20);
            let (inputs, taps) = (inputs.require_grad(), taps.require_grad());
            let run = if use_reference { by_reference } else { causal_convolution };
            let outputs = run(inputs.clone(), taps.clone(), first);
            let gradients = (outputs.clone() * upstream([BATCH, time, CHANNELS], 30)).sum().backward();
            (outputs.inner(), inputs.grad(&gradients).unwrap(), taps.grad(&gradients).unwrap())
        };
        let (found, expected) = (run(false), run(true));
        // f32 sums of up to some hundred products in another order.
        assert_close(found.0, expected.0, 1e-5);
        assert_close(found.1, expected.1, 1e-5);
        assert_close(found.2, expected.2, 2e-5);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (batch, history, time, channels, taps) = (2, 1, 4, 3, 4);
    let inputs = batch * (history + time) * channels;
    let numbers = random_f64(inputs + taps * channels, 40);
    let weights = random_f64(batch * time * channels, 41);
    let options = (&Default::default(), DType::F64);
    let build = |numbers: &[f64]| {
        let tensor = |part: &[f64]| Tensor::<Cpu, 1>::from_data(TensorData::new(part.to_vec(), [part.len()]), options);
        let first = Tensor::<Cpu, 2, Int>::from_data([[0, 0, 3, 3], [0, 0, 0, 0]], &Default::default());
        ConvolutionInputs::<Cpu> {
            inputs: tensor(&numbers[..inputs]).reshape([batch, history + time, channels]).into_primitive().tensor(),
            taps: tensor(&numbers[inputs..]).reshape([taps, channels]).into_primitive().tensor(),
            first: first.into_primitive(),
        }
    };
    let read = |primitive| {
        let tensor = float::<Cpu, 1>(primitive);
        tensor.into_data().to_vec::<f64>().unwrap()
    };
    let loss = |numbers: &[f64]| -> f64 {
        let outputs = read(cpu::causal_convolution::<f64>(build(numbers)));
        outputs.iter().zip(&weights).map(|(output, weight)| output * weight).sum()
    };
    let grad = Tensor::<Cpu, 1>::from_data(TensorData::new(weights.clone(), [weights.len()]), options);
    let grad = grad.reshape([batch, time, channels]).into_primitive().tensor();
    let gradients = cpu::causal_convolution_backward::<f64>(build(&numbers), grad);
    let found: Vec<f64> = [gradients.inputs, gradients.taps].into_iter().flat_map(read).collect();
    assert_slopes(&found, &numbers, loss);
}
