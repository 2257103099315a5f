//! Features to actions: a linear map and `tanh` for continuous actions, logits for discrete ones.

use crate::{action::ActionSpec, init::Init, layers::Dense};
use aaren_kernels::KernelBackend;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use burn::tensor::backend::Backend;

/// The action head.
#[derive(Module, Debug)]
pub struct Head<B: Backend> {
    output: Dense<B>,
    is_discrete: bool,
}

impl<B: KernelBackend> Head<B> {
    /// Makes a head for an action space.
    pub fn new(width: usize, action: &ActionSpec, init: &mut Init, device: &B::Device) -> Self {
        Self { output: Dense::uniform(width, action.width(), init, device), is_discrete: action.is_discrete() }
    }

    /// `[rows, width]` to `[rows, action width]`: continuous actions in `[-1, 1]`, or logits.
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let output = self.output.forward(features);
        if self.is_discrete { output } else { output.tanh() }
    }

    /// Mean over rows of how far outputs are from encoded actions: squared error averaged over components, or cross-entropy.
    ///
    /// # Shapes
    /// - `outputs`, `actions`: `[rows, action width]`; actions in `[-1, 1]`, or one-hot
    /// - returns: `[1]`
    pub fn loss(&self, outputs: Tensor<B, 2>, actions: Tensor<B, 2>) -> Tensor<B, 1> {
        if self.is_discrete {
            let rows = outputs.dims()[0] as f64;
            (log_softmax(outputs, 1) * actions).sum() / -rows
        } else {
            let error = outputs - actions;
            (error.clone() * error).mean()
        }
    }
}
