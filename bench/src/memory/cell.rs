//! A mixer on a task: a run of each seed, and what came of it.

use super::{args::MemoryArgs, plan::Plan};
use crate::measure::{mean_of_found, median};
use aaren_agents::config::{Changes, Job, OfflineJob};
use aaren_agents::jobs::other_keys;
use aaren_agents::offline::{self, trajectories};
use aaren_agents::run::interrupt::Interrupted;
use aaren_agents::run::report::{EvaluationReport, LatencyReport, TrainSummary, duration, number};
use aaren_agents::run::{RunDir, interrupt};
use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::{io::Write, path::Path};

/// The result of one training with one seed.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    seed: u64,
    /// Mean return of the episodes; none where the training or the evaluation failed.
    score: Option<f64>,
    /// Their standard deviation.
    score_std: Option<f64>,
    /// Episodes that the time limit ended and the task did not.
    truncated: Option<usize>,
    final_loss: Option<f64>,
    /// Seconds of training.
    seconds: Option<f64>,
    tokens_per_second: Option<f64>,
    failure: Option<String>,
}

/// A mixer on a task.
#[derive(Debug, Serialize)]
pub struct Row {
    pub task: &'static str,
    pub difficulty: f64,
    pub mixer: String,
    pub layers: usize,
    pub width: usize,
    pub feed_forward: usize,
    pub parameters: usize,
    /// Rows and timesteps of a batch.
    batch: (usize, usize),
    outcomes: Vec<Outcome>,
    /// Median over seeds.
    pub tokens_per_second: Option<f64>,
    /// Acting for one environment, with the policy of the last seed.
    pub latency: Option<LatencyReport>,
}

impl Row {
    /// Mean over seeds, and the least and the most where there are several.
    pub fn score(&self) -> String {
        let shown = |value: f64| if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        mean_of_found(self.outcomes.iter().map(|outcome| outcome.score), "failed", shown)
    }
}

/// Trains and plays with every seed, or reads what an earlier command has finished.
pub fn measure(plan: &Plan, args: &MemoryArgs, (place, count): (usize, usize)) -> Result<Row> {
    let (mut outcomes, mut latency) = (Vec::new(), None);
    for seed in 1..=args.seeds {
        interrupt::check()?;
        let label = format!("{place}/{count} {}", plan.run_name(seed));
        let job = OfflineJob { seed, ..plan.job.clone() };
        let outcome = match train_and_play(&job, &args.runs.join(plan.run_name(seed))) {
            Ok((summary, report)) => {
                let target = &report.targets[0];
                latency = report.latency.clone().or(latency);
                say(&format!("{label}: score {}, {}", number(target.return_mean), duration(summary.wall_seconds)));
                Outcome {
                    seed,
                    score: Some(target.return_mean),
                    score_std: Some(target.return_std),
                    truncated: Some(target.truncated),
                    final_loss: Some(summary.final_loss),
                    seconds: Some(summary.wall_seconds),
                    tokens_per_second: Some(summary.timesteps_per_second),
                    failure: None,
                }
            }
            Err(error) if error.is::<Interrupted>() || error.is::<BegunOtherwise>() => return Err(error),
            Err(error) => {
                // A mixer that fails, say because its loss is not finite, is a result; the others are still measured.
                let failure = format!("{error:#}");
                say(&format!("{label}: {failure}"));
                Outcome { seed, failure: Some(failure), ..Outcome::default() }
            }
        };
        outcomes.push(outcome);
    }
    let speeds: Vec<f64> = outcomes.iter().filter_map(|outcome: &Outcome| outcome.tokens_per_second).collect();
    let policy = &plan.job.policy;
    Ok(Row {
        task: plan.task.name,
        difficulty: plan.difficulty,
        mixer: plan.mixer.clone(),
        layers: policy.layers,
        width: policy.width,
        feed_forward: policy.feed_forward,
        parameters: plan.parameters,
        batch: (plan.job.train.batch_size, plan.length),
        outcomes,
        tokens_per_second: (!speeds.is_empty()).then(|| median(&speeds)),
        latency,
    })
}

/// A line on stderr; a closed one is no reason to stop working.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A run folder of another command.
#[derive(Debug, thiserror::Error)]
#[error("choose another folder with --runs, or remove that run")]
struct BegunOtherwise;

/// Trains a job in its run folder and evaluates it, or continues where that was stopped, or reads the results of a finished run.
fn train_and_play(job: &OfflineJob, folder: &Path) -> Result<(TrainSummary, EvaluationReport)> {
    if !folder.join("config.json").exists() {
        let dataset = trajectories(job)?;
        return offline::train(job, dataset, &RunDir::create(folder, job, job.train.keep_checkpoints)?, false);
    }
    let begun = RunDir::open(folder)?.job(&Changes::default())?.offline()?;
    let differing = other_keys(&Job::Offline(begun), &Job::Offline(job.clone()))?;
    if !differing.is_empty() {
        let context = format!("the run {} was begun with another {}", folder.display(), differing.join(" and "));
        return Err(anyhow::Error::new(BegunOtherwise).context(context));
    }
    if let (Some(summary), Some(report)) = (read(&folder.join("train.json"))?, read(&folder.join("evaluation.json"))?) {
        return Ok((summary, report));
    }
    let dataset = trajectories(job)?;
    offline::train(job, dataset, &RunDir::resume(folder)?, true)
}

/// What a finished run left, if it is there.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let context = || format!("cannot read {}", path.display());
    let text = std::fs::read(path).with_context(context)?;
    Ok(Some(serde_json::from_slice(&text).with_context(context)?))
}
