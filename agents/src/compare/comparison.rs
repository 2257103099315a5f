//! What a comparison says: the shape of `compare.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aaren_data::score::normalised_score;
use serde::Serialize;
use serde_json::Value;

use super::statistics::{Estimate, mean, standard_deviation};
use crate::run::cache_report::{CacheEvaluation, kind};
use crate::run::report::{Baseline, Better, LatencyPoint, LatencyReport, Score, TargetReport, ValidationReport};

/// Several runs, `compare.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The version of the format that it is written in.
    pub(crate) format: u32,
    /// The runs in the order they were given.
    pub(crate) runs: Vec<ComparedRun>,
    /// The tasks in the order in which runs of them came.
    pub(crate) tasks: Vec<Task>,
    /// The agents in the order in which runs of them came.
    pub(crate) agents: Vec<String>,
    /// What all runs of an agent in a task reached; task by task.
    pub(crate) cells: Vec<Cell>,
    /// Each agent over all tasks that every agent has runs of. Empty where scores of different tasks do not go together.
    pub(crate) aggregates: Vec<Aggregate>,
    /// Pairs of agents over the same tasks.
    pub(crate) improvements: Vec<Improvement>,
    /// Config keys that are not the same in all runs, with each run's value in the same order.
    pub(crate) differences: BTreeMap<String, Vec<Value>>,
    /// What makes the comparison unfair, if it was forced.
    pub(crate) incompatible: Vec<String>,
    /// Columns of the table of runs; empty for all.
    #[serde(skip)]
    pub(crate) columns: Vec<String>,
    /// Where the results are.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Comparison {
    /// The tasks that every agent has runs of, which aggregates are over.
    pub(crate) fn common_tasks(&self) -> Vec<usize> {
        (0..self.tasks.len()).filter(|&task| (0..self.agents.len()).all(|agent| self.cell(task, agent).is_some())).collect()
    }

    /// The cell of a task and an agent, if there are runs of it.
    pub(crate) fn cell(&self, task: usize, agent: usize) -> Option<&Cell> {
        self.cells.iter().find(|cell| (cell.task, cell.agent) == (task, agent))
    }
}

/// What runs are compared by that played episodes.
pub(super) const RETURN: &str = "return";

/// What runs have to share to be compared with each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Task {
    /// Names it in tables.
    pub name: String,
    /// The environment.
    pub env_id: String,
    /// Its options.
    pub env_options: Value,
    /// The datasets, whatever an agent leaves out of them; `online` where there are none.
    pub data: Value,
    /// Whether its runs are compared by the loss on held-out episodes, for want of an environment; smaller is better.
    pub is_loss: bool,
    /// What its runs are compared by: `return`, or a score.
    pub measure: String,
    /// Which is better of it.
    pub better: Better,
    /// What scores are to be held against.
    pub baselines: Vec<Baseline>,
    /// Whether all runs have normalised scores; their raw returns are compared otherwise.
    pub is_normalised: bool,
    /// Returns of a random policy and of an expert, where they are known: scores 0 and 100.
    pub references: Option<(f64, f64)>,
    /// Mean return of the training data, where a run knows it.
    pub data_return: Option<f64>,
}

impl Task {
    /// Whether its runs are compared by returns.
    pub(super) fn is_played(&self) -> bool {
        self.measure == RETURN
    }

    /// A return as a score of the task: normalised, or itself.
    pub(super) fn score(&self, value: f64) -> f64 {
        match self.references {
            Some((random, expert)) if self.is_normalised => normalised_score(value, random, expert),
            _ => value,
        }
    }

    /// A spread of returns as one of scores.
    pub(super) fn spread(&self, value: f64) -> f64 {
        (self.score(value) - self.score(0.0)).abs()
    }
}

/// One run's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ComparedRun {
    /// The run folder's name, or its path where two have the same name.
    pub run: String,
    /// Number of its task.
    pub task: usize,
    /// Number of its agent.
    pub agent: usize,
    /// Root of its random numbers.
    pub seed: u64,
    /// Its job.
    pub config: Value,
    /// Name of the mixer.
    pub mixer: String,
    /// Timesteps of a training segment, or `episode`; `online` where there are none.
    pub context_length: String,
    /// `streaming` or `window`.
    pub execution: String,
    /// Optimizer steps behind the evaluated weights.
    pub checkpoint_step: u64,
    /// Root of the evaluated episodes' seeds.
    #[serde(with = "crate::run::encoding::seed")]
    pub evaluation_seed: u64,
    /// Trained numbers in the policy.
    pub parameters: usize,
    /// One for each target return.
    pub targets: Vec<TargetReport>,
    /// Whether the data said which returns to ask for.
    pub asks_as_data_say: bool,
    /// The loss on held-out episodes, where there were some.
    pub validation: Option<ValidationReport>,
    /// The same as a score, or those on the test split of a task on sequences.
    pub scores: Vec<Score>,
    /// The checkpoint that evaluated best while training; None without `evaluation-best.json`.
    pub best: Option<BestCheckpoint>,
    /// Evaluations while training, for the first target return.
    pub curve: Vec<(u64, f64)>,
    /// Their standard deviations over episodes, in the same units.
    pub curve_std: Vec<f64>,
    /// Seconds that training took; None without `train.json`.
    pub train_seconds: Option<f64>,
    /// Timesteps a second while training; None without `train.json`.
    pub train_timesteps_per_second: Option<f64>,
    /// Cost of a single step, where it was measured.
    pub latency: Option<LatencyReport>,
    /// What its weights reached with KV caches of several kinds and sizes; empty without `evaluation-caches.json`.
    pub caches: Vec<ComparedCache>,
}

