//! A multilayer perceptron: dense layers with a non-linearity between them, and an output layer.

use crate::{init::Init, layers::Dense};
use aaren_kernels::KernelBackend;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// What follows every hidden layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HiddenActivation {
    /// Hyperbolic tangent, as published for PPO.
    #[default]
    Tanh,
    /// `max(x, 0)`
    Relu,
}

/// Hidden layers and an output layer.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    hidden: Vec<Dense<B>>,
    output: Dense<B>,
    #[module(skip)]
    activation: HiddenActivation,
}

impl<B: Backend> Mlp<B> {
    /// Orthogonal weights, biases 0. `output_gain` is small for a policy that should begin near its bias.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        hidden: &[usize],
        activation: HiddenActivation,
        output_gain: f64,
        init: &mut Init,
        device: &B::Device,
    ) -> Self {
        let mut width = inputs;
        let mut layer = |outputs: usize| {
            let layer = Dense::orthogonal(width, outputs, 2f64.sqrt(), init, device);
            width = outputs;
            layer
        };
        let hidden = hidden.iter().map(|&outputs| layer(outputs)).collect();
        Self { hidden, output: Dense::orthogonal(width, outputs, output_gain, init, device), activation }
    }
}

impl<B: KernelBackend> Mlp<B> {
    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let x = self.hidden.iter().fold(x, |x, layer| match self.activation {
            HiddenActivation::Tanh => layer.forward_tanh(x),
            HiddenActivation::Relu => layer.forward_relu(x),
        });
        self.output.forward(x)
    }
}
