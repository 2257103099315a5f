//! The short causal convolution that recurrences are preceded by, and what convolutions of any length share.

use crate::{init::Init, reset::Reset};
use aaren_kernels::{KernelBackend, causal_convolution};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor, TensorData};

/// A filter of a few taps for every channel, over time.
#[derive(Module, Debug)]
pub struct ShortConvolution<B: Backend> {
    /// `[taps, channels]`; the first multiplies the present token.
    pub taps: Param<Tensor<B, 2>>,
    /// `[channels]`
    pub bias: Param<Tensor<B, 1>>,
}

impl<B: Backend> ShortConvolution<B> {
    /// PyTorch's initialization of a depthwise convolution: uniform within `1 / sqrt(taps)`.
    pub fn new(taps: usize, channels: usize, init: &mut Init, device: &B::Device) -> Self {
        let bound = 1.0 / (taps as f32).sqrt();
        Self { taps: init.uniform([taps, channels], bound, device), bias: init.uniform([channels], bound, device) }
    }

    /// The inputs of a sequence that has not begun: zeros, `[batch, taps - 1, channels]`.
    pub fn initial_history(&self, batch: usize, device: &B::Device) -> Tensor<B, 3> {
        let [taps, channels] = self.taps.dims();
        Tensor::zeros([batch, taps - 1, channels], device)
    }
}

impl<B: KernelBackend> ShortConvolution<B> {
    /// `[batch, time, channels]` to the same, and the inputs that the next call needs. No tap reaches into another episode.
    pub fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, history: Tensor<B, 3>) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let [_, past, channels] = history.dims();
        let history = if history.dtype() == x.dtype() { history } else { history.cast(x.dtype()) };
        let inputs = Tensor::cat(vec![history, x], 1);
        let first = first_inputs(reset, past, &inputs.device());
        let y = causal_convolution(inputs.clone(), self.taps.val(), first) + self.bias.val().reshape([1, 1, channels]);
        (y, last_inputs(inputs, past, reset))
    }
}

/// The first input that each output sees, `[batch, time]`: those of a history of `past` inputs before the chunk count from 0, and
/// inputs of other episodes are zeros there already.
pub(crate) fn first_inputs<B: Backend>(reset: &Reset<B>, past: usize, device: &B::Device) -> Tensor<B, 2, Int> {
    let firsts = reset.firsts(past, &mut vec![0; reset.batch()]);
    Tensor::from_data(TensorData::new(firsts, [reset.batch(), reset.time()]), device)
}

/// The last `count` of all inputs, zeros in place of those of episodes that have ended.
pub(crate) fn last_inputs<B: Backend>(inputs: Tensor<B, 3>, count: usize, reset: &Reset<B>) -> Tensor<B, 3> {
    let [batch, length, _] = inputs.dims();
    let start = length - count;
    let kept = inputs.slice([0..batch, start..length]);
    let begins: Vec<usize> = (0..batch).map(|row| reset.last(row).map_or(0, |token| length - reset.time() + token)).collect();
    let ended: Vec<bool> = begins.iter().flat_map(|&begin| (start..length).map(move |input| input < begin)).collect();
    cleared(kept, ended, [batch, count, 1])
}

/// Zeros where a flag of the given shape, expanded to that of `x`, is set. Nothing is computed where none is.
pub(crate) fn cleared<B: Backend>(x: Tensor<B, 3>, flags: Vec<bool>, shape: [usize; 3]) -> Tensor<B, 3> {
    if !flags.contains(&true) {
        return x;
    }
    let flags = Tensor::<B, 3, Bool>::from_data(TensorData::new(flags, shape), &x.device());
    let shape = x.dims();
    x.mask_fill(flags.expand(shape), 0.0)
}
