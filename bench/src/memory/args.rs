//! The options.

use super::task::difficulty;
use clap::Args;
use std::{num::NonZeroUsize, path::PathBuf};

/// Options of `aaren-bench memory`.
///
/// Each cell is an ordinary job in a run folder of its own: a decision policy is trained on whole scripted episodes, one token a
/// timestep, and evaluated in the task by actor threads, streaming. All mixers have the same width, and about the same number of
/// parameters: the width of their feed-forward layers is chosen so that the number comes nearest to that of aaren with
/// feed-forward layers of four times the width. Ctrl-C keeps what is finished, and
/// the same command continues from there. The file of --json is written after every row.
#[derive(Debug, Args)]
pub struct MemoryArgs {
    /// Tasks, with a comma between, each with difficulties behind colons or its usual ones: for example tmaze:20:2000,repeat-previous:4.
    /// There are tmaze (corridor), repeat-previous (k), last-cue (cues), repeat-first, count-recall and higher-lower (decks), bandit
    /// (arms), noisy-pendulum (noise), delayed-pendulum (steps from one payment to the next) and cart-pole (time limit)
    #[arg(long, value_name = "TASK[:DIFFICULTY..]", value_delimiter = ',', default_value = "tmaze,repeat-previous")]
    pub tasks: Vec<String>,
    /// Difficulties of a single task, with a comma between
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = difficulty)]
    pub difficulty: Vec<f64>,
    /// Mixers, with a comma between; several in turn are joined by + [default: all mixers and stacks]
    #[arg(long, value_name = "MIXER[+MIXER..]", value_delimiter = ',')]
    pub mixers: Vec<String>,
    /// Seeds 1 to N
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seeds: u64,
    /// Optimizer steps
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub steps: u64,
    /// Timesteps of a batch; as many whole episodes as fit, but at least four
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub batch: usize,
    /// AdamW's step size, after a tenth of the steps
    #[arg(long, default_value_t = 2e-3)]
    pub learning_rate: f64,
    /// Blocks; a stack of more mixers has as many as it needs
    #[arg(long, default_value = "2")]
    pub layers: NonZeroUsize,
    /// Width of the residual stream
    #[arg(long, default_value_t = 64)]
    pub width: usize,
    /// Attention heads, where there are some
    #[arg(long, default_value_t = 1)]
    pub heads: usize,
    /// Parameters to come near to [default: those of aaren]
    #[arg(long, value_name = "N")]
    pub parameters: Option<usize>,
    /// How often the scripted player of all but the pendulums does the right thing
    #[arg(long, value_name = "PROBABILITY", default_value_t = 1.0)]
    pub quality: f64,
    /// Episodes that a policy is judged by
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub episodes: usize,
    /// Set one key of every job, for example --set policy.options.window.tokens=128
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub overrides: Vec<String>,
    /// Threads for tensor operations, and actors; scores do not depend on it
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Folder of the run folders
    #[arg(long, value_name = "DIR", default_value = "runs/bench-memory")]
    pub runs: PathBuf,
}
