//! A job: what to train, on which data, and how to evaluate it. One JSON file holds one [`JobConfig`].
//!
//! Every key has its default here and its description in `configs/README.md`; files state what differs. A config that
//! came out of [`JobConfig::load`] has been checked and cannot be wrong in a way that a look at the config alone can tell.

use std::fmt;

use aaren_policy::PolicyConfig;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Map, Value};

use crate::config::{Network, PpoConfig};

/// The whole job, as written in a config file and, complete, in a run folder's `config.json`.
///
/// With `ppo` it learns online, else from `data` as `train` says; a file has the keys of one of the two, and only they are written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobConfig {
    /// Root of every random number of the job.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where tensors live.
    #[serde(default)]
    pub device: Device,
    /// The task to evaluate in, and for scripted data to collect in.
    pub env: EnvConfig,
    /// The trajectories to train on.
    #[serde(default)]
    pub data: DataConfig,
    /// Online training. Default (null): training on `data`.
    #[serde(default)]
    pub ppo: Option<PpoConfig>,
    /// What the policy is built from.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// The optimisation.
    #[serde(default)]
    pub train: TrainConfig,
    /// How the policy is judged while it trains and at the end.
    pub evaluation: EvaluationConfig,
}

/// Keys of `policy` that say how trajectories become tokens, and those of `evaluation` that decision policies are asked with: an
/// online job has none of them.
pub(super) const OFFLINE_POLICY: [&str; 4] = ["dropout", "tokens", "max_timesteps", "return_scale"];
pub(super) const OFFLINE_EVALUATION: [&str; 2] = ["target_returns", "execution"];

impl Serialize for JobConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let without = |value: serde_json::Result<Value>, keys: &[&str]| -> Result<Value, S::Error> {
            let mut value = value.map_err(ser::Error::custom)?;
            if let Some(fields) = value.as_object_mut() {
                fields.retain(|key, _| !keys.contains(&key.as_str()));
            }
            Ok(value)
        };
        let mut job = Map::from_iter([
            ("seed".into(), self.seed.into()),
            ("device".into(), self.device.to_string().into()),
            ("env".into(), without(serde_json::to_value(&self.env), &[])?),
        ]);
        let mut add = |key: &str, value| {
            job.insert(key.into(), value);
        };
        let policy = serde_json::to_value(&self.policy);
        let evaluation = serde_json::to_value(&self.evaluation);
        match &self.ppo {
            Some(ppo) => {
                add("ppo", without(serde_json::to_value(ppo), &[])?);
                if ppo.network == Network::Recurrent {
                    add("policy", without(policy, &OFFLINE_POLICY)?);
                }
                add("evaluation", without(evaluation, &OFFLINE_EVALUATION)?);
            }
            None => {
                add("data", without(serde_json::to_value(&self.data), &[])?);
                add("policy", without(policy, &[])?);
                add("train", without(serde_json::to_value(&self.train), &[])?);
                add("evaluation", without(evaluation, &[])?);
            }
        }
        job.serialize(serializer)
    }
}

impl JobConfig {
    /// What the policy is asked for in evaluations, at least one. `None` alone for a policy that is not told a return, which then
    /// plays its episodes once, whatever `evaluation.target_returns` says.
    pub fn target_returns(&self) -> Vec<Option<f64>> {
        match self.ppo.is_none() && self.policy.tokens.has_return_to_go() {
            true => self.evaluation.target_returns.iter().copied().map(Some).collect(),
            false => vec![None],
        }
    }

    /// Newest checkpoints that a run of the job keeps.
    pub fn keep_checkpoints(&self) -> usize {
        self.ppo.as_ref().map_or(self.train.keep_checkpoints, |ppo| ppo.keep_checkpoints)
    }
}

fn default_seed() -> u64 {
    1
}

/// Where tensors live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor; always there.
    #[default]
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// Any GPU with a Vulkan driver.
    Vulkan,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
            Device::Vulkan => "vulkan",
        })
    }
}

