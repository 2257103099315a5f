//! The actor-critic policy: a distribution over actions and the value of the observation, for policy gradients.
//!
//! Either two separate MLPs, or one recurrent backbone of any registered mixer under both heads. One `forward` serves acting (one
//! timestep) and training (whole rollouts with their resets), as with every policy here.

use crate::action::ActionSpec;
use crate::backbone::Backbone;
use crate::config::{MOST_SIZE, PolicyConfig};
use crate::distribution::{ActionDistributions, ActionTensors};
use crate::error::PolicyError;
use crate::init::{Init, Initialization};
use crate::inputs::{Inputs, PreviousStep};
use crate::keep::Keep;
use crate::layers::Dense;
use crate::mixer::CachePolicy;
use crate::mlp::{HiddenActivation, Mlp};
use crate::normalizer::Normalizer;
use crate::policy_state::PolicyState;
use crate::reset::Reset;
use crate::state::StateRecord;
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Gain of the weights that a policy's outputs begin with: near zero, so that the first actions hardly depend on the observation.
const ACTOR_GAIN: f64 = 0.01;

/// What an actor-critic is built from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[allow(clippy::large_enum_variant, reason = "there are never many of them")]
pub enum ActorCriticConfig {
    /// An MLP for the actor and another for the critic.
    Mlp {
        /// Widths of the hidden layers.
        hidden: Vec<usize>,
        /// What follows each of them.
        activation: HiddenActivation,
    },
    /// A backbone under both heads. Its tokens are embedded inputs; of the config, only what a backbone reads matters.
    Recurrent(PolicyConfig),
}

impl ActorCriticConfig {
    /// The mixer's name, or `mlp`.
    pub fn name(&self) -> String {
        match self {
            ActorCriticConfig::Mlp { .. } => "mlp".into(),
            ActorCriticConfig::Recurrent(config) => config.mixer_name(),
        }
    }
}

/// Everything besides weights that acting needs. Stored as `policy.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorCriticDescription {
    /// Version of this description.
    pub format: u32,
    /// Sizes and parts.
    pub network: ActorCriticConfig,
    /// Observation normalization; its width is the observation's.
    pub normalizer: Normalizer,
    /// Normalized observations are clipped to between minus and plus this.
    pub observation_clip: f64,
    /// What it is shown at a timestep; older policies are shown observations alone.
    #[serde(default, skip_serializing_if = "is_observation_alone")]
    pub inputs: Inputs,
    /// The actions.
    pub action: ActionSpec,
    /// The task it was trained for, in the words of whoever trained it.
    pub environment: serde_json::Value,
}

fn is_observation_alone(inputs: &Inputs) -> bool {
    !inputs.have_previous()
}

impl ActorCriticDescription {
    /// The version that this crate writes and reads.
    pub const FORMAT: u32 = 1;

    /// # Errors
    /// [`PolicyError::Size`] or [`PolicyError::ActionSpace`] for sizes that no network can have.
    pub fn check(&self) -> Result<(), PolicyError> {
        let wrong = |key, problem: String| Err(PolicyError::Size { key, problem });
        match &self.network {
            ActorCriticConfig::Mlp { hidden, .. } if hidden.contains(&0) => {
                return wrong("hidden", format!("{hidden:?}, expected widths of at least 1"));
            }
            ActorCriticConfig::Mlp { hidden, .. } if hidden.iter().any(|&width| width > MOST_SIZE) => {
                return wrong("hidden", format!("{hidden:?}, expected widths of at most {MOST_SIZE}"));
            }
            ActorCriticConfig::Mlp { .. } if self.inputs.have_previous() => {
                let found = serde_json::json!(self.inputs);
                return wrong("inputs", format!("{found}, but an MLP is shown \"observation\" alone"));
            }
            ActorCriticConfig::Mlp { .. } => {}
            ActorCriticConfig::Recurrent(config) => {
                config.check()?;
                if config.dropout != 0.0 {
                    return wrong("dropout", format!("{}, but the policy that acts has none", config.dropout));
                }
            }
        }
        if self.observation_clip.is_nan() || self.observation_clip <= 0.0 {
            return wrong("observation_clip", format!("{}, expected a positive number", self.observation_clip));
        }
        self.normalizer.check()?;
        self.action.check()
    }

