//! What is left on disk and said: run folders, metrics, reports, and Ctrl-C.
//!
//! ```
//! use aaren_agents::{config::OfflineJob, run::RunDir};
//!
//! let folder = std::env::temp_dir().join(format!("aaren-run-{}", std::process::id()));
//! let run = RunDir::create(&folder, &OfflineJob::quickstart(&[])?, 2)?;
//! assert!(run.latest_checkpoint()?.is_none() && run.path().join("config.json").is_file());
//! assert!(RunDir::create(&folder, &OfflineJob::quickstart(&[])?, 2).is_err());
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

pub(crate) mod cache_report;
mod folder;
pub mod interrupt;
pub(crate) mod metrics;
pub mod process;
pub mod progress;
pub mod report;
mod tensorboard;
#[cfg(test)]
#[path = "../../tests/internal/tensorboard.rs"]
mod tensorboard_tests;

pub use cache_report::CacheReport;
pub(crate) use folder::write_atomically;
pub use folder::{RunDir, differing_keys, write_json_atomically};
