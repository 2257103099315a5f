//! How a policy is judged.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::TargetReturn;

/// How a policy is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Optimizer steps between two evaluations while training; 0 evaluates only at the end.
    pub every: u64,
    /// Episodes for each target return.
    pub episodes: usize,
    /// Episodes for each target return in the evaluation at the end. Default (null): `episodes`.
    pub final_episodes: Option<usize>,
    /// Returns to ask the policy for; the first is the headline. Numbers are in units of reward, `"best"` is the highest return of the data,
    /// `"0.9 best"` a tenth less. Default (none): the highest. A policy whose `policy.tokens` is `"observation"` is not told a return.
    pub target_returns: Vec<TargetReturn>,
    /// Actor threads.
    pub actors: usize,
    /// Environments that each actor steps together.
    pub envs_per_actor: usize,
    /// How the policy is run over an episode.
    pub execution: Execution,
    /// Whether evaluations while training run beside it, on cores that it leaves free; results do not depend on it.
    pub beside: bool,
    /// When the training ends before its last step. Default (null): never.
    pub stop: Option<StopConfig>,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every: 0,
            episodes: 10,
            final_episodes: None,
            target_returns: Vec::new(),
            actors: 2,
            envs_per_actor: 4,
            execution: Execution::default(),
            beside: false,
            stop: None,
        }
    }
}

impl EvaluationConfig {
    /// Episodes for each target return in the evaluation at the end.
    pub(crate) fn final_episodes(&self) -> usize {
        self.final_episodes.unwrap_or(self.episodes)
    }
}

/// When a training ends before its last step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StopConfig {
    /// What has to become better.
    pub metric: StopMetric,
    /// Evaluations in a row without a better one than the best so far, after which the training ends; at least 1.
    pub patience: u64,
    /// By how much an evaluation has to be better, at least 0, in units of the metric.
    pub min_delta: f64,
}

impl Default for StopConfig {
    fn default() -> Self {
        Self { metric: StopMetric::ReturnMean, patience: 5, min_delta: 0.0 }
    }
}

impl StopConfig {
    /// By the loss on what is held out.
    pub(crate) fn of_loss() -> Self {
        Self { metric: StopMetric::ValidationLoss, ..Self::default() }
    }
}

/// What has to become better for a training to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopMetric {
    /// The mean return of the evaluation, for the first target return; larger is better.
    ReturnMean,
    /// The loss on the held-out episodes (`data.validation`), or on a task's validation split; smaller is better. The default in a job
    /// without `env`.
    ValidationLoss,
    /// The training's loss as last logged before the evaluation, of learning from trajectories; smaller is better.
    Loss,
}

/// How a policy is run over an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// One timestep at a time, the mixers' state carried along.
    #[default]
    Streaming,
    /// The last `context_length` timesteps are computed anew at every step, as published for the Decision Transformer.
    Window,
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
