//! A job that learns from trajectories: its data and the optimization.

use std::borrow::Cow;
use std::fmt;

use aaren_policy::PolicyConfig;
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Device, EnvConfig, EvaluationConfig, LearningRateSchedule, LogConfig, Precision, default_seed};

/// A job that learns from trajectories, as written in a config file and, complete, in a run folder's `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfflineJob {
    /// Root of every random number of the job.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Whether what looks wrong with the job or its data is an error; else it is a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Where tensors live.
    #[serde(default)]
    pub device: Device,
    /// The task to evaluate in, and for scripted data to collect in. Default (null), with `data.source`: none. Spaces and limits are then
    /// those of the data, and the policy is judged by its loss on held-out episodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<EnvConfig>,
    /// The trajectories to train on.
    pub data: DataConfig,
    /// What the policy is built from.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// The optimization.
    #[serde(default)]
    pub train: TrainConfig,
    /// How the policy is judged while it trains and at the end.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// What is logged beside the lines that every run has.
    #[serde(default, skip_serializing_if = "LogConfig::is_default")]
    pub log: LogConfig,
}

impl OfflineJob {
    /// The task.
    ///
    /// # Errors
    /// If the job has none, with what to do.
    pub fn task(&self) -> Result<&EnvConfig> {
        self.env.as_ref().context("the job learns from data without an environment (env); name the task to play with --env")
    }

    /// Share of the episodes that is held out.
    pub(crate) fn validation(&self) -> f64 {
        self.data.validation.unwrap_or(if self.env.is_some() { 0.0 } else { DataConfig::HELD_OUT })
    }

    /// What the policy is asked for in evaluations, as far as it is known without the data. `None` alone for a policy that is not told a
    /// return, which then plays its episodes once, whatever `evaluation.target_returns` says. What is there twice, as `"best"` and as
    /// a number, is asked for once.
    pub(crate) fn target_returns(&self) -> Vec<Option<f64>> {
        match self.policy.tokens.has_return_to_go() {
            true => each_once(self.evaluation.target_returns.iter().filter_map(|target| target.known())),
            false => vec![None],
        }
    }
}

/// Returns to ask for, each once.
pub(crate) fn each_once(targets: impl IntoIterator<Item = f64>) -> Vec<Option<f64>> {
    let mut once = Vec::new();
    for target in targets.into_iter().map(Some) {
        if !once.contains(&target) {
            once.push(target);
        }
    }
    once
}

/// The trajectories to train on: exactly one of `source` and `scripted` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Datasets on disk, joined in this order.
    pub source: Option<Sources>,
    /// Episodes of a scripted collector, made when the job starts and the same for the same seed.
    pub scripted: Option<ScriptedConfig>,
    /// Share of the episodes that is trained on, those with the highest returns; in `(0, 1]`.
    pub top_fraction: f64,
    /// Share of the episodes, of those that `top_fraction` leaves, that is held out of the training; in `[0, 1)`. The policy's loss on them
    /// is logged with every evaluation. Drawn by episode from the seed. Default (null): 0, and 0.1 in a job without `env`.
    pub validation: Option<f64>,
    /// What becomes of episodes of a Minari dataset that are not there whole.
    pub incomplete: Incomplete,
    /// Steps after which every episode of the datasets is cut, at least 1, and their time limit. Default (null): as they say.
    pub max_episode_steps: Option<usize>,
    /// What becomes of the datasets' actions where their bounds are not the task's. Default (null): they are taken as they are, with
    /// a warning.
    pub actions: Option<ActionUnits>,
}

/// What becomes of episodes that are not there whole: with arrays that are missing or end early, or without the observation after the last
/// action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Incomplete {
    /// They are an error.
    #[default]
    Refuse,
    /// They are left out, with a warning that counts them.
    Skip,
}

impl From<Incomplete> for aaren_data::Incomplete {
    fn from(incomplete: Incomplete) -> Self {
        match incomplete {
            Incomplete::Refuse => Self::Refuse,
            Incomplete::Skip => Self::Skip,
        }
    }
}

/// What becomes of actions whose bounds are not the task's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActionUnits {
    /// They are in the task's units already and stay as they are.
    Keep,
    /// They are mapped linearly from the dataset's bounds to the task's.
    Rescale,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            source: None,
            scripted: None,
            top_fraction: 1.0,
            validation: None,
            incomplete: Incomplete::default(),
            max_episode_steps: None,
            actions: None,
        }
    }
}

impl DataConfig {
    /// The share that is held out where there is no environment to evaluate in.
    pub(crate) const HELD_OUT: f64 = 0.1;

    /// One line that names the data in tables and reports.
    pub(crate) fn describe(&self) -> String {
        let all = match (&self.source, &self.scripted) {
            (Some(sources), _) => sources.to_string(),
            (None, Some(scripted)) => scripted.describe(),
            (None, None) => "none".into(),
        };
        match self.top_fraction {
            1.0 => all,
            fraction => format!("{all}, the best {} % of the episodes", fraction * 100.0),
        }
    }
}

/// Datasets on disk, each a path (a Minari folder, a D4RL or Minari HDF5 file) or the id of a local Minari dataset. In JSON one
/// string, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub Vec<String>);

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" + "))
    }
}

