//! The command line: what can be typed; each command has a file of its own.

mod collect;
mod compare;
mod completions;
mod convert;
mod dataset;
mod devices;
mod envs;
mod evaluate;
mod export;
mod inspect;
mod mixers;
mod schema;
mod train;

use std::path::PathBuf;

use aaren_agents::config::Changes;
use aaren_agents::run::{RunDir, report};
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

/// Reinforcement learning with attention as a recurrent network.
#[derive(Debug, Parser)]
#[command(name = "aaren", version = env!("AAREN_VERSION"), after_help = "AAREN_LOG=info (or debug) says more on stderr.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a policy on trajectories or online, and evaluate it
    Train(train::TrainArgs),
    /// Evaluate a trained policy with actor threads
    Evaluate(evaluate::EvaluateArgs),
    /// Put the results of several runs side by side
    Compare(compare::CompareArgs),
    /// Collect a dataset: scripted episodes, or those of behaviour policies as D4RL's are
    Collect(collect::CollectArgs),
    /// Carry a run's trained weights over to another mixer with the same parameters, in a run of its own
    Convert(convert::ConvertArgs),
    /// Copy a policy out of a run, with where it comes from
    Export(export::ExportArgs),
    /// Describe, check or convert a dataset
    Dataset {
        #[command(subcommand)]
        command: dataset::Command,
    },
    /// Show what a job's config means, sizes and all
    Inspect(inspect::InspectArgs),
    /// List the environments, or replay a recording in one
    Envs {
        /// Print the list as JSON in place of a table
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        command: Option<envs::Command>,
    },
    /// List the mixers
    Mixers(ListArgs),
    /// List the devices that policies can be trained on, and why the rest cannot be used
    Devices(ListArgs),
    /// Print the JSON Schema of a job, made from what reads one
    Schema(schema::SchemaArgs),
    /// Print what a shell needs to complete commands and flags
    Completions(completions::CompletionsArgs),
    /// Print the manual's page
    Man(completions::ManArgs),
}

#[derive(Clone, Debug, Args)]
struct JobArgs {
    /// Jobs, TOML or JSON files, each laid over those before it; without one the built-in quickstart
    #[arg(value_name = "JOB")]
    files: Vec<PathBuf>,
    /// Set any key of the job, for example --set train.steps=500
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Sequence mixer; `aaren mixers` lists them [sets policy.mixer]
    #[arg(long, value_name = "NAME")]
    mixer: Option<String>,
    /// Task; `aaren envs` lists them [sets env.id]
    #[arg(long, value_name = "ID")]
    env: Option<String>,
    /// Dataset to train on, a path or the id of a local Minari dataset; may be repeated [sets data.source]
    #[arg(long, value_name = "SOURCE")]
    data: Vec<String>,
    /// Root of every random number [sets seed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl JobArgs {
    /// What the flags change in the job.
    fn changes(&self) -> Changes {
        let Self { files: _, set, mixer, env, data, seed } = self.clone();
        Changes { set, mixer, env, data, seed, device: None }
    }
}

/// How a list is printed.
#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// Prints a value as JSON, or what it looks like to a person.
fn show(json: bool, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<()> {
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
    fn of(self, run: &RunDir) -> Result<(u64, PathBuf)> {
        let path = run.path().display();
        match self {
            Checkpoint::Step(step) => Ok((step, run.checkpoint_at(step)?)),
            Checkpoint::Best => {
                let (step, _) = run.best().with_context(|| format!("the run {path} has no evaluation yet"))?;
                Ok((step, run.checkpoint_at(step)?))
            }
            Checkpoint::Latest => run
                .latest_checkpoint()?
                .with_context(|| format!("the run {path} has no checkpoint yet; train it with --resume first")),
        }
    }
}

fn parse_checkpoint(text: &str) -> Result<Checkpoint, String> {
    match text {
        "latest" => Ok(Checkpoint::Latest),
        "best" => Ok(Checkpoint::Best),
        step => step.parse().map(Checkpoint::Step).map_err(|_| "expected a step, \"latest\" or \"best\"".into()),
    }
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong, for one line on stderr.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Train(args) => train::run(&args),
            Command::Evaluate(args) => evaluate::run(&args),
            Command::Compare(args) => compare::run(args),
            Command::Collect(args) => collect::run(&args),
            Command::Convert(args) => convert::run(&args),
            Command::Export(args) => export::run(&args),
            Command::Dataset { command } => command.run(),
            Command::Inspect(args) => inspect::run(&args),
            Command::Envs { json, command } => envs::run(json, command),
            Command::Mixers(args) => mixers::run(&args),
            Command::Devices(args) => devices::run(&args),
            Command::Schema(args) => schema::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => completions::man(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_checkpoint_is_a_step_or_has_a_name() {
        assert_eq!(parse_checkpoint("latest"), Ok(Checkpoint::Latest));
        assert_eq!(parse_checkpoint("best"), Ok(Checkpoint::Best));
        assert_eq!(parse_checkpoint("500"), Ok(Checkpoint::Step(500)));
        assert!(parse_checkpoint("last").is_err());
    }
}
