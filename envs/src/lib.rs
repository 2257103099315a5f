//! Environments with Gymnasium's semantics.
//!
//! [`make`] builds a task by name as a boxed [`Env`]: `reset` and `step` with terminated and truncated kept apart, seeds that
//! give Gymnasium's start states, and no allocation in a step. [`tasks`] lists the names. [`VectorEnv`] steps several copies into
//! batched buffers.
//!
//! `gymnasium:` and the name of an environment of Gymnasium, such as `gymnasium:LunarLander-v3`, is that one, in a Python process.
//!
//! A new environment implements [`Task`], its dynamics alone; [`TimeLimit`] adds the rest of the contract. [`register`] gives it a
//! name, and [`check_env`] checks it. [`replay`] compares a task with a recording of the original, [`scripted`] has policies that
//! need no learning.
//!
//! ```
//! use aaren_envs::{Action, make};
//!
//! let mut env = make("TMaze-v0", &Default::default())?;
//! let mut observation = vec![0.0; env.spec().observation_space.width()];
//! env.reset(Some(7), &mut observation)?;
//! let step = env.step(Action::Discrete(0), &mut observation)?;
//! assert!(!step.end.is_end());
//! # Ok::<(), aaren_envs::EnvError>(())
//! ```

mod bare;
mod cartpole;
mod check;
mod count_recall;
mod delayed_reward;
mod env;
mod error;
#[cfg(test)]
#[path = "../tests/fixtures/mod.rs"]
mod fixtures;
mod gymnasium;
mod higher_lower;
mod last_cue;
#[cfg(feature = "mujoco")]
mod mujoco;
mod multiarmed_bandit;
mod options;
mod passive_tmaze;
mod pendulum;
mod pile;
mod point_maze;
mod registry;
mod render;
mod repeat_first;
mod repeat_previous;
mod replay;
mod rng;
pub mod scripted;
mod space;
mod task;
mod text_file;
mod time_limit;
mod tmaze;
mod vector;

pub use bare::BareSimulation;
pub use check::check_env;
pub use env::{Action, Env, Spec, Step, StepEnd};
pub use error::EnvError;
pub use gymnasium::{GYMNASIUM_OPTIONS, gymnasium_name, gymnasium_spec, set_interpreter};
pub use options::{OptionDefault, OptionInfo, Options};
pub use registry::{TaskInfo, bare_simulation, known_spec, make, make_copies, mujoco_version, register, renderer, tasks};
pub use render::{Moment, Renderer};
pub use replay::{ReplayReport, replay};
pub use rng::{Generator, derive_seed};
pub use space::{Dtype, Space};
pub use task::{Outcome, Task};
pub use text_file::read_text;
pub use time_limit::TimeLimit;
pub use vector::{ActionBatch, Autoreset, VectorEnv};
