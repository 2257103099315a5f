//! `aaren-bench`: measurements that anybody can repeat, beside peers in Python where there are any.
//!
//! ```text
//! cargo run --release -p aaren-bench -- act --json docs/results/2026-11-29-xeon/act.json
//! ```

mod act;
mod deadlines;
mod env;
mod evaluate;
mod gymnasium;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod launches;
mod measure;
mod memory;
mod mixers;
pub mod mqar;
mod peers;
mod ppo;
mod products;
mod scan;
mod sequence;
mod train;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Measurements that anybody can repeat, beside peers in Python where there are any.
#[derive(Debug, Parser)]
#[command(name = "aaren-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    what: What,
    /// Also write the figures to this file, with the command, the commit and the machine that made them
    #[arg(long, value_name = "FILE", global = true)]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The cost of an environment step: microseconds and bytes of state, along an episode
    Act(act::ActArgs),
    /// Several robots that one thread acts for: answers that come too late
    Deadlines(deadlines::DeadlinesArgs),
    /// Environment steps a second, beside the bare simulator, and Gymnasium and EnvPool where they are installed
    Env(env::EnvArgs),
    /// A vector step of environments in Python through a worker process, beside Gymnasium's own vectors
    Gymnasium(gymnasium::GymnasiumArgs),
    /// Episodes of Hopper-v5 with a policy in actor threads, and where the time goes
    Evaluate(evaluate::EvaluateArgs),
    /// Tasks that need memory: every mixer trained with the same budget, and its score against the difficulty
    Memory(memory::MemoryArgs),
    /// Every mixer beside the others: parameters, time of an optimizer step, time of an environment step, bytes of state
    Mixers(mixers::MixersArgs),
    /// The time of an optimizer step, beside PyTorch where it is installed
    Train(train::TrainArgs),
    /// Multi-query associative recall: the accuracy of every mixer trained alike, and what it costs
    Mqar(mqar::MqarArgs),
    /// The kernels that an optimizer step launches on a GPU, and its memory
    #[cfg(any(feature = "vulkan", feature = "cuda"))]
    Launches(launches::LaunchesArgs),
    /// A task on sequences, learnt beside PyTorch from the same batches: time of an optimizer step and of an answer, and what is reached
    Sequence(sequence::SequenceArgs),
    /// The scan's bandwidth, beside a copy, tensor operations, attention, and PyTorch where it is installed
    Scan(scan::ScanArgs),
    /// The time until online training reaches a score, beside stable-baselines3 where it is installed
    Ppo(ppo::PpoArgs),
}

impl Cli {
    /// Measures, prints a table and writes the file.
    ///
    /// # Errors
    /// If an argument does not fit, the thread pool cannot be made, a file cannot be written, or the user interrupts.
    pub fn run(self) -> Result<()> {
        // A signal stops a measurement at a step, so that what was measured is not lost.
        let _steps = aaren_agents::run::interrupt::Steps::new();
        let json = self.json.as_deref();
        json.map_or(Ok(()), |path| aaren_agents::run::check_json_file(path, &["command", "machine"])).context("--json")?;
        match self.what {
            What::Act(args) => act::run(&args, json),
            What::Deadlines(args) => deadlines::run(&args, json),
            What::Env(args) => env::run(&args, json),
            What::Gymnasium(args) => gymnasium::run(&args, json),
            What::Evaluate(args) => evaluate::run(&args, json),
            What::Memory(args) => memory::run(&args, json),
            What::Mixers(args) => mixers::run(&args, json),
            What::Train(args) => train::run(&args, json),
            What::Mqar(args) => mqar::run(&args, json),
            #[cfg(any(feature = "vulkan", feature = "cuda"))]
            What::Launches(args) => launches::run(&args, json),
            What::Sequence(args) => sequence::run(&args, json),
            What::Scan(args) => scan::run(&args, json),
            What::Ppo(args) => ppo::run(&args, json),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        super::Cli::command().debug_assert();
    }
}
