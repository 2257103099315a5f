//! Reinforcement learning with recurrent attention: policies are trained in parallel over whole trajectories and executed step by
//! step with a state that never grows, by one and the same function.
//!
//! The rooms are crates of their own, here under short names: [`kernels`] (ops with their gradients), [`policy`] (tokens, mixers,
//! models), [`envs`] (tasks), [`data`] (trajectories on disk) and [`agents`] (jobs: train, play, compare). [`prelude`] has what most
//! programs need. The binary `aaren` runs the same jobs from the command line.
//!
//! ```
//! use aaren::prelude::*;
//!
//! // The quickstart with a shorter corridor and fewer steps: remember a cue until the end of it.
//! let settings = ["env.options.corridor=5", "data.scripted.episodes=50", "train.steps=3", "evaluation.final_episodes=2"];
//! let job = OfflineJob::quickstart(&settings.map(String::from))?;
//! let folder = std::env::temp_dir().join(format!("aaren-first-page-{}", std::process::id()));
//! let run = RunDir::create(&folder, &job, job.train.keep_checkpoints)?;
//! let (trained, evaluation) = train_offline(&job, trajectories(&job)?, &run, false)?;
//! assert_eq!((trained.steps, evaluation.targets[0].episodes), (3, 2));
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! `examples/` has four programs of a page: `own_env.rs`, `own_mixer.rs`, `train_offline.rs` and `act.rs`.

mod cli;

use std::ffi::OsString;

pub use {aaren_agents as agents, aaren_data as data, aaren_envs as envs, aaren_kernels as kernels, aaren_policy as policy};

/// What most programs need.
///
/// ```
/// use aaren::prelude::*;
///
/// let env = make("TMaze-v0", &Default::default())?;
/// assert_eq!(env.spec().id, "TMaze-v0");
/// # Ok::<(), EnvError>(())
/// ```
pub mod prelude {
    pub use aaren_agents::config::{Changes, Job, OfflineJob, PpoJob};
    pub use aaren_agents::device::{CPU, Cpu};
    pub use aaren_agents::offline::train as train_offline;
    pub use aaren_agents::offline::trajectories;
    pub use aaren_agents::play::{Evaluation, evaluate};
    pub use aaren_agents::ppo::train as train_ppo;
    pub use aaren_agents::run::RunDir;
    pub use aaren_agents::session::{NoObserver, Observer};
    pub use aaren_data::{Dataset, Trajectory, load};
    pub use aaren_envs::{
        Action, Dtype, Env, EnvError, Generator, Outcome, Space, Step, StepEnd, Task, TimeLimit, VectorEnv, make,
    };
    pub use aaren_policy::mixer::{Mixer, MixerFamily, Sizes};
    pub use aaren_policy::{AnyPolicy, Dropout, Init, KernelBackend, PolicyConfig, Reset, checkpoint};
}

/// Runs the program `aaren` as the whole work of a process: these are its arguments, the first one its name. Gives the exit code.
///
/// It handles signals, sets up the log, and ends the process itself where arguments make no command.
#[doc(hidden)]
pub fn run_program(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = <cli::Cli as clap::Parser>::parse_from(arguments);
    agents::run::made_by::set_commit(COMMIT);
    agents::run::process::exit_code(cli.verbosity(), || cli.run())
}

/// The commit that this was built from.
#[doc(hidden)]
pub const COMMIT: &str = env!("AAREN_COMMIT");

/// Version, commit, features and profile.
#[doc(hidden)]
pub const VERSION: &str = env!("AAREN_VERSION");
