//! A policy of any kind, as a checkpoint holds it and as actors run it.

use crate::action::ActionSpec;
use crate::actor_critic::{ActorCriticDescription, ActorCriticPolicy};
use crate::decision::DecisionPolicy;
use crate::description::Description;
use crate::error::PolicyError;
use crate::mixer::CachePolicy;
use crate::policy_state::PolicyState;
use crate::sequence::SequenceDescription;
use aaren_kernels::KernelBackend;
use burn::{module::Module, tensor::backend::Backend};
use burn_store::{ModuleSnapshot, TensorSnapshot};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a description or a policy of either kind has.
macro_rules! of_either {
    ($any:expr, $one:ident => $of:expr) => {
        match $any {
            Self::Decision($one) => $of,
            Self::ActorCritic($one) => $of,
        }
    };
}

/// The description of a policy of any kind: what `policy.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum AnyDescription {
    /// Of a decision policy.
    #[serde(rename = "decision")]
    Decision(Description),
    /// Of an actor-critic.
    #[serde(rename = "actor-critic")]
    ActorCritic(ActorCriticDescription),
    /// Of a model of sequences.
    #[serde(rename = "sequence")]
    Sequence(SequenceDescription),
}

/// A policy of any kind.
#[allow(clippy::large_enum_variant, reason = "there are never many of them")]
#[derive(Clone, Debug)]
pub enum AnyPolicy<B: Backend> {
    /// Trained on trajectories, acts on a return to go.
    Decision(DecisionPolicy<B>),
    /// Trained by policy gradients, acts on what it sees.
    ActorCritic(ActorCriticPolicy<B>),
}

impl<B: Backend> From<DecisionPolicy<B>> for AnyPolicy<B> {
    fn from(policy: DecisionPolicy<B>) -> Self {
        AnyPolicy::Decision(policy)
    }
}

impl<B: Backend> From<ActorCriticPolicy<B>> for AnyPolicy<B> {
    fn from(policy: ActorCriticPolicy<B>) -> Self {
        AnyPolicy::ActorCritic(policy)
    }
}

impl<B: KernelBackend> AnyPolicy<B> {
    /// The actions.
    pub fn action(&self) -> &ActionSpec {
        of_either!(self, policy => &policy.description.action)
    }

    /// Numbers in an observation.
    pub fn observation_width(&self) -> usize {
        of_either!(self, policy => policy.description.normalizer.width())
    }

    /// The task that it was trained in, as its job says: `id` and `options`.
    pub fn environment(&self) -> &Value {
        of_either!(self, policy => &policy.description.environment)
    }

    /// Name of the mixer, or `mlp`.
    pub fn mixer(&self) -> String {
        match self {
            AnyPolicy::Decision(policy) => policy.description.config.mixer_name(),
            AnyPolicy::ActorCritic(policy) => policy.description.network.name(),
        }
    }

    /// Trained numbers.
    pub fn parameters(&self) -> usize {
        of_either!(self, policy => policy.network.num_params())
    }

    /// All weights on the host: by name, each with its shape. Names are those of the file of weights, without the kinds of mixers.
    pub fn weights(&self) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let snapshots = of_either!(self, policy => policy.network.collect(None, None, true));
        let numbers = |one: &TensorSnapshot| {
            let data = one.to_data().expect("weights that are in memory");
            (one.full_path(), (one.shape.to_vec(), data.to_vec().expect("policies compute in f32")))
        };
        snapshots.iter().map(numbers).collect()
    }

    /// The state of a batch of episodes that have not begun.
    pub fn initial_state(&self, batch: usize, device: &B::Device) -> PolicyState<B> {
        of_either!(self, policy => policy.initial_state(batch, device))
    }

    /// The state of a batch of episodes that have not begun, where Transformers among the mixers keep KV caches of bounded size.
    ///
    /// # Errors
    /// [`PolicyError::Cache`] if the cache is bounded and there is no Transformer among the mixers.
    pub fn bounded_state(&self, cache: CachePolicy, batch: usize, device: &B::Device) -> Result<PolicyState<B>, PolicyError> {
        match self {
            AnyPolicy::Decision(policy) => policy.network.backbone().bounded_state(cache, batch, device),
            AnyPolicy::ActorCritic(policy) => policy.network.bounded_state(cache, batch, device),
        }
    }
}
