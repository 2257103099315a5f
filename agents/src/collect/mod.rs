//! `aaren collect` for datasets made the D4RL way: behaviour policies, their episodes, and the files.
//!
//! The output folder holds everything. Finished episodes go into a journal in it, so a collection that is killed continues when the
//! same command runs again, and ends with the same bytes as one that was not. The dataset's files appear when they are complete, and
//! then the journal goes. Episodes are never in memory together; the HDF5 writer holds one file, uncompressed.
//!
//! ```
//! use aaren_agents::{collect::collect, config::{Changes, Job}};
//!
//! let text = r#"{"env": {"id": "Pendulum-v1"}, "collect": {"dataset": "random", "steps": 300}}"#;
//! let Job::Collect(job) = Job::parse(text, &Changes::default())? else { unreachable!() };
//! let folder = std::env::temp_dir().join(format!("aaren-collect-{}", std::process::id()));
//! let summary = collect(&job, &folder)?;
//! // Whole episodes, of 200 steps each.
//! assert_eq!((summary.parts[0].episodes, summary.parts[0].steps), (2, 400));
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod collection;
mod episodes;
mod folder;
mod journal;
mod policies;
mod summary;
mod training;

pub use collection::Collection;
pub use episodes::play_range;
pub use policies::{Provenance, export};
pub use summary::{PartSummary, Summary};

use std::path::Path;

use anyhow::Result;

use crate::config::CollectJob;

/// Makes the dataset that a job asks for in an output folder, or continues one.
///
/// # Errors
/// If something else is in the folder, a behaviour policy is missing or not the task's, the disk refuses, or an interrupt; what
/// was collected is then kept.
pub fn collect(job: &CollectJob, output: &Path) -> Result<Summary> {
    let mut collection = Collection::begin(job, output)?;
    collection.play()?;
    collection.finish()
}
