//! The decision policy: a network over timesteps, and the description that makes its numbers mean something.

use crate::{
    backbone::{Backbone, Keep},
    config::PolicyConfig,
    distribution::likeliest,
    error::PolicyError,
    head::Head,
    init::Init,
    mixer::CachePolicy,
    normalizer::Normalizer,
    state::PolicyState,
    timesteps::{TimestepTensors, Timesteps},
    tokens::TokenEmbedding,
};
use aaren_kernels::{Dropout, KernelBackend};
use burn::{
    module::Module,
    tensor::{Tensor, TensorData, backend::Backend},
};
use serde::{Deserialize, Serialize};

/// The actions a policy can take, and how they are encoded for the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum ActionSpec {
    /// Vectors within bounds, encoded in `[-1, 1]`.
    Continuous {
        /// Lower bounds, finite.
        low: Vec<f64>,
        /// Upper bounds, finite and above the lower ones.
        high: Vec<f64>,
    },
    /// One of `start .. start + n`, encoded one-hot.
    Discrete {
        /// How many.
        n: usize,
        /// The first.
        start: i64,
    },
}

/// An action in the environment's own terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ActionValue<'a> {
    /// Within the bounds.
    Continuous(&'a [f32]),
    /// Counted from `start`.
    Discrete(i64),
}

impl ActionSpec {
    /// Numbers in an encoded action.
    pub fn width(&self) -> usize {
        match self {
            ActionSpec::Continuous { low, .. } => low.len(),
            ActionSpec::Discrete { n, .. } => *n,
        }
    }

    /// Whether actions are indices.
    pub fn is_discrete(&self) -> bool {
        matches!(self, ActionSpec::Discrete { .. })
    }

    /// # Errors
    /// [`PolicyError::ActionSpace`] if there is nothing to choose or a bound is not finite.
    pub fn check(&self) -> Result<(), PolicyError> {
        let problem = match self {
            ActionSpec::Discrete { n, .. } if *n < 2 => Some(format!("{n} discrete actions leave nothing to choose")),
            ActionSpec::Discrete { .. } => None,
            ActionSpec::Continuous { low, high } if low.is_empty() || low.len() != high.len() => {
                Some(format!("{} lower and {} upper bounds", low.len(), high.len()))
            }
            ActionSpec::Continuous { low, high } => low
                .iter()
                .zip(high)
                .position(|(low, high)| !(low.is_finite() && high.is_finite() && low < high))
                .map(|i| format!("component {i} has bounds {} .. {}; a policy needs finite ones", low[i], high[i])),
        };
        problem.map_or(Ok(()), |problem| Err(PolicyError::ActionSpace(problem)))
    }

    /// Appends the encoding of an action: `[-1, 1]` a component, or one-hot.
    ///
    /// # Panics
    /// If the action is not of this space's kind and width; datasets and environments are checked against the space before.
    pub fn encode(&self, action: ActionValue<'_>, encoded: &mut Vec<f32>) {
        match (self, action) {
            (ActionSpec::Continuous { low, high }, ActionValue::Continuous(action)) => {
                assert_eq!(action.len(), low.len(), "components of an action");
                let components = action.iter().zip(low).zip(high);
                encoded.extend(components.map(|((&a, low), high)| ((2.0 * f64::from(a) - low - high) / (high - low)) as f32));
            }
            (ActionSpec::Discrete { n, start }, ActionValue::Discrete(action)) => {
                let index = usize::try_from(action - start).ok().filter(|index| index < n);
                let index = index.unwrap_or_else(|| panic!("action {action} is none of {n} from {start}"));
                encoded.extend((0..*n).map(|i| if i == index { 1.0 } else { 0.0 }));
            }
            (spec, action) => panic!("{action:?} is no action of {spec:?}"),
        }
    }

    /// The continuous action of an output in `[-1, 1]`.
    pub fn decode_continuous(low: &[f64], high: &[f64], output: &[f32], action: &mut Vec<f32>) {
        let components = output.iter().zip(low).zip(high);
        action.extend(components.map(|((&y, low), high)| (low + (f64::from(y) + 1.0) / 2.0 * (high - low)) as f32));
    }
}

/// Everything besides weights that acting needs. Stored as `policy.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Version of this description.
    pub format: u32,
    /// Sizes and parts.
    pub config: PolicyConfig,
    /// Observation normalisation; its width is the observation's.
    pub normalizer: Normalizer,
    /// The actions.
    pub action: ActionSpec,
    /// The task it was trained for, in the words of whoever trained it.
    pub environment: serde_json::Value,
}

impl Description {
    /// The version that this crate writes and reads.
    pub const FORMAT: u32 = 1;

    /// # Errors
    /// [`PolicyError::Size`] or [`PolicyError::ActionSpace`] for sizes that no network can have.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.config.check()?;
        self.normalizer.check()?;
        self.action.check()
    }
}

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
        let init = &mut Init::new(seed);
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

    /// [`Backbone::set_cache`].
    ///
    /// # Errors
    /// As there.
    pub fn set_cache(&mut self, cache: CachePolicy) -> Result<(), PolicyError> {
        self.backbone.set_cache(cache)
    }

    /// [`Backbone::redrawn`].
    pub fn redrawn(mut self, seed: u64) -> Self {
        self.backbone = self.backbone.redrawn(seed);
        self
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

/// A network and its description: all that is needed to act.
#[derive(Clone, Debug)]
pub struct DecisionPolicy<B: Backend> {
    /// The weights.
    pub network: DecisionNetwork<B>,
    /// What they mean.
    pub description: Description,
}

/// Actions of a batch, in the environment's own terms.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionBatch {
    /// `[batch, components]`, row-major.
    Continuous(Vec<f32>),
    /// `[batch]`, counted from `start`.
    Discrete(Vec<i64>),
}

impl ActionBatch {
    /// The action of one row.
    pub fn row(&self, row: usize, width: usize) -> ActionValue<'_> {
        match self {
            ActionBatch::Continuous(actions) => ActionValue::Continuous(&actions[row * width..(row + 1) * width]),
            ActionBatch::Discrete(actions) => ActionValue::Discrete(actions[row]),
        }
    }
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
        (self.decode(last.into_data()), state)
    }

    fn decode(&self, outputs: TensorData) -> ActionBatch {
        let outputs = outputs.to_vec::<f32>().expect("policies compute in f32");
        match &self.description.action {
            ActionSpec::Continuous { low, high } => {
                let mut actions = Vec::with_capacity(outputs.len());
                outputs.chunks_exact(low.len()).for_each(|row| ActionSpec::decode_continuous(low, high, row, &mut actions));
                ActionBatch::Continuous(actions)
            }
            ActionSpec::Discrete { n, start } => {
                ActionBatch::Discrete(outputs.chunks_exact(*n).map(|row| start + likeliest(row) as i64).collect())
            }
        }
    }
}
