//! Learning from trajectories.
//!
//! ```
//! use aaren_agents::{config::OfflineJob, offline::{train, trajectories}, run::RunDir};
//!
//! let settings = ["env.options.corridor=3", "data.scripted.episodes=5", "train.steps=2", "evaluation.final_episodes=2"];
//! let job = OfflineJob::quickstart(&settings.map(String::from))?;
//! let folder = std::env::temp_dir().join(format!("aaren-offline-{}", std::process::id()));
//! let run = RunDir::create(&folder, &job, 1)?;
//! let (trained, evaluation) = train(&job, trajectories(&job)?, &run, false)?;
//! assert_eq!((trained.steps, evaluation.checkpoint_step), (2, 2));
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod batch;
mod begin;
mod convert;
pub(crate) mod data;
pub(crate) mod describe;
pub(crate) mod held_out;
mod import;
pub(crate) mod learner;
#[cfg(test)]
#[path = "../../tests/internal/presets.rs"]
mod presets_tests;
mod review;
mod segments;
pub(crate) mod sequences;
mod source;
mod train;
pub(crate) mod trial;

pub use batch::DeviceBatch;
pub use begin::begin_from;
pub use convert::{Conversion, convert};
pub(crate) use data::expect_alike;
pub use data::trajectories;
pub use describe::describe;
pub use import::{Import, ImportOptions, StatisticsSource, import};
pub use learner::Learner;
pub(crate) use review::beyond;
pub use review::review;
pub(crate) use sequences::describe_sequences;
pub use sequences::{SequenceTrainer, begin_sequences_from, train_sequences};
pub use train::{train, train_together};