/// What a run reached with one KV cache.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ComparedCache {
    /// What it keeps, whatever its size.
    pub kind: &'static str,
    /// Entries that it keeps in each layer; None without a bound.
    pub entries: Option<usize>,
    /// One for each target return.
    pub targets: Vec<TargetReport>,
    /// Bytes of one environment's state at the last step.
    pub state_bytes: usize,
}

impl ComparedCache {
    pub(super) fn new(evaluation: &CacheEvaluation) -> Self {
        Self {
            kind: kind(evaluation.cache),
            entries: evaluation.entries,
            targets: evaluation.targets.clone(),
            state_bytes: evaluation.state_bytes,
        }
    }
}

/// Another checkpoint's results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct BestCheckpoint {
    /// Optimizer steps behind it.
    pub step: u64,
    /// One for each target return.
    pub targets: Vec<TargetReport>,
    /// The loss on held-out episodes, where there were some.
    pub validation: Option<ValidationReport>,
    /// As those of the run.
    pub scores: Vec<Score>,
}

/// What all runs of an agent in a task reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Cell {
    /// Number of the task.
    pub task: usize,
    /// Number of the agent.
    pub agent: usize,
    /// Numbers of the runs.
    pub runs: Vec<usize>,
    /// Their seeds.
    pub seeds: Vec<u64>,
    /// One for each target return that any of the runs was asked for; the first is the headline. Without an environment one a score.
    pub targets: Vec<CellTarget>,
    /// Evaluations while training, where every run has one.
    pub curve: Vec<CurvePoint>,
    /// Cost of a step against the step of the episode, the median over runs.
    pub latency: Vec<LatencyPoint>,
    /// Seconds that training took, the mean over runs.
    pub train_seconds: Option<f64>,
}

/// Scores for one target return: normalised, or raw returns where the task has no references.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CellTarget {
    /// What was asked for; None of a policy that is not told a return, and where the data of every run said another.
    pub target_return: Option<f64>,
    /// The latter in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// The score that it is of; None of returns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// Of the last checkpoints.
    pub last: Spread,
    /// Of the checkpoints that evaluated best, where all runs have one.
    pub best: Option<Spread>,
    /// Of the headline: the means of the last evaluations while training, where all runs have so many. One checkpoint is chance, these
    /// are less so, and nothing was picked.
    pub recent: Option<Spread>,
    /// Standard deviation over the episodes, where one run is all there is.
    pub episodes_std: Option<f64>,
}

/// Runs' values, in the order of the runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their population standard deviation.
    pub std: f64,
    /// Themselves.
    pub values: Vec<f64>,
}

impl Spread {
    pub(super) fn new(values: Vec<f64>) -> Self {
        Self { mean: mean(&values), std: standard_deviation(&values), values }
    }
}

/// A point of a learning curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CurvePoint {
    /// Optimizer steps.
    pub step: u64,
    /// Mean over runs.
    pub mean: f64,
    /// Population standard deviation over runs, or over the episodes of one.
    pub std: f64,
}

/// An agent over several tasks, by its headline scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Aggregate {
    /// Number of the agent.
    pub agent: usize,
    /// Mean over tasks of the mean over runs, of the last checkpoints.
    pub mean: f64,
    /// The same of the best checkpoints.
    pub best_mean: Option<f64>,
    /// The same of the last evaluations while training.
    pub recent_mean: Option<f64>,
    /// Interquartile mean over all runs of all tasks, of the last checkpoints.
    pub interquartile_mean: Estimate,
}

/// How likely a run of one agent scores more than one of another, on average over tasks, by their last checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Improvement {
    /// Number of the agent that may score more.
    pub agent: usize,
    /// Number of the other.
    pub over: usize,
    /// The probability.
    pub probability: Estimate,
}
