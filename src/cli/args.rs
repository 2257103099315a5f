//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use aaren_agents::config::Changes;
use aaren_agents::run::{RunDir, report};
use anyhow::{Context, Result};
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
        let stems: Vec<_> = self.files.iter().filter_map(|file| file.file_stem()).map(|stem| stem.to_string_lossy()).collect();
        if stems.is_empty() { "quickstart".into() } else { stems.join("-") }
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

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// The newest.
    Latest,
    /// The one that evaluated best.
    Best,
    /// That of a step.
    Step(u64),
}

impl Checkpoint {
    /// Step and folder.
    pub fn of(self, run: &RunDir) -> Result<(u64, PathBuf)> {
        let path = run.path().display();
        match self {
            Checkpoint::Step(step) => Ok((step, run.checkpoint_at(step)?)),
            Checkpoint::Best => {
                let (step, _) = run.best()?.with_context(|| format!("the run {path} has no evaluation yet"))?;
                Ok((step, run.checkpoint_at(step)?))
            }
            Checkpoint::Latest => run
                .latest_checkpoint()?
                .with_context(|| format!("the run {path} has no checkpoint yet; train it with --resume first")),
        }
    }
}

pub fn parse_checkpoint(text: &str) -> Result<Checkpoint, String> {
    match text {
        "latest" => Ok(Checkpoint::Latest),
        "best" => Ok(Checkpoint::Best),
        step => step.parse().map(Checkpoint::Step).map_err(|_| "expected a step, \"latest\" or \"best\"".into()),
    }
}

/// More runs than anybody wants of one command.
const MOST_SEEDS: u64 = 1000;

/// Different seeds, at least two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// Reads `1..5`, both ends included, `1,2,7`, or a mixture.
pub fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let wrong = || "expected seeds such as 1..5, both ends included, or 1,2,7".to_string();
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once("..") {
            Some((first, last)) => (number(first)?, number(last.trim_start_matches('='))?),
            None => (number(part)?, number(part)?),
        };
        if first > last || last - first >= MOST_SEEDS {
            return Err(format!("{part} has no seeds, or more than {MOST_SEEDS}; {}", wrong()));
        }
        seeds.extend(first..=last);
    }
    let all = seeds.iter().collect::<std::collections::HashSet<_>>().len();
    match (seeds.len(), all == seeds.len()) {
        (1, _) => Err("expected at least two seeds; --seed is for one".into()),
        (_, false) => Err("one of the seeds is there twice".into()),
        _ => Ok(Seeds(seeds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_a_step_or_has_a_name() {
        assert_eq!(parse_checkpoint("latest"), Ok(Checkpoint::Latest));
        assert_eq!(parse_checkpoint("best"), Ok(Checkpoint::Best));
        assert_eq!(parse_checkpoint("500"), Ok(Checkpoint::Step(500)));
        assert!(parse_checkpoint("last").is_err());
    }
}
