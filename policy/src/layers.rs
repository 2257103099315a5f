//! The layers that everything is built from, over rows: `[rows, width]`.

use crate::init::{Init, Initialization};
use aaren_kernels::{Activation, KernelBackend};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// A dense layer, `y = x weight + bias`.
#[derive(Module, Debug)]
pub struct Dense<B: Backend> {
    /// `[inputs, outputs]`
    pub weight: Param<Tensor<B, 2>>,
    /// `[outputs]`
    pub bias: Param<Tensor<B, 1>>,
}

impl<B: Backend> Dense<B> {
    /// For mixers that are published with small weights: as [`Dense::uniform`] or [`Dense::small`], whichever [`Init::initialization`] says.
    pub fn in_mixer(inputs: usize, outputs: usize, init: &mut Init, device: &B::Device) -> Self {
        match init.initialization() {
            Initialization::FanIn => Self::uniform(inputs, outputs, init, device),
            Initialization::Published => Self::small(inputs, outputs, init, device),
        }
    }

    /// GPT-2's initialization: weights normal with standard deviation 0.02, biases 0. For feed-forward halves, which begin as next to nothing.
    pub fn small(inputs: usize, outputs: usize, init: &mut Init, device: &B::Device) -> Self {
        Self { weight: init.normal([inputs, outputs], 0.02, device), bias: init.constant([outputs], 0.0, device) }
    }

    /// PyTorch's default initialization, uniform within `1 / sqrt(inputs)`. For embeddings and heads, as in the Decision
    /// Transformer; and where gates multiply what layers give: products of numbers of size 0.02 would leave a narrow block silent
    /// (at the published widths of about 1024 the two initializations are of one size).
    pub fn uniform(inputs: usize, outputs: usize, init: &mut Init, device: &B::Device) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        Self { weight: init.uniform([inputs, outputs], bound, device), bias: init.uniform([outputs], bound, device) }
    }

    /// Orthogonal weights times `gain`, biases 0. For everything that policy gradients train.
    pub fn orthogonal(inputs: usize, outputs: usize, gain: f64, init: &mut Init, device: &B::Device) -> Self {
        Self { weight: init.orthogonal(inputs, outputs, gain, device), bias: init.constant([outputs], 0.0, device) }
    }
}

impl<B: KernelBackend> Dense<B> {
    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        aaren_kernels::linear(x, self.weight.val(), self.bias.val(), Activation::Identity)
    }

    /// The same with `max(y, 0)`.
    pub fn forward_relu(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        aaren_kernels::linear(x, self.weight.val(), self.bias.val(), Activation::Relu)
    }

    /// The same with `tanh(y)`.
    pub fn forward_tanh(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        aaren_kernels::linear(x, self.weight.val(), self.bias.val(), Activation::Tanh)
    }
}

/// A dense layer without bias, `y = x weight`.
#[derive(Module, Debug)]
pub struct Projection<B: Backend> {
    /// `[inputs, outputs]`
    pub weight: Param<Tensor<B, 2>>,
}

impl<B: Backend> Projection<B> {
    /// Uniform weights within `gain / sqrt(inputs)`; a gain of 1 is PyTorch's default.
    pub fn uniform(inputs: usize, outputs: usize, gain: f32, init: &mut Init, device: &B::Device) -> Self {
        Self { weight: init.uniform([inputs, outputs], gain / (inputs as f32).sqrt(), device) }
    }
}

impl<B: KernelBackend> Projection<B> {
    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [_, outputs] = self.weight.dims();
        // The op with a bias has a quick path for the few rows of acting.
        let zero = Tensor::zeros([outputs], (&x.device(), x.dtype()));
        aaren_kernels::linear(x, self.weight.val(), zero, Activation::Identity)
    }
}

/// A block-diagonal dense layer, half of a Monarch matrix: the channels of a block go to the channels of the same block.
#[derive(Module, Debug)]
pub struct BlockDiagonal<B: Backend> {
    /// `[blocks, inputs / blocks, outputs / blocks]`
    pub weight: Param<Tensor<B, 3>>,
}

impl<B: Backend> BlockDiagonal<B> {
    /// The initialization of Monarch Mixer: as of a dense layer, times `sqrt(blocks)`, so uniform within `sqrt(blocks / inputs)`.
    pub fn new(inputs: usize, outputs: usize, blocks: usize, init: &mut Init, device: &B::Device) -> Self {
        let bound = (blocks as f32 / inputs as f32).sqrt();
        Self { weight: init.uniform([blocks, inputs / blocks, outputs / blocks], bound, device) }
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let ([rows, _], [blocks, inputs, outputs]) = (x.dims(), self.weight.dims());
        let x = x.reshape([rows, blocks, inputs]).swap_dims(0, 1); // [blocks, rows, inputs]
        x.matmul(self.weight.val()).swap_dims(0, 1).reshape([rows, blocks * outputs])
    }
}

/// Layer normalization with gain and bias.
#[derive(Module, Debug)]
pub struct Norm<B: Backend> {
    /// `[width]`
    pub gain: Param<Tensor<B, 1>>,
    /// `[width]`
    pub bias: Param<Tensor<B, 1>>,
}

impl<B: Backend> Norm<B> {
    /// Gain 1, bias 0.
    pub fn new(width: usize, init: &mut Init, device: &B::Device) -> Self {
        Self { gain: init.constant([width], 1.0, device), bias: init.constant([width], 0.0, device) }
    }
}

impl<B: KernelBackend> Norm<B> {
    /// `[rows, width]` to the same.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        aaren_kernels::layer_norm(x, self.gain.val(), self.bias.val())
    }
}
