//! Small jobs for the tests, and what their runs left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use aaren_agents::config::{Job, OfflineJob};
use aaren_agents::offline::{self, trajectories};
use aaren_agents::run::RunDir;
use aaren_agents::run::report::{EvaluationReport, TargetReport, TrainSummary};
use anyhow::Result;
use serde_json::Value;

/// A job of a second: a short maze, a small policy, a line of the log for every step.
pub const SMALL: &[&str] = &[
    "env.options.corridor=6",
    "data.scripted.episodes=30",
    "policy.width=16",
    "policy.heads=2",
    "policy.feed_forward=32",
    "policy.max_timesteps=8",
    "train.steps=20",
    "train.batch_size=4",
    "train.learning_rate=0.01",
    "train.warmup_steps=5",
    "train.log_every=1",
    "evaluation.every=0",
    "evaluation.episodes=2",
    "evaluation.final_episodes=3",
    "evaluation.envs_per_actor=2",
];

/// The small job with more overrides.
pub fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [SMALL, more].concat()
}

pub fn job(overrides: &[&str]) -> OfflineJob {
    OfflineJob::quickstart(&owned(overrides)).unwrap()
}

fn owned(overrides: &[&str]) -> Vec<String> {
    overrides.iter().map(ToString::to_string).collect()
}

/// Trains in a new run folder, as `aaren train --run` does.
pub fn train(path: &Path, overrides: &[&str]) -> Result<(TrainSummary, EvaluationReport)> {
    let job = job(overrides);
    let run = RunDir::create(path, &job, job.train.keep_checkpoints)?;
    offline::train(&job, trajectories(&job)?, &run, false)
}

/// Goes on with a run, as `aaren train --resume --run` does.
pub fn resume(path: &Path, overrides: &[&str]) -> Result<(TrainSummary, EvaluationReport)> {
    let mut run = RunDir::resume(path)?;
    let job = run.job(&owned(overrides)[..].into())?.offline()?;
    run.update_job(&Job::Offline(job.clone()))?;
    offline::train(&job, trajectories(&job)?, &run, true)
}

/// `aaren`, in a folder, with the overrides as `--set`.
pub fn aaren(folder: &Path, arguments: &[&str], overrides: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aaren"));
    command.args(arguments).current_dir(folder).env_remove("AAREN_LOG").stdin(Stdio::null());
    overrides.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    command
}

/// What a command said that succeeded.
pub fn stdout(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?} ended with {status}:\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

pub fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:08}"))
}

/// The weights' file of a checkpoint.
pub fn weights(run: &Path, step: u64) -> Vec<u8> {
    let path = checkpoint(run, step).join("weights.safetensors");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What episodes of 41 steps with these returns are reported as; the score is a hundred times the mean.
pub fn target_report(target_return: Option<f64>, returns: &[f64], terminated: usize) -> TargetReport {
    let count = returns.len() as f64;
    let return_mean = returns.iter().sum::<f64>() / count;
    let variance = returns.iter().map(|value| (value - return_mean).powi(2)).sum::<f64>() / count;
    TargetReport {
        target_return,
        episodes: returns.len(),
        return_mean,
        return_std: variance.sqrt(),
        return_min: returns.iter().copied().fold(f64::INFINITY, f64::min),
        return_max: returns.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        normalised_score: Some(return_mean * 100.0),
        length_mean: 41.0,
        length_min: 41,
        length_max: 41,
        terminated,
        truncated: returns.len() - terminated,
        diverged: 0,
        returns: returns.to_vec(),
        lengths: vec![41; returns.len()],
    }
}

/// The evaluation of a run of a job, as `aaren evaluate` leaves it.
pub fn evaluation_report(run: &str, job: &OfflineJob, targets: Vec<TargetReport>) -> EvaluationReport {
    EvaluationReport {
        format: 1,
        run: run.into(),
        checkpoint_step: 500,
        env_id: job.task().unwrap().id.clone(),
        env_options: job.task().unwrap().options.clone(),
        data: "scripted".into(),
        mixer: job.policy.mixer.clone(),
        execution: job.evaluation.execution.to_string(),
        seed: 1,
        episode_seeds: Vec::new(),
        made_by: None,
        parameters: 123_456,
        targets,
        validation: None,
        sequences: None,
        env_steps: 82,
        wall_seconds: 1.0,
        env_steps_per_second: 82.0,
        latency: None,
    }
}

/// The lines of `metrics.jsonl`.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Names that say how fast something was, not what it was.
const SPEEDS: [&str; 8] = [
    "wall_seconds",
    "train/timesteps_per_second",
    "train/step_milliseconds",
    "evaluation/env_steps_per_second",
    "time/collect_seconds",
    "time/update_seconds",
    "time/env_steps_per_second",
    "time/exchange_seconds",
];

/// The lines that have a name, without all that no two runs have in common. JSON keeps every bit of a number here.
pub fn lines_with(run: &Path, name: &str) -> Vec<Value> {
    metrics(run).into_iter().filter(|line| line.get(name).is_some()).map(strip_speeds).collect()
}

/// A line without all that no two runs have in common.
pub fn strip_speeds(mut line: Value) -> Value {
    let fields = line.as_object_mut().unwrap();
    SPEEDS.iter().for_each(|speed| {
        fields.remove(*speed);
    });
    line
}

/// The steps of the lines that have a name.
pub fn steps_with(run: &Path, name: &str) -> Vec<u64> {
    lines_with(run, name).iter().map(|line| line["step"].as_u64().unwrap()).collect()
}
