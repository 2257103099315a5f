//! What is left on disk and said: run folders, metrics, reports, and Ctrl-C.
//!
//! ```
//! use aaren_agents::{config::OfflineJob, run::RunDir};
//!
//! let folder = std::env::temp_dir().join(format!("aaren-run-{}", std::process::id()));
//! let run = RunDir::create(&folder, &OfflineJob::quickstart(&[])?, 2)?;
//! run.checkpoint(7, |checkpoint| Ok(std::fs::write(checkpoint.join("weights"), "...")?))?;
//! assert_eq!(run.latest_checkpoint()?.unwrap().0, 7);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

pub(crate) mod cache_report;
pub(crate) mod data_mark;
mod folder;
pub mod interrupt;
pub(crate) mod metrics;
pub mod process;
pub mod progress;
pub mod report;
mod tensorboard;
#[cfg(test)]
mod tensorboard_tests;

pub use cache_report::CacheReport;
pub use folder::{RunDir, write_json_atomically};
pub(crate) use folder::{differing_keys, write_atomically};
