//! Timesteps to tokens: previous action, return-to-go and observation, in that order.
//!
//! The published order of the Decision Transformer is return-to-go, observation, action; before every observation token both have
//! the same past (the start token aside), and with ours acting feeds whole timesteps. The embedding of the timestep is added to
//! all tokens of a timestep, and a norm follows, as published. With [`Tokens::Observation`] the observation is all there is.
//!
//! [`Tokens::Published`] is the published sequence to the token: the previous action has the embedding of its own timestep, and no start
//! token stands before the first return-to-go. What is in the place of an action there is forgotten at once: the flag that begins a
//! sequence is on the return-to-go.

use crate::config::{PolicyConfig, Tokens};
use crate::init::Init;
use crate::layers::{Dense, Norm};
use crate::timesteps::TimestepTensors;
use aaren_kernels::KernelBackend;
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

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
    /// Of the action, the return-to-go and the observation, where each is normed before they are added.
    parts: Option<[Norm<B>; 3]>,
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
        let has_start = is_whole && config.tokens != Tokens::Published;
        Self {
            action: is_whole.then(|| Dense::uniform(action_width, width, init, device)),
            return_to_go: is_whole.then(|| Dense::uniform(1, width, init, device)),
            observation: Dense::uniform(observation_width, width, init, device),
            start: has_start.then(|| init.normal([width], 0.02, device)),
            timestep: (is_whole && config.max_timesteps > 0).then(|| init.normal([config.max_timesteps, width], 0.02, device)),
            parts: (config.tokens == Tokens::Normed).then(|| std::array::from_fn(|_| Norm::new(width, init, device))),
            norm: Norm::new(width, init, device),
            tokens: config.tokens,
        }
    }

    /// `[rows]` timesteps to `[rows * tokens per timestep, width]`.
    pub fn forward(&self, inputs: &TimestepTensors<B>) -> Tensor<B, 2> {
        let observation = self.observation.forward(inputs.observations.clone()); // [rows, width]
        let (Some(action), Some(return_to_go)) = (&self.action, &self.return_to_go) else {
            return self.norm.forward(observation);
        };
        let [rows, width] = observation.dims();
        let mut action = action.forward(inputs.previous_actions.clone());
        if let Some(start) = &self.start {
            // On first timesteps the embedding of "no action" becomes the start token, whatever its bias has learnt.
            action = action.clone() + (start.val().unsqueeze::<2>() - action) * inputs.is_first.clone();
        }
        let return_to_go = return_to_go.forward(inputs.returns_to_go.clone());
        let embedded =
            |positions: &Tensor<B, 1, Int>| self.timestep.as_ref().map(|table| table.val().select(0, positions.clone()));
        let timestep = embedded(&inputs.timesteps); // [rows, width]
        let plus = |part: Tensor<B, 2>, timestep: &Option<Tensor<B, 2>>| match timestep {
            Some(timestep) => part + timestep.clone(),
            None => part,
        };
        let with_timestep = |part| plus(part, &timestep);
        let joined = |parts: [Tensor<B, 2>; 3]| Tensor::cat(parts.into(), 1).reshape([3 * rows, width]);
        let tokens = match self.tokens {
            Tokens::Separate => joined([action, return_to_go, observation].map(with_timestep)),
            Tokens::Published => {
                let taken_at = inputs.action_timesteps.as_ref().expect("timesteps that were made for published tokens");
                let action = plus(action, &embedded(taken_at));
                joined([action, with_timestep(return_to_go), with_timestep(observation)])
            }
            Tokens::Merged => with_timestep(action + return_to_go + observation),
            Tokens::Normed => {
                let [of_action, of_return, of_observation] = self.parts.as_ref().expect("normed parts have their norms");
                let sum = of_action.forward(action) + of_return.forward(return_to_go);
                with_timestep(sum + of_observation.forward(observation))
            }
            Tokens::Observation => observation,
        };
        self.norm.forward(tokens)
    }
}
