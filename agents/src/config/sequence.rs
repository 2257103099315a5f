//! A job that learns a task on sequences.

use aaren_policy::{PolicyConfig, Pool};
use anyhow::{Result, anyhow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::due::Due;
use super::events::{Events, Hawkes};
use super::forecast::Forecast;
use super::text::typed;
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
    /// Which class a sequence is of, from labelled ones in two files.
    Classify(Classify),
    /// When the next event comes, and of which kind.
    Events(Events),
    /// What the next numbers of a table are.
    Forecast(Forecast),
    /// Multi-query associative recall, made as it is learnt.
    Mqar(Mqar),
}

impl TaskConfig {
    /// Whether every key has a value of its type. What reads a task by its kind cannot name the key.
    ///
    /// # Errors
    /// The first key that has not.
    pub(super) fn check_types(json: &Value) -> Result<()> {
        fn check<T: DeserializeOwned>(json: &Value) -> Result<()> {
            let mut json = json.clone();
            json.as_object_mut().map(|object| object.shift_remove("kind"));
            typed::<T>(json).map(drop).map_err(|error| anyhow!("task.{error:#}"))
        }
        match json["kind"].as_str() {
            Some("classify") => check::<Classify>(json),
            Some("events") => check::<Events>(json),
            Some("forecast") => check::<Forecast>(json),
            Some("mqar") => check::<Mqar>(json),
            _ => Ok(()), // said where the kind is read
        }
    }

    /// The kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            TaskConfig::Classify(_) => "classify",
            TaskConfig::Events(_) => "events",
            TaskConfig::Forecast(_) => "forecast",
            TaskConfig::Mqar(_) => "mqar",
        }
    }

    /// One line that names the task in tables and reports.
    pub(crate) fn describe(&self) -> String {
        match self {
            TaskConfig::Classify(Classify { train, .. }) => format!("classes of {train}"),
            TaskConfig::Events(Events { hawkes: Some(Hawkes { base, events, .. }), .. }) => {
                let marks = if base.len() > 1 { format!(" of {} marks", base.len()) } else { String::new() };
                format!("events of a Hawkes process{marks}, {events} a sequence")
            }
            TaskConfig::Events(Events { train, unit, .. }) => format!("events of {train} in {}", unit.plural()),
            TaskConfig::Forecast(Forecast { source, horizon, .. }) => format!("the next {horizon} rows of {source}"),
            TaskConfig::Mqar(Mqar { vocabulary, length, pairs, noise, .. }) => {
                let rest = if *noise { ", noise between" } else { "" };
                format!("mqar, {pairs} pairs in {length} tokens of {vocabulary}{rest}")
            }
        }
    }

    /// The keys that say how it is learnt and not what is learnt: runs that differ in them are compared.
    pub(crate) fn chosen(&self) -> &'static [&'static str] {
        match self {
            TaskConfig::Classify(_) => &["pool", "positions", "due"],
            TaskConfig::Events(_) => &["components", "clock", "positions"],
            TaskConfig::Forecast(_) => {
                &["look_back", "lags", "scaling", "span", "anchor", "due", "channels", "calendar", "positions", "season"]
            }
            TaskConfig::Mqar(_) => &[],
        }
    }
}

/// Which class a sequence is of: the files, and what is learnt of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Classify {
    /// File of the sequences to learn from: `.ts` as the UEA and UCR archives have it, or `.tsv` or `.txt`, one channel with the label
    /// first.
    pub train: String,
    /// File of the test split.
    pub test: String,
    /// Share of the sequences of every class in `train` that is held out, the validation split; above 0 and below 1. Drawn from the seed.
    pub validation: f64,
    /// Which features the class is read from: the mean of those of all tokens so far, or those of the last one.
    pub pool: Pool,
    /// Whether a token is told its place in the sequence by a learned embedding, as long as the longest sequence that is trained on; later
    /// places share the last.
    pub positions: bool,
    /// When the class is due: at a sequence's end, or after every token, the later the more.
    pub due: Due,
    /// What becomes of numbers that are missing.
    pub missing: MissingNumbers,
    /// Probability of a class from which on an early decision takes it; above 0, at most 1. Scores say how often that is right, and which
    /// share of a sequence was seen by then.
    pub confidence: f64,
}

impl Default for Classify {
    fn default() -> Self {
        let (train, test) = (String::new(), String::new());
        Self {
            train,
            test,
            validation: 0.2,
            pool: Pool::Mean,
            positions: true,
            due: Due::End,
            missing: MissingNumbers::Refuse,
            confidence: 0.9,
        }
    }
}

/// What becomes of numbers that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingNumbers {
    /// They are an error.
    Refuse,
    /// They are the mean, which is 0 when scaled, and every channel has a flag that says whether its number is missing.
    Zero,
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
