//! What is left on disk and said: run folders, metrics, reports, and signals.
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
mod csv;
pub(crate) mod data_mark;
mod differing;
pub(crate) mod encoding;
pub(crate) mod files;
mod folder;
pub mod interrupt;
mod lock;
pub mod made_by;
pub(crate) mod metrics;
mod output;
pub mod process;
pub mod progress;
pub mod report;
mod tensorboard;
#[cfg(test)]
#[path = "../../tests/internal/tensorboard.rs"]
mod tensorboard_tests;
pub(crate) mod words;

pub use cache_report::CacheReport;
pub use data_mark::DataMark;
pub use differing::differing_keys;
pub(crate) use differing::is_without_effect;
pub(crate) use files::{write_atomically, write_new, write_output};
pub use files::{write_json_atomically, write_json_output};
pub(crate) use folder::{AGENT, BEGUN_FROM, CONVERTED, EVALUATIONS, IMPORTED, is_of_step};
pub use folder::{RunDir, Taken};
pub(crate) use output::check_signed_file;
pub use output::{check_file, check_folder, check_json_file};
pub use tensorboard::log_video;