    /// At least so many numbers are in a network of this description, which checks.
    pub(crate) fn least_numbers(&self) -> u128 {
        let (inputs, outputs) = (self.input_width() as u128, self.action.width() as u128);
        match &self.network {
            ActorCriticConfig::Mlp { hidden, .. } => {
                let pair = |hidden: u128, (sum, inputs): (u128, u128)| (sum.saturating_add(2 * inputs * hidden), hidden);
                let (sum, last) = hidden.iter().fold((0, inputs), |before, &hidden| pair(hidden as u128, before));
                sum.saturating_add(last.saturating_mul(outputs))
            }
            ActorCriticConfig::Recurrent(config) => {
                let blocks = config.least_numbers_of_blocks().unwrap_or(0);
                blocks.saturating_add((inputs + outputs) * config.width as u128)
            }
        }
    }

    /// Numbers that the network is shown at a timestep.
    pub fn input_width(&self) -> usize {
        self.normalizer.width() + self.inputs.previous_width(&self.action)
    }

    /// Appends what the network is shown at a timestep: the observation, normalized, and what its inputs name of the timestep before.
    pub fn push_input(&self, observation: &[f64], previous: &PreviousStep, input: &mut Vec<f32>) {
        let start = input.len();
        self.normalizer.push(observation, input);
        let clip = self.observation_clip as f32;
        input[start..].iter_mut().for_each(|x| *x = x.clamp(-clip, clip));
        self.inputs.push(&self.action, previous, input);
    }
}

/// The layers that turn inputs into action outputs and values.
#[allow(clippy::large_enum_variant, reason = "there are never many of them")]
#[derive(Module, Debug)]
pub enum ActorCriticBody<B: Backend> {
    /// Two networks that share nothing.
    Mlp(MlpPair<B>),
    /// One backbone, two heads.
    Recurrent(RecurrentPair<B>),
}

/// The two MLPs.
#[derive(Module, Debug)]
pub struct MlpPair<B: Backend> {
    actor: Mlp<B>,
    critic: Mlp<B>,
}

/// Embedding, backbone and the two heads.
#[derive(Module, Debug)]
pub struct RecurrentPair<B: Backend> {
    embedding: Dense<B>,
    backbone: Backbone<B>,
    actor: Dense<B>,
    critic: Dense<B>,
}

/// The weights of an actor-critic.
#[derive(Module, Debug)]
pub struct ActorCriticNetwork<B: Backend> {
    body: ActorCriticBody<B>,
    /// Logarithms of the Gaussian's standard deviations, `[action width]`; absent for discrete actions.
    log_std: Option<Param<Tensor<B, 1>>>,
}

impl<B: KernelBackend> ActorCriticNetwork<B> {
    /// Draws initial weights; `log_std` is where the logarithms of the Gaussian's standard deviations begin.
    ///
    /// # Errors
    /// If the description does not [`check`](ActorCriticDescription::check) or names an unknown mixer.
    pub fn new(description: &ActorCriticDescription, log_std: f64, seed: u64, device: &B::Device) -> Result<Self, PolicyError> {
        description.check()?;
        let (inputs, outputs) = (description.input_width(), description.action.width());
        let initialization = match &description.network {
            ActorCriticConfig::Mlp { .. } => Initialization::default(),
            ActorCriticConfig::Recurrent(config) => config.init,
        };
        let init = &mut Init::with(seed, initialization);
        let body = match &description.network {
            ActorCriticConfig::Mlp { hidden, activation } => ActorCriticBody::Mlp(MlpPair {
                actor: Mlp::new([inputs, outputs], hidden, *activation, ACTOR_GAIN, init, device),
                critic: Mlp::new([inputs, 1], hidden, *activation, 1.0, init, device),
            }),
            ActorCriticConfig::Recurrent(config) => ActorCriticBody::Recurrent(RecurrentPair {
                embedding: Dense::uniform(inputs, config.width, init, device),
                backbone: Backbone::new(config, init, device)?,
                actor: Dense::orthogonal(config.width, outputs, ACTOR_GAIN, init, device),
                critic: Dense::orthogonal(config.width, 1, 1.0, init, device),
            }),
        };
        let log_std = (!description.action.is_discrete()).then(|| init.constant([outputs], log_std as f32, device));
        Ok(Self { body, log_std })
    }

    /// The state of a batch of episodes that have not begun. MLPs have none.
    pub fn initial_state(&self, batch: usize, device: &B::Device) -> PolicyState<B> {
        match &self.body {
            ActorCriticBody::Mlp(_) => PolicyState { blocks: Vec::new() },
            ActorCriticBody::Recurrent(pair) => pair.backbone.initial_state(batch, device),
        }
    }

