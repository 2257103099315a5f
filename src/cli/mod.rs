//! The command line: what can be typed; each command has a file of its own.

mod args;
mod collect;
mod compare;
mod completions;
mod convert;
mod dataset;
mod devices;
mod envs;
mod evaluate;
mod export;
mod import;
mod inspect;
mod mixers;
mod predict;
mod schema;
mod seeds;
mod sequence_info;
mod table;
mod tasks;
mod train;

use aaren_agents::run::process::Verbosity;
use anyhow::Result;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

/// Reinforcement learning with attention as a recurrent network.
#[derive(Debug, Parser)]
#[command(name = "aaren", max_term_width = 80, version = env!("AAREN_VERSION"), after_help = "AAREN_LOG=info (or debug) says more on stderr, as -v (or -vv) does; NO_COLOR=1 says it without colours.")]
pub struct Cli {
    /// Say what is done, and how fast, on stderr; -vv says more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say nothing on stderr but errors: no progress, no warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a policy on trajectories or online, and evaluate it
    Train(train::TrainArgs),
    /// Train a run for every row, agent and seed of a manifest, and compare them
    Table(table::TableArgs),
    /// Evaluate a trained policy with actor threads
    Evaluate(evaluate::EvaluateArgs),
    /// Answer rows on stdin with a model of sequences, a line of JSON each, and keep the stream in a file
    Predict(predict::PredictArgs),
    /// Put the results of several runs side by side
    Compare(compare::CompareArgs),
    /// Collect a dataset: scripted episodes, or those of behaviour policies as D4RL's are
    Collect(collect::CollectArgs),
    /// Carry a run's trained weights over to another mixer with the same parameters, in a run of its own
    Convert(convert::ConvertArgs),
    /// Copy a policy out of a run, with where it comes from
    Export(export::ExportArgs),
    /// Make a run of a Decision Transformer that another program has trained
    Import(import::ImportArgs),
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
    /// List the tasks on sequences, or the keys of one of them
    Tasks(tasks::TasksArgs),
    /// List the mixers
    Mixers(args::ListArgs),
    /// List the devices that policies can be trained on, and why the rest cannot be used
    Devices(args::ListArgs),
    /// Print the JSON Schema of a job, made from what reads one
    Schema(schema::SchemaArgs),
    /// Print what a shell needs to complete commands and flags
    Completions(completions::CompletionsArgs),
    /// Print the manual's page
    Man(completions::ManArgs),
}

impl Cli {
    /// How much is said on stderr.
    pub fn verbosity(&self) -> Verbosity {
        let is_follower = matches!(&self.command, Command::Train(args) if args.is_follower());
        match (self.quiet || is_follower && self.verbose < 2, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        }
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong, for one line on stderr.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Train(args) => match &args.seeds {
                Some(seeds) => seeds::run(&args, seeds),
                None => train::run(&args),
            },
            Command::Table(args) => table::run(args),
            Command::Evaluate(args) => evaluate::run(&args),
            Command::Predict(args) => predict::run(&args),
            Command::Compare(args) => compare::run(&args),
            Command::Collect(args) => collect::run(&args),
            Command::Convert(args) => convert::run(&args),
            Command::Export(args) => export::run(&args),
            Command::Import(args) => import::run(&args),
            Command::Dataset { command } => command.run(),
            Command::Inspect(args) => inspect::run(&args),
            Command::Envs { json, command } => envs::run(json, command),
            Command::Tasks(args) => tasks::run(&args),
            Command::Mixers(args) => mixers::run(&args),
            Command::Devices(args) => devices::run(&args),
            Command::Schema(args) => schema::run(&args),
            Command::Completions(args) => completions::run(&args, Cli::command()),
            Command::Man(args) => completions::man(&args, Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
