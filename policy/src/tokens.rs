//! Timesteps to tokens: previous action, return-to-go and observation, in that order.
//!
//! The published order of the Decision Transformer is return-to-go, observation, action; before every observation token both have
//! the same past (the start token aside), and with ours acting feeds whole timesteps. The embedding of the timestep is added to
//! all tokens of a timestep, and a norm follows, as published. With [`Tokens::Observation`] the observation is all there is.

use crate::config::{PolicyConfig, Tokens};
use crate::init::Init;
use crate::layers::{Dense, Norm};
use crate::timesteps::TimestepTensors;
use aaren_kernels::KernelBackend;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// The embeddings of the parts of a timestep; only those that the tokens are made of are there.
#[derive(Module, Debug)]
pub struct TokenEmbedding<B: Backend> {
    action: Option<Dense<B>>,
    return_to_go: Option<Dense<B>>,
    observation: Dense<B>,
    /// Stands for the action before an episode's first timestep.
    start: Option<Param<Tensor<B, 1>>>,
    /// `[max_timesteps, width]`
    timestep: Option<Param<Tensor<B, 2>>>,
    norm: Norm<B>,
    #[module(skip)]
    tokens: Tokens,
}

impl<B: KernelBackend> TokenEmbedding<B> {
    /// Makes the embeddings.
    pub fn new(
        config: &PolicyConfig,
        observation_width: usize,
        action_width: usize,
        init: &mut Init,
        device: &B::Device,
    ) -> Self {
        let width = config.width;
        let is_whole = config.tokens != Tokens::Observation;
        Self {
            action: is_whole.then(|| Dense::uniform(action_width, width, init, device)),
            return_to_go: is_whole.then(|| Dense::uniform(1, width, init, device)),
            observation: Dense::uniform(observation_width, width, init, device),
            start: is_whole.then(|| init.normal([width], 0.02, device)),
            timestep: (is_whole && config.max_timesteps > 0).then(|| init.normal([config.max_timesteps, width], 0.02, device)),
            norm: Norm::new(width, init, device),
            tokens: config.tokens,
        }
    }

    /// `[rows]` timesteps to `[rows * tokens per timestep, width]`.
    pub fn forward(&self, inputs: &TimestepTensors<B>) -> Tensor<B, 2> {
        let observation = self.observation.forward(inputs.observations.clone()); // [rows, width]
        let (Some(action), Some(return_to_go), Some(start)) = (&self.action, &self.return_to_go, &self.start) else {
            return self.norm.forward(observation);
        };
        let [rows, width] = observation.dims();
        let action = action.forward(inputs.previous_actions.clone());
        // On first timesteps the embedding of "no action" becomes the start token, whatever its bias has learnt.
        let action = action.clone() + (start.val().unsqueeze::<2>() - action) * inputs.is_first.clone();
        let return_to_go = return_to_go.forward(inputs.returns_to_go.clone());
        let timestep = self.timestep.as_ref().map(|table| table.val().select(0, inputs.timesteps.clone())); // [rows, width]
        let with_timestep = |part: Tensor<B, 2>| match &timestep {
            Some(timestep) => part + timestep.clone(),
            None => part,
        };
        let tokens = match self.tokens {
            Tokens::Separate => {
                let parts = [action, return_to_go, observation].map(with_timestep);
                Tensor::cat(parts.into(), 1).reshape([3 * rows, width])
            }
            Tokens::Merged => with_timestep(action + return_to_go + observation),
            Tokens::Observation => observation,
        };
        self.norm.forward(tokens)
    }
}
