//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use aaren_agents::config::Changes;
pub use aaren_agents::jobs::Checkpoint;
use aaren_agents::jobs::TrainRequest;
use aaren_agents::run::report;
use anyhow::Result;
use clap::Args;

/// The job of a command, and what flags change in it.
#[derive(Clone, Debug, Args)]
pub struct JobArgs {
    /// Jobs, TOML or JSON files, each laid over those before it; without one the built-in quickstart
    #[arg(value_name = "JOB")]
    pub files: Vec<PathBuf>,
    /// Set any key of the job, for example --set train.steps=500
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
    /// Sequence mixer; `aaren mixers` lists them [sets policy.mixer]
    #[arg(long, value_name = "NAME")]
    pub mixer: Option<String>,
    /// Task; `aaren envs` lists them [sets env.id]
    #[arg(long, value_name = "ID")]
    pub env: Option<String>,
    /// Dataset to train on, a path or the id of a local Minari dataset; may be repeated [sets data.source]
    #[arg(long, value_name = "SOURCE")]
    pub data: Vec<String>,
    /// Steps after which every episode of the datasets is cut, and their time limit [sets data.max_episode_steps]
    #[arg(long, value_name = "N")]
    pub max_episode_steps: Option<usize>,
    /// Root of every random number [sets seed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Refuse what looks wrong with the job or its data, in place of a warning [sets strict]
    #[arg(long)]
    pub strict: bool,
}

impl JobArgs {
    /// What the flags change in the job.
    pub fn changes(&self) -> Changes {
        let Self { files: _, set, mixer, env, data, max_episode_steps, seed, strict } = self.clone();
        Changes { set, mixer, env, data, max_episode_steps, seed, device: None, strict }
    }

    /// What the job's files call it: their names joined, or `quickstart` without one.
    pub fn name(&self) -> String {
        TrainRequest { files: self.files.clone(), ..TrainRequest::default() }.name()
    }

    /// `runs/NAME` after the job's files; where that is taken, a run takes the next number.
    pub fn default_run(&self) -> PathBuf {
        Path::new("runs").join(self.name())
    }
}

/// How a list is printed.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

/// Prints a value as JSON, or what it looks like to a person.
pub fn show(json: bool, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<()> {
    report::print(if json { serde_json::to_string_pretty(value)? } else { text() })
}

/// Different seeds, at least two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// Reads at least two seeds.
pub fn parse_seeds(text: &str) -> Result<Seeds, String> {
    match aaren_agents::config::parse_seeds(text)? {
        seeds if seeds.len() == 1 => Err("expected at least two seeds; --seed is for one".into()),
        seeds => Ok(Seeds(seeds)),
    }
}
