//! `aaren compare`: runs side by side. What they reached, what they cost, in what their jobs differ.
//!
//! Runs of one task by one agent are a cell, whatever their seeds. A task is an environment with its options and the data; an agent
//! is everything else in a config that can change a result. Results are `compare.json`, the same in words as `compare.md`, and with
//! plots as `compare.html`, which needs no other file.

mod cell;
mod page;
mod plot;
pub mod statistics;
mod text;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    config::{Changes, DataConfig, Job},
    run::cache_report::{self, CacheEvaluation, CacheReport, kind},
    run::{
        RunDir, differing_keys,
        report::{EvaluationReport, LatencyReport, TargetReport, TrainSummary},
        write_atomically, write_json_atomically,
    },
};
pub use cell::{Aggregate, Cell, CellTarget, CurvePoint, Improvement, Spread};

/// Several runs, `compare.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`FORMAT`](crate::run::report::FORMAT).
    pub format: u32,
    /// The runs in the order they were given.
    pub runs: Vec<ComparedRun>,
    /// The tasks in the order in which runs of them came.
    pub tasks: Vec<Task>,
    /// The agents in the order in which runs of them came.
    pub agents: Vec<String>,
    /// What all runs of an agent in a task reached; task by task.
    pub cells: Vec<Cell>,
    /// Each agent over all tasks that every agent has runs of. Empty where scores of different tasks do not go together.
    pub aggregates: Vec<Aggregate>,
    /// Pairs of agents over the same tasks.
    pub improvements: Vec<Improvement>,
    /// Config keys that are not the same in all runs, with each run's value in the same order.
    pub differences: BTreeMap<String, Vec<Value>>,
    /// What makes the comparison unfair, if it was forced.
    pub incompatible: Vec<String>,
}

/// What runs have to share to be held against each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Names it in tables.
    pub name: String,
    /// The environment.
    pub env_id: String,
    /// Its options.
    pub env_options: Value,
    /// The datasets, whatever an agent leaves out of them; `online` where there are none.
    pub data: Value,
    /// Whether all runs have normalised scores; their raw returns are compared otherwise.
    pub is_normalised: bool,
}

/// One run's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRun {
    /// The run folder's name, or its path where two have the same name.
    pub run: String,
    /// Number of its task.
    pub task: usize,
    /// Number of its agent.
    pub agent: usize,
    /// Root of its random numbers.
    pub seed: u64,
    /// Name of the mixer.
    pub mixer: String,
    /// Timesteps of a training segment, or `episode`; `online` where there are none.
    pub context_length: String,
    /// `streaming` or `window`.
    pub execution: String,
    /// Optimizer steps behind the evaluated weights.
    pub checkpoint_step: u64,
    /// Root of the evaluated episodes' seeds.
    pub evaluation_seed: u64,
    /// Trained numbers in the policy.
    pub parameters: usize,
    /// One for each target return.
    pub targets: Vec<ComparedTarget>,
    /// The checkpoint that evaluated best while training; None without `evaluation-best.json`.
    pub best: Option<BestCheckpoint>,
    /// Evaluations while training, for the first target return.
    pub curve: Vec<(u64, f64)>,
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
pub struct ComparedCache {
    /// What it keeps, whatever its size.
    pub kind: &'static str,
    /// Entries that it keeps in each layer; None without a bound.
    pub entries: Option<usize>,
    /// One for each target return.
    pub targets: Vec<ComparedTarget>,
    /// Bytes of one environment's state at the last step.
    pub state_bytes: usize,
}

impl ComparedCache {
    fn new(evaluation: &CacheEvaluation) -> Self {
        Self {
            kind: kind(evaluation.cache),
            entries: evaluation.entries,
            targets: evaluation.targets.iter().map(ComparedTarget::new).collect(),
            state_bytes: evaluation.state_bytes,
        }
    }
}

/// Another checkpoint's results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestCheckpoint {
    /// Optimizer steps behind it.
    pub step: u64,
    /// One for each target return.
    pub targets: Vec<ComparedTarget>,
}