    /// [`Backbone::bounded_state`].
    ///
    /// # Errors
    /// As there; MLPs have no caches.
    pub fn bounded_state(&self, cache: CachePolicy, batch: usize, device: &B::Device) -> Result<PolicyState<B>, PolicyError> {
        match &self.body {
            ActorCriticBody::Mlp(_) if cache == CachePolicy::Full => Ok(PolicyState { blocks: Vec::new() }),
            ActorCriticBody::Mlp(_) => {
                let problem = "the policy is an MLP, which has no KV cache to bound".into();
                Err(PolicyError::Cache { text: cache.to_string(), problem })
            }
            ActorCriticBody::Recurrent(pair) => pair.backbone.bounded_state(cache, batch, device),
        }
    }

    /// A state that was stored with [`PolicyState::to_records`].
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is not one of this network's.
    pub fn restore_state(&self, records: Vec<StateRecord>, device: &B::Device) -> Result<PolicyState<B>, PolicyError> {
        match &self.body {
            ActorCriticBody::Mlp(_) if records.is_empty() => Ok(PolicyState { blocks: Vec::new() }),
            ActorCriticBody::Mlp(_) => Err(PolicyError::State(format!("{} blocks, an MLP has none", records.len()))),
            ActorCriticBody::Recurrent(pair) => pair.backbone.restore_state(records, device),
        }
    }

    /// With another backbone of the same shape under both heads; None of an MLP, which has none.
    ///
    /// # Errors
    /// What `map` returned.
    pub fn map_backbone<T, E>(
        self,
        map: impl FnOnce(Backbone<B>) -> Result<(Backbone<B>, T), E>,
    ) -> Result<Option<(Self, T)>, E> {
        let Self { body, log_std } = self;
        let ActorCriticBody::Recurrent(pair) = body else { return Ok(None) };
        let (backbone, result) = map(pair.backbone)?;
        Ok(Some((Self { body: ActorCriticBody::Recurrent(RecurrentPair { backbone, ..pair }), log_std }, result)))
    }

    /// [`Backbone::restore_state_of`].
    ///
    /// # Errors
    /// As there; MLPs have no states.
    pub fn restore_state_of(
        &self,
        records: Vec<StateRecord>,
        rows: usize,
        device: &B::Device,
    ) -> Result<PolicyState<B>, PolicyError> {
        match &self.body {
            ActorCriticBody::Mlp(_) => self.restore_state(records, device),
            ActorCriticBody::Recurrent(pair) => pair.backbone.restore_state_of(records, rows, device),
        }
    }

    /// Whether what came before matters: then time must be replayed in order.
    pub fn is_recurrent(&self) -> bool {
        matches!(self.body, ActorCriticBody::Recurrent(_))
    }

    /// Distributions of the actions and values, and the next state.
    ///
    /// # Shapes
    /// - `inputs`: `[batch * time, input width]`, as [`ActorCriticDescription::push_input`] made them, batch-major
    /// - `reset`: `[batch, time]`
    /// - returns: distributions of `[batch * time]` rows; values `[batch * time]`
    pub fn forward(
        &self,
        inputs: Tensor<B, 2>,
        reset: &Reset<B>,
        state: PolicyState<B>,
    ) -> (ActionTensors<B>, Tensor<B, 1>, PolicyState<B>) {
        match &self.body {
            ActorCriticBody::Mlp(pair) => {
                let outputs = pair.actor.forward(inputs.clone());
                (self.distributions(outputs), pair.critic.forward(inputs).squeeze_dim(1), state)
            }
            ActorCriticBody::Recurrent(pair) => {
                let (features, state) = pair.features(inputs, reset, state);
                let values = pair.critic.forward(features.clone()).squeeze_dim(1);
                (self.distributions(pair.actor.forward(features)), values, state)
            }
        }
    }

    /// The actor's half of [`ActorCriticNetwork::forward`]: all that acting needs.
    pub fn forward_actor(&self, inputs: Tensor<B, 2>, reset: &Reset<B>, state: PolicyState<B>) -> (Tensor<B, 2>, PolicyState<B>) {
        match &self.body {
            ActorCriticBody::Mlp(pair) => (pair.actor.forward(inputs), state),
            ActorCriticBody::Recurrent(pair) => {
                let (features, state) = pair.features(inputs, reset, state);
                (pair.actor.forward(features), state)
            }
        }
    }