impl schemars::JsonSchema for Sources {
    fn schema_name() -> Cow<'static, str> {
        "Sources".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

impl Serialize for Sources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [source] => source.serialize(serializer),
            sources => sources.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Sources;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or id, or a list of them")
            }
            fn visit_str<E: de::Error>(self, source: &str) -> std::result::Result<Sources, E> {
                Ok(Sources(vec![source.into()]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Sources, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(Sources)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Who acts in a scripted dataset, how long and how well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptedConfig {
    /// Who acts.
    pub collector: Collector,
    /// Episodes to collect, at least 1.
    pub episodes: usize,
    /// Probability, in `[0, 1]`, that the expert does the right thing where it decides. Default (null): 1. Only for experts
    /// that decide; set elsewhere it is refused.
    pub quality: Option<f64>,
    /// Standard deviation of Gaussian noise on the expert's actions, at least 0, in units of the action space. Default (null):
    /// 0. Only for continuous actions; set elsewhere it is refused.
    pub noise: Option<f64>,
}

impl Default for ScriptedConfig {
    fn default() -> Self {
        Self { collector: Collector::Expert, episodes: 1000, quality: None, noise: None }
    }
}

impl ScriptedConfig {
    fn describe(&self) -> String {
        let who = match self.collector {
            Collector::Expert => "scripted expert",
            Collector::Random => "random actions",
        };
        let quality = self.quality.map(|quality| format!(", quality {quality}")).unwrap_or_default();
        let noise = self.noise.map(|noise| format!(", noise {noise}")).unwrap_or_default();
        format!("{who}, {} episodes{quality}{noise}", self.episodes)
    }
}

/// Who acts in a scripted dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Collector {
    /// The task's own scripted solution.
    #[default]
    Expert,
    /// Actions drawn uniformly from the action space.
    Random,
}

/// The optimisation. Defaults are the Decision Transformer's for locomotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimizer steps.
    pub steps: u64,
    /// Rows in the batch of one optimizer step.
    pub batch_size: usize,
    /// Equal parts of a batch, a power of two: each has a forward and a backward pass of its own, and their gradients are added in a
    /// binary tree. As many processes as divide it can share them (`--distributed mpi`) and reach the same bits as one.
    pub shards: usize,
    /// Length of the segments that are cut from trajectories.
    pub context_length: ContextLength,
    /// Timesteps in a row. Default (null): `context_length`, or the longest episode in the data for `"episode"`.
    pub row_length: Option<usize>,
    /// What happens to the part of a segment that does not fit in its row.
    pub cut_segments: CutSegments,
    /// AdamW step size after the warm-up.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of AdamW's second moments, at least 0 and below 1. Gradients that become a thousandth of the first ones, as those of a rare
    /// label do, are seen sooner with 0.95.
    pub beta2: f64,
    /// Optimizer steps over which the learning rate rises linearly from 0; then it goes on as `schedule` says. Default (null): a tenth
    /// of `steps`.
    #[schemars(with = "Option<u64>")]
    pub warmup_steps: u64,
    /// How the learning rate goes on after the warm-up.
    pub schedule: LearningRateSchedule,
    /// Decay of an exponential moving average of the weights, below 1, for example 0.999. The average is then the policy: it is
    /// evaluated, and saved with the weights of the last step beside it. Default (null): none.
    pub ema: Option<f64>,
    /// Largest norm of the gradient over all parameters together; larger gradients are scaled down to it.
    pub gradient_clip: f64,
    /// What the factors of dense layers' matrix products are rounded to. Weights, sums and the optimizer stay in single precision, and
    /// policies act in it.
    pub precision: Precision,
    /// Optimizer steps between two lines of the log.
    pub log_every: u64,
    /// Optimizer steps between two checkpoints. There is always one at the end.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept. The one marked best is kept besides.
    pub keep_checkpoints: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch_size: 64,
            shards: 1,
            context_length: ContextLength::Timesteps(20),
            row_length: None,
            cut_segments: CutSegments::Drop,
            learning_rate: 1e-4,
            weight_decay: 1e-4,
            beta2: 0.999, // Adam's own
            warmup_steps: 1000,
            schedule: LearningRateSchedule::Constant,
            ema: None,
            gradient_clip: 0.25,
            precision: Precision::F32,
            log_every: 50,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
        }
    }
}

/// How much of a trajectory a segment takes. In JSON a number of timesteps, or `"episode"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextLength {
    /// Up to this many timesteps from a random start.
    Timesteps(usize),
    /// The whole trajectory.
    Episode,
}

impl ContextLength {
    /// Timesteps that windowed execution looks back on; none for whole episodes.
    pub(crate) fn window(self) -> Option<usize> {
        match self {
            ContextLength::Timesteps(length) => Some(length),
            ContextLength::Episode => None,
        }
    }
}

impl fmt::Display for ContextLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextLength::Timesteps(timesteps) => write!(f, "{timesteps}"),
            ContextLength::Episode => f.write_str("episode"),
        }
    }
}

impl schemars::JsonSchema for ContextLength {
    fn schema_name() -> Cow<'static, str> {
        "ContextLength".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "episode" }] })
    }
}

impl Serialize for ContextLength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ContextLength::Timesteps(timesteps) => serializer.serialize_u64(*timesteps as u64),
            ContextLength::Episode => serializer.serialize_str("episode"),
        }
    }
}

impl<'de> Deserialize<'de> for ContextLength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ContextLength;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of timesteps or \"episode\"")
            }
            fn visit_u64<E: de::Error>(self, timesteps: u64) -> Result<ContextLength, E> {
                let too_large = |_| E::invalid_value(de::Unexpected::Unsigned(timesteps), &self);
                usize::try_from(timesteps).map(ContextLength::Timesteps).map_err(too_large)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ContextLength, E> {
                match text {
                    "episode" => Ok(ContextLength::Episode),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What happens to the part of a segment that does not fit in its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CutSegments {
    /// It is left out.
    #[default]
    Drop,
    /// It continues in the same row of the next batch, from the state where it was cut.
    Continue,
}
