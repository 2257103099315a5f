//! `aaren bench`: measurements that anybody can repeat, beside peers in Python where there are any.

mod act;
mod env;
mod evaluate;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod launches;
pub mod memory;
mod mixers;
pub mod mqar;
pub mod peers;
mod ppo;
mod scan;
mod train;

use aaren_agents::run::report;
use aaren_policy::{ActionSpec, Description, Normalizer, PolicyConfig};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;

/// What to measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The cost of an environment step: microseconds and bytes of state, along an episode
    Act(act::ActArgs),
    /// Environment steps a second, beside the bare simulator, and Gymnasium and EnvPool where they are installed
    Env(env::EnvArgs),
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
    /// The kernels that an optimizer step launches on a graphics card, and its memory
    #[cfg(any(feature = "vulkan", feature = "cuda"))]
    Launches(launches::LaunchesArgs),
    /// The scan's bandwidth, beside a copy, tensor operations, attention, and PyTorch where it is installed
    Scan(scan::ScanArgs),
    /// The time until online training reaches a score, beside stable-baselines3 where it is installed
    Ppo(ppo::PpoArgs),
}

/// Measures it.
///
/// # Errors
/// If the thread pool cannot be made, a file cannot be written, or the user interrupts.
pub fn run(args: BenchArgs) -> Result<()> {
    match args.what {
        What::Act(args) => act::run(&args),
        What::Env(args) => env::run(&args),
        What::Evaluate(args) => evaluate::run(&args),
        What::Memory(args) => memory::run(&args),
        What::Mixers(args) => mixers::run(&args),
        What::Train(args) => train::run(&args),
        What::Mqar(args) => mqar::run(&args),
        #[cfg(any(feature = "vulkan", feature = "cuda"))]
        What::Launches(args) => launches::run(&args),
        What::Scan(args) => scan::run(&args),
        What::Ppo(args) => ppo::run(&args),
    }
}

/// A policy of the Decision Transformer's size for a task with 11 observations and 3 actions (the Hopper's).
pub(crate) fn description(mixer: &str) -> Description {
    Description {
        format: Description::FORMAT,
        config: PolicyConfig { mixer: mixer.into(), ..PolicyConfig::default() },
        normalizer: Normalizer::identity(11),
        action: ActionSpec::Continuous { low: vec![-1.0; 3], high: vec![1.0; 3] },
        environment: serde_json::Value::Null,
    }
}

/// Where a measurement was made.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    version: &'static str,
}

impl Machine {
    fn here() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
        Self {
            processor: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |model| model.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    fn render(&self) -> String {
        let profile = if cfg!(debug_assertions) {
            "a build with debug assertions; quote figures of a release build"
        } else {
            "release build"
        };
        format!("{}, {} cores, aaren {}, {profile}", self.processor, self.cores, self.version)
    }
}

/// Runs work with a given number of threads for tensor operations.
fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot make a thread pool")?;
    Ok(pool.install(work))
}

/// Prints a table and writes the same as JSON if asked to.
fn publish(text: String, json: Option<&PathBuf>, value: &impl Serialize) -> Result<()> {
    report::print(text)?;
    if let Some(path) = json {
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        aaren_agents::run::write_atomically(path, &text)?;
    }
    Ok(())
}