/// What a run reached for one target return.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedTarget {
    /// What was asked for; None of a policy that is not told a return.
    pub target_return: Option<f64>,
    /// Number of episodes.
    pub episodes: usize,
    /// Mean undiscounted return.
    pub return_mean: f64,
    /// Population standard deviation of the returns.
    pub return_std: f64,
    /// 0 is a random policy, 100 an expert; None where the task has no reference returns.
    pub normalised_score: Option<f64>,
}

impl ComparedTarget {
    fn new(target: &TargetReport) -> Self {
        Self {
            target_return: target.target_return,
            episodes: target.episodes,
            return_mean: target.return_mean,
            return_std: target.return_std,
            normalised_score: target.normalised_score,
        }
    }
}

/// Choices of a comparison.
#[derive(Clone, Debug, Default)]
pub struct CompareOptions {
    /// Where results go; None for the folder `compare` beside the runs, in the deepest folder that holds them all.
    pub output: Option<PathBuf>,
    /// Several tasks make several rows of a table, in which only runs of one row are held against each other.
    pub table: bool,
    /// Runs on different tasks are compared all the same, and the results say that it is not fair.
    pub force: bool,
}

/// Reads the results of the runs and writes `compare.md`, `compare.json` and `compare.html`.
///
/// An older comparison in the same place is replaced. Runs on another task, with other options or on other data are refused unless
/// they are asked for as a table or forced.
///
/// # Errors
/// Names the run and the file that is missing or broken, and the command that makes it; says in what runs are incompatible.
pub fn compare(runs: &[PathBuf], options: &CompareOptions) -> Result<Comparison> {
    let results = runs.iter().map(|path| Results::read(path)).collect::<Result<Vec<_>>>()?;
    ensure!(
        results.len() >= 2 || results.iter().any(|run| run.caches.is_some()),
        "a comparison takes at least two runs, or one that was evaluated with `aaren evaluate --cache-sizes`; found {} without",
        runs.len()
    );

    let incompatible = if options.table { Vec::new() } else { incompatibilities(&results)? };
    if !(incompatible.is_empty() || options.force) {
        bail!(
            "these runs cannot be compared: {}; compare them as a table of several tasks with --table, or all the same with --force",
            incompatible.join("; ")
        );
    }
    let comparison = Comparison::new(&results, incompatible)?;

    let folder = match &options.output {
        Some(folder) => folder.clone(),
        None => common_parent(runs)?.join("compare"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write_json_atomically(&folder.join("compare.json"), &comparison)?;
    write_atomically(&folder.join("compare.md"), comparison.markdown().as_bytes())?;
    write_atomically(&folder.join("compare.html"), comparison.page().as_bytes())?;
    tracing::info!("wrote compare.md, compare.json and compare.html to {}", folder.display());
    Ok(comparison)
}

/// What one run left behind.
struct Results {
    path: PathBuf,
    name: String,
    job: Job,
    evaluation: EvaluationReport,
    best: Option<EvaluationReport>,
    train: Option<TrainSummary>,
    caches: Option<CacheReport>,
    /// `metrics.jsonl`; empty without.
    metrics: Vec<Value>,
}

impl Results {
    fn read(path: &Path) -> Result<Results> {
        let run = RunDir::open(path)?;
        let evaluation: EvaluationReport = read_json(&path.join("evaluation.json"))?.ok_or_else(|| {
            let path = path.display();
            anyhow!("the run {path} has no evaluation.json; make it with `aaren evaluate {path}`")
        })?;
        ensure!(!evaluation.targets.is_empty(), "{} has no target return", path.join("evaluation.json").display());
        Ok(Results {
            path: path.to_path_buf(),
            name: run.name(),
            job: run.job(&Changes::default())?,
            evaluation,
            best: read_json(&path.join("evaluation-best.json"))?,
            train: read_json(&path.join("train.json"))?,
            caches: read_json(&path.join(cache_report::FILE))?,
            metrics: read_lines(&path.join("metrics.jsonl"))?,
        })
    }

    /// The task: environment, options, data.
    fn task(&self) -> Result<(String, Value, Value)> {
        let data = match &self.job {
            // What is left out of the data is the agent's choice.
            Job::Offline(job) => serde_json::to_value(DataConfig { top_fraction: 1.0, ..job.data.clone() })?,
            _ => Value::from("online"),
        };
        Ok((self.evaluation.env_id.clone(), self.evaluation.env_options.clone().into(), data))
    }

    /// All of the config that makes an agent: not its seed, its task, how it is judged and how often it is saved.
    fn agent(&self) -> Result<Value> {
        let mut json = serde_json::to_value(&self.job)?;
        if let Job::Offline(job) = &self.job {
            json["data"] = serde_json::json!({ "top_fraction": job.data.top_fraction });
        }
        json["evaluation"] = serde_json::json!({ "execution": self.evaluation.execution });
        let often = ["log_every", "checkpoint_every", "keep_checkpoints"];
        for (section, keys) in [("", &["seed", "device", "env"]), ("/train", &often), ("/ppo", &often)] {
            if let Some(section) = json.pointer_mut(section).and_then(Value::as_object_mut) {
                keys.iter().for_each(|key| {
                    section.shift_remove(*key);
                });
            }
        }
        Ok(json)
    }

    /// What an agent of this kind is called in papers.
    fn agent_name(&self) -> String {
        let Job::Offline(job) = &self.job else {
            let mixer = &self.evaluation.mixer;
            return if mixer == "mlp" { "PPO".into() } else { format!("PPO with {mixer}") };
        };
        let (policy, fraction) = (&job.policy, job.data.top_fraction);
        let share = if fraction == 1.0 { String::new() } else { format!("{} %-", crate::run::report::number(100.0 * fraction)) };
        match (policy.tokens.has_return_to_go(), &*policy.mixer) {
            (false, "mlp") => format!("{share}BC"),
            (false, mixer) => format!("{share}BC with {mixer}"),
            (true, mixer) => format!("{share}{mixer}"),
        }
    }

    fn task_name(&self) -> String {
        let data = match &self.job {
            Job::Offline(job) => DataConfig { top_fraction: 1.0, ..job.data.clone() }.describe(),
            _ => "online".into(),
        };
        let options = &self.evaluation.env_options;
        let options = if options.is_empty() { String::new() } else { format!(" {}", Value::from(options.clone())) };
        format!("{}{options}, {data}", self.evaluation.env_id)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is not a result of this version", path.display()))
}

/// Whole lines of JSON; a last line that a kill cut short is left out.
fn read_lines(path: &Path) -> Result<Vec<Value>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// In what the runs' tasks or data differ from the first run's.
fn incompatibilities(results: &[Results]) -> Result<Vec<String>> {
    let first = &results[0];
    let (env_id, env_options, data) = first.task()?;
    let mut found = Vec::new();
    for other in &results[1..] {
        let (other_id, other_options, other_data) = other.task()?;
        let pair = format!("{} and {}", first.path.display(), other.path.display());
        let mut note = |what: &str, left: &Value, right: &Value| {
            if left != right {
                found.push(format!("{pair} differ in {what} ({left} and {right})"));
            }
        };
        note("the environment", &env_id.as_str().into(), &other_id.as_str().into());
        note("its options", &env_options, &other_options);
        note("the data", &data, &other_data);
    }
    Ok(found)
}

/// Config keys that some run has otherwise than the first.
fn differences(results: &[Results]) -> Result<BTreeMap<String, Vec<Value>>> {
    let configs = results.iter().map(|run| serde_json::to_value(&run.job)).collect::<Result<Vec<_>, _>>()?;
    let keys = configs[1..].iter().flat_map(|config| differing_keys(&configs[0], config));
    let value = |config: &Value, key: &str| config.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
    Ok(keys
        .map(|key| {
            let values = configs.iter().map(|config| value(config, &key).unwrap_or_default()).collect();
            (key, values)
        })
        .collect())
}

/// The deepest folder that holds all the runs.
fn common_parent(runs: &[PathBuf]) -> Result<PathBuf> {
    let mut common: Option<PathBuf> = None;
    for run in runs {
        let full = run.canonicalize().with_context(|| format!("cannot read {}", run.display()))?;
        let parent = full.parent().unwrap_or(&full);
        common = Some(match common {
            None => parent.to_path_buf(),
            Some(so_far) => so_far.components().zip(parent.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect(),
        });
    }
    common.context("there are no runs")
}

#[cfg(test)]
mod tests;
