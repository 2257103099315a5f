//! Small jobs for the tests, and what their runs left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use aaren_agents::config::{Job, OfflineJob};
use aaren_agents::offline::{data, train};
use aaren_agents::run::RunDir;
use aaren_agents::run::report::{EvaluationReport, TrainSummary};
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
    train::train(&job, data::trajectories(&job)?, &run, false)
}

/// Goes on with a run, as `aaren train --resume --run` does.
pub fn resume(path: &Path, overrides: &[&str]) -> Result<(TrainSummary, EvaluationReport)> {
    let mut run = RunDir::resume(path)?;
    let job = run.job(&owned(overrides)[..].into())?.offline()?;
    run.update_job(&Job::Offline(job.clone()))?;
    train::train(&job, data::trajectories(&job)?, &run, true)
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

/// The lines of `metrics.jsonl`.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Names that say how fast something was, not what it was.
const SPEEDS: [&str; 7] = [
    "wall_seconds",
    "train/timesteps_per_second",
    "train/step_milliseconds",
    "evaluation/env_steps_per_second",
    "time/collect_seconds",
    "time/update_seconds",
    "time/env_steps_per_second",
];

/// The lines that have a name, without all that no two runs have in common. JSON keeps every bit of a number here.
pub fn lines_with(run: &Path, name: &str) -> Vec<Value> {
    let mut lines = metrics(run);
    lines.retain(|line| line.get(name).is_some());
    for line in &mut lines {
        SPEEDS.iter().for_each(|speed| {
            line.as_object_mut().unwrap().remove(*speed);
        });
    }
    lines
}

/// The steps of the lines that have a name.
pub fn steps_with(run: &Path, name: &str) -> Vec<u64> {
    lines_with(run, name).iter().map(|line| line["step"].as_u64().unwrap()).collect()
}
