//! Trajectories on disk: datasets of Minari and D4RL, read, written, checked, described and scored.
//!
//! [`load`] reads a file or directory in any known format, [`save`](save()) writes one, [`verify`](verify()) checks the numbers,
//! [`Statistics`] and [`Summary`] describe them. [`scripted`] makes datasets with policies that need no learning.
//!
//! ```
//! use aaren_data::{Format, Statistics, load, save, scripted};
//!
//! let config = serde_json::json!({"env": "TMaze-v0", "options": {"corridor": 5}, "episodes": 20, "seed": 1});
//! let mut dataset = scripted::collect(&serde_json::from_value(config)?)?;
//! dataset.id = "my/tmaze-v0".into();
//! let folder = tempfile::tempdir()?;
//! save(&dataset, &folder.path().join("tmaze"), Format::Minari, false)?;
//!
//! let loaded = load(folder.path().join("tmaze").to_str().unwrap())?;
//! assert_eq!(loaded.dataset.trajectories, dataset.trajectories);
//! assert_eq!(Statistics::of(&loaded.dataset, None).returns.mean, 1.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod d4rl;
mod episode;
mod error;
mod format;
mod hdf5;
mod load;
mod loaded;
pub mod minari;
mod provenance;
mod report;
mod rescale;
mod save;
pub mod score;
pub mod scripted;
pub mod sequences;
pub mod statistics;
mod summary;
mod trajectory;
mod verify;

pub use episode::{Episode, Episodes, StepInfos, Visit};
pub use error::DatasetError;
pub use format::{Format, JOURNAL};
pub use load::{load, load_with, verify_source};
pub use loaded::{Incomplete, LoadOptions, Loaded};
pub use provenance::task_differences;
pub use report::{Check, Finding, Report, Strictness};
pub use rescale::rescale_actions;
pub use save::{check_place, remove, remove_leftovers, save, save_episodes};
pub use statistics::Statistics;
pub use summary::Summary;
pub use trajectory::{Actions, Dataset, Trajectory};
pub use verify::{ACTION_TOLERANCE, verify};