    /// The critic's half of [`ActorCriticNetwork::forward`].
    pub fn forward_critic(&self, inputs: Tensor<B, 2>, reset: &Reset<B>, state: PolicyState<B>) -> Tensor<B, 1> {
        let values = match &self.body {
            ActorCriticBody::Mlp(pair) => pair.critic.forward(inputs),
            ActorCriticBody::Recurrent(pair) => pair.critic.forward(pair.features(inputs, reset, state).0),
        };
        values.squeeze_dim(1)
    }

    fn distributions(&self, outputs: Tensor<B, 2>) -> ActionTensors<B> {
        match &self.log_std {
            Some(log_std) => ActionTensors::Gaussian { mean: outputs, log_std: log_std.val() },
            None => ActionTensors::Categorical { logits: outputs },
        }
    }

    /// `[action width]`; empty for discrete actions.
    pub fn log_std(&self) -> Vec<f32> {
        self.log_std.as_ref().map_or_else(Vec::new, |log_std| host(log_std.val()))
    }
}

impl<B: KernelBackend> RecurrentPair<B> {
    fn features(&self, inputs: Tensor<B, 2>, reset: &Reset<B>, state: PolicyState<B>) -> (Tensor<B, 2>, PolicyState<B>) {
        self.backbone.forward(self.embedding.forward(inputs), reset, state, Dropout::OFF, Keep::All)
    }
}

fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().to_vec().expect("policies compute in f32")
}

/// A network and its description: all that is needed to act.
#[derive(Clone, Debug)]
pub struct ActorCriticPolicy<B: Backend> {
    /// The weights.
    pub network: ActorCriticNetwork<B>,
    /// What they mean.
    pub description: ActorCriticDescription,
}

impl<B: KernelBackend> ActorCriticPolicy<B> {
    /// The state of a batch of episodes that have not begun.
    pub fn initial_state(&self, batch: usize, device: &B::Device) -> PolicyState<B> {
        self.network.initial_state(batch, device)
    }

    /// The distributions of the next actions of a batch, and the next state.
    ///
    /// # Shapes
    /// - `inputs`: `[batch, input width]`, as [`ActorCriticDescription::push_input`] made them
    /// - `resets`: `[batch]`, true at an episode's first timestep
    pub fn act(
        &self,
        inputs: &[f32],
        resets: &[bool],
        state: PolicyState<B>,
        device: &B::Device,
    ) -> (ActionDistributions<'_>, PolicyState<B>) {
        let batch = resets.len();
        let width = self.description.input_width();
        let inputs = Tensor::from_data(TensorData::new(inputs.to_vec(), [batch, width]), device);
        let reset = Reset::new(resets.to_vec(), batch, device);
        let (outputs, state) = self.network.forward_actor(inputs, &reset, state);
        let action = &self.description.action;
        (ActionDistributions { action, outputs: host(outputs), log_std: self.network.log_std() }, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(network: ActorCriticConfig, inputs: Inputs) -> ActorCriticDescription {
        ActorCriticDescription {
            format: ActorCriticDescription::FORMAT,
            network,
            normalizer: Normalizer::identity(3),
            observation_clip: 10.0,
            inputs,
            action: ActionSpec::Discrete { n: 2, start: 0 },
            environment: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_policy_that_does_not_say_its_inputs_is_shown_observations() {
        let recurrent = || ActorCriticConfig::Recurrent(PolicyConfig { dropout: 0.0, ..PolicyConfig::default() });
        let older = description(recurrent(), Inputs::default());
        let text = serde_json::to_string(&older).unwrap();
        assert!(!text.contains("inputs"), "{text}");
        assert_eq!((serde_json::from_str::<ActorCriticDescription>(&text).unwrap(), older.input_width()), (older, 3));
        let newer = description(recurrent(), Inputs { action: true, reward: true });
        let text = serde_json::to_string(&newer).unwrap();
        assert_eq!((serde_json::from_str::<ActorCriticDescription>(&text).unwrap(), newer.input_width()), (newer, 6));
    }

    #[test]
    fn an_mlp_is_shown_observations_alone() {
        let mlp = |inputs| description(ActorCriticConfig::Mlp { hidden: vec![4], activation: HiddenActivation::Tanh }, inputs);
        mlp(Inputs::default()).check().unwrap();
        let message = mlp(Inputs { action: false, reward: true }).check().unwrap_err().to_string();
        assert!(message.contains("inputs") && message.contains(r#"["observation","reward"]"#), "{message}");
    }
}
