//! The decision policy: a network over timesteps, and its description.

use crate::action::ActionBatch;
use crate::backbone::Backbone;
use crate::description::Description;
use crate::error::PolicyError;
use crate::head::Head;
use crate::init::Init;
use crate::keep::Keep;
use crate::policy_state::PolicyState;
use crate::timesteps::{TimestepTensors, Timesteps};
use crate::tokens::TokenEmbedding;
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Tokens, backbone and head: the weights.
#[derive(Module, Debug)]
pub struct DecisionNetwork<B: Backend> {
    tokens: TokenEmbedding<B>,
    backbone: Backbone<B>,
    head: Head<B>,
}

impl<B: KernelBackend> DecisionNetwork<B> {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not [`check`](Description::check) or names an unknown mixer.
    pub fn new(description: &Description, seed: u64, device: &B::Device) -> Result<Self, PolicyError> {
        description.check()?;
        let (config, action) = (&description.config, &description.action);
        let init = &mut Init::with(seed, config.init);
        Ok(Self {
            tokens: TokenEmbedding::new(config, description.normalizer.width(), action.width(), init, device),
            backbone: Backbone::new(config, init, device)?,
            head: Head::new(config.width, action, init, device),
        })
    }

    /// The backbone.
    pub fn backbone(&self) -> &Backbone<B> {
        &self.backbone
    }

    /// Runs timesteps through the network: training with whole rows, acting with one timestep a row.
    ///
    /// # Shapes
    /// - returns: `[rows, action width]`, an output for every timestep, read at its observation token; and the next state
    pub fn forward(
        &self,
        inputs: &TimestepTensors<B>,
        state: PolicyState<B>,
        dropout: Dropout,
    ) -> (Tensor<B, 2>, PolicyState<B>) {
        let tokens = self.tokens.forward(inputs);
        let per_timestep = tokens.dims()[0] / inputs.observations.dims()[0];
        let (features, state) = self.backbone.forward(tokens, &inputs.reset, state, dropout, Keep::LastOf(per_timestep));
        (self.head.forward(features), state)
    }

    /// Loss on packed rows, averaged over timesteps, and the state after them.
    ///
    /// # Shapes
    /// - `actions`: `[rows, action width]`, encoded
    /// - returns: `[1]`
    pub fn loss(
        &self,
        inputs: &TimestepTensors<B>,
        actions: Tensor<B, 2>,
        state: PolicyState<B>,
        dropout: Dropout,
    ) -> (Tensor<B, 1>, PolicyState<B>) {
        let (outputs, state) = self.forward(inputs, state, dropout);
        (self.head.loss(outputs, actions), state)
    }
}

/// Timesteps on the host, and what was done at them.
#[derive(Clone, Debug, Default)]
pub struct DecisionRows {
    /// Inputs, row by row.
    pub timesteps: Timesteps,
    /// Encoded, `[timesteps, action width]`.
    pub actions: Vec<f32>,
}

/// A network and its description: all that is needed to act.
#[derive(Clone, Debug)]
pub struct DecisionPolicy<B: Backend> {
    /// The weights.
    pub network: DecisionNetwork<B>,
    /// What they mean.
    pub description: Description,
}

impl<B: KernelBackend> DecisionPolicy<B> {
    /// The state of a batch of episodes that have not begun.
    pub fn initial_state(&self, batch: usize, device: &B::Device) -> PolicyState<B> {
        self.network.backbone().initial_state(batch, device)
    }

    /// Acts: the last timestep of every row decides. Deterministic: the mean, or the likeliest action.
    ///
    /// `timesteps` holds `batch` rows of one timestep (streaming: `state` carries the past) or of several (a window computed anew
    /// from the initial state).
    ///
    /// # Panics
    /// If the timesteps are no whole number of rows.
    pub fn act(
        &self,
        timesteps: &Timesteps,
        batch: usize,
        state: PolicyState<B>,
        device: &B::Device,
    ) -> (ActionBatch, PolicyState<B>) {
        let inputs = timesteps.to_tensors(batch, self.description.config.tokens, device);
        let (outputs, state) = self.network.forward(&inputs, state, Dropout::OFF);
        let [rows, width] = outputs.dims();
        let time = rows / batch;
        let last = match time {
            1 => outputs,
            _ => outputs.reshape([batch, time, width]).slice([0..batch, time - 1..time]).reshape([batch, width]),
        };
        let outputs = last.into_data().to_vec::<f32>().expect("policies compute in f32");
        (self.description.action.decode(&outputs), state)
    }
}
