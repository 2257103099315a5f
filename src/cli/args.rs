//! Arguments that several commands share.

use std::path::PathBuf;

use aaren_agents::config::Changes;
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
    #[command(flatten)]
    pub changes: Changes,
}

impl JobArgs {
    /// What the job's files call it: their names joined, or `quickstart` without one.
    pub fn name(&self) -> String {
        TrainRequest { files: self.files.clone(), ..TrainRequest::default() }.name()
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

/// Different seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// Reads at least two seeds.
pub fn parse_seeds(text: &str) -> Result<Seeds, String> {
    match aaren_agents::config::parse_seeds(text)? {
        seeds if seeds.len() == 1 => Err("expected at least two seeds; --seed is for one".into()),
        seeds => Ok(Seeds(seeds)),
    }
}