/// A task and its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvConfig {
    /// Registered name with version; `aaren envs` lists them.
    pub id: String,
    /// Options of the task by name, checked by the task itself. Default: none.
    #[serde(default)]
    pub options: Map<String, Value>,
}

/// The trajectories to train on: exactly one of `source` and `scripted` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Datasets on disk, joined in this order.
    pub source: Option<Sources>,
    /// Episodes of a scripted collector, made when the job starts and the same for the same seed.
    pub scripted: Option<ScriptedConfig>,
    /// Share of the episodes that is trained on, those with the highest returns; in `(0, 1]`.
    pub top_fraction: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { source: None, scripted: None, top_fraction: 1.0 }
    }
}

impl DataConfig {
    /// One line that names the data in tables and reports.
    pub fn describe(&self) -> String {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(pub Vec<String>);

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" + "))
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
            fn visit_str<E: de::Error>(self, source: &str) -> Result<Sources, E> {
                Ok(Sources(vec![source.into()]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Sources, A::Error> {
                let mut sources = Vec::new();
                while let Some(source) = items.next_element()? {
                    sources.push(source);
                }
                Ok(Sources(sources))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Who acts in a scripted dataset, how long and how well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Collector {
    /// The task's own scripted solution.
    #[default]
    Expert,
    /// Actions drawn uniformly from the action space.
    Random,
}

/// The optimisation. Defaults are the Decision Transformer's for locomotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimizer steps.
    pub steps: u64,
    /// Rows in the batch of one optimizer step.
    pub batch_size: usize,
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
    /// Optimizer steps over which the learning rate rises linearly from 0; it is constant afterwards.
    pub warmup_steps: u64,
    /// Largest norm of the gradient over all parameters together; larger gradients are scaled down to it.
    pub gradient_clip: f64,
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
            context_length: ContextLength::Timesteps(20),
            row_length: None,
            cut_segments: CutSegments::Drop,
            learning_rate: 1e-4,
            weight_decay: 1e-4,
            warmup_steps: 10_000,
            gradient_clip: 0.25,
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

impl fmt::Display for ContextLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextLength::Timesteps(timesteps) => write!(f, "{timesteps}"),
            ContextLength::Episode => f.write_str("episode"),
        }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutSegments {
    /// It is left out.
    #[default]
    Drop,
    /// It goes on in the same row of the next batch, from the state where it was cut.
    Continue,
}

/// How a policy is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Optimizer steps (online: environment steps) between two evaluations while training; 0 evaluates only at the end.
    #[serde(default)]
    pub every: u64,
    /// Episodes for each target return.
    #[serde(default = "default_episodes")]
    pub episodes: usize,
    /// Episodes for each target return in the evaluation at the end. Default (null): `episodes`.
    #[serde(default)]
    pub final_episodes: Option<usize>,
    /// Returns to ask the policy for, in units of reward; the first is the headline. At least one, unless the policy is not told:
    /// see [`JobConfig::target_returns`].
    #[serde(default)]
    pub target_returns: Vec<f64>,
    /// Actor threads.
    #[serde(default = "default_actors")]
    pub actors: usize,
    /// Environments that each actor steps together.
    #[serde(default = "default_envs_per_actor")]
    pub envs_per_actor: usize,
    /// How the policy is run over an episode.
    #[serde(default)]
    pub execution: Execution,
}

impl EvaluationConfig {
    /// An evaluation of these target returns with every other key at its default.
    pub fn new(target_returns: Vec<f64>) -> Self {
        Self {
            every: 0,
            episodes: default_episodes(),
            final_episodes: None,
            target_returns,
            actors: default_actors(),
            envs_per_actor: default_envs_per_actor(),
            execution: Execution::default(),
        }
    }

    /// Episodes for each target return in the evaluation at the end.
    pub fn final_episodes(&self) -> usize {
        self.final_episodes.unwrap_or(self.episodes)
    }
}

fn default_episodes() -> usize {
    10
}

fn default_actors() -> usize {
    2
}

fn default_envs_per_actor() -> usize {
    4
}

/// How a policy is run over an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
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
        f.write_str(match self {
            Execution::Streaming => "streaming",
            Execution::Window => "window",
        })
    }
}
