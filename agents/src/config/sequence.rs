//! A job that learns a task on sequences.

use aaren_policy::PolicyConfig;
use serde::{Deserialize, Serialize};

use super::{Device, LogConfig, StopConfig, TrainConfig, default_seed};

/// A job that learns a task on sequences, as written in a config file and, complete, in a run folder's `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SequenceJob {
    /// Root of every random number of the job.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Whether what looks wrong with the job or its data is an error; else it is a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Where tensors live.
    #[serde(default)]
    pub device: Device,
    /// What is learnt, in place of `env` and `data`.
    pub task: TaskConfig,
    /// What the model is built from.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// The optimization.
    #[serde(default)]
    pub train: TrainConfig,
    /// How the model is judged while it trains.
    #[serde(default)]
    pub evaluation: JudgeConfig,
    /// What is logged beside the lines that every run has.
    #[serde(default, skip_serializing_if = "LogConfig::is_default")]
    pub log: LogConfig,
}

/// When a model of sequences is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeConfig {
    /// Optimizer steps between two evaluations while training; 0 evaluates only at the end.
    pub every: u64,
    /// Whether evaluations while training run beside it, on cores that it leaves free; results do not depend on it.
    pub beside: bool,
    /// When the training ends before its last step. Default (null): never.
    pub stop: Option<StopConfig>,
}

/// A task on sequences, by its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum TaskConfig {
    /// Multi-query associative recall, made as it is learnt.
    Mqar(Mqar),
}

impl TaskConfig {
    /// The kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            TaskConfig::Mqar(_) => "mqar",
        }
    }

    /// One line that names the task in tables and reports.
    pub(crate) fn describe(&self) -> String {
        match self {
            TaskConfig::Mqar(Mqar { vocabulary, length, pairs, noise, .. }) => {
                let rest = if *noise { ", noise between" } else { "" };
                format!("mqar, {pairs} pairs in {length} tokens of {vocabulary}{rest}")
            }
        }
    }
}

/// Multi-query associative recall: sizes of its examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mqar {
    /// Tokens there are, more than an example has: 0 is the blank, keys are below half of them, values from there on.
    pub vocabulary: usize,
    /// Tokens of an example, even.
    pub length: usize,
    /// Pairs of an example, at most a quarter of `length`.
    pub pairs: usize,
    /// Whether the rest of an example is uniform over the whole vocabulary, or blank.
    pub noise: bool,
    /// Examples of the validation split, which chooses a checkpoint.
    pub validation_examples: usize,
    /// Examples of the test split.
    pub test_examples: usize,
}

impl Default for Mqar {
    fn default() -> Self {
        Self { vocabulary: 128, length: 32, pairs: 4, noise: false, validation_examples: 500, test_examples: 1000 }
    }
}
