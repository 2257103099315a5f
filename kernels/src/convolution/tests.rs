//! The convolution against worked numbers, its reference, and finite differences.

use super::*;
use crate::primitive::primitive;
use crate::testing::{assert_all_close, assert_slopes, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 3;
/// More than one block of channels, and not a whole number of them.
const CHANNELS: usize = 37;

/// Distinct odd sizes; every row with another border, the last with one at its last token.
fn case<B: Backend>(history: usize, time: usize, taps: usize, seed: u64) -> (Tensor<B, 3>, Tensor<B, 2>, Tensor<B, 2, Int>) {
    let first = |row: usize, t: usize| match row {
        0 => 0,
        1 if t < time / 2 => 1.min(history),
        1 => history + time / 2,
        _ if t < time - 1 => history,
        _ => history + t,
    };
    let first: Vec<i32> = (0..BATCH * time).map(|i| first(i / time, i % time) as i32).collect();
    (
        random_tensor([BATCH, history + time, CHANNELS], seed),
        random_tensor([taps, CHANNELS], seed + 1),
        Tensor::from_data(TensorData::new(first, [BATCH, time]), &Default::default()),
    )
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
        let (inputs, filter, first) = case::<Cpu>(history, time, taps, 20);
        let inputs = ConvolutionInputs::new(inputs, filter, first.into_primitive());
        // f32 sums of up to some hundred products in another order.
        let expected = reference::causal_convolution(inputs.clone());
        assert_all_close::<Cpu, 1>([Cpu::causal_convolution(inputs.clone())], [expected], 1e-5);
        let upstream = primitive(random_tensor::<Cpu, 3>([BATCH, time, CHANNELS], 30));
        let expected = inputs.clone().derive(reference::causal_convolution, upstream.clone());
        let found = inputs.derive(Graph::causal_convolution, upstream);
        assert_all_close::<Cpu, 1>([found.inputs], [expected.inputs], 1e-5);
        assert_all_close::<Cpu, 1>([found.taps], [expected.taps], 2e-5);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (batch, history, time, channels, taps) = (2, 1, 4, 3, 4);
    let first = Tensor::<Cpu, 2, Int>::from_data([[0, 0, 3, 3], [0, 0, 0, 0]], &Default::default());
    assert_slopes(
        [&[batch, history + time, channels], &[taps, channels]],
        [0.0; 2],
        |floats| ConvolutionInputs::<Cpu>::from_floats(floats, first.clone().into_primitive()),
        cpu::causal_convolution::<f64>,
        |inputs, grad| cpu::causal_convolution_backward::<f64>(inputs, grad).floats(),
    );
}
