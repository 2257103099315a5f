//! The jobs of runs and of saved policies, which may be older than an option.

use std::path::{Path, PathBuf};

use aaren_policy::checkpoint::say_older_options;
use anyhow::Result;
use serde_json::Value;

use super::{Changes, Job};

impl Job {
    /// The job that a run stored, with files laid over it and changes. Options that are newer than the run are as it was trained with.
    ///
    /// # Errors
    /// As [`Job::load`].
    pub(crate) fn load_stored(stored: &Path, files: &[PathBuf], changes: &Changes) -> Result<Job> {
        Self::load_over(Some(stored), files, changes)
    }

    /// The job that a saved policy brings along, with changes; as [`Job::load_stored`].
    ///
    /// # Errors
    /// As [`Job::load`].
    pub(crate) fn parse_stored(mut job: Value, changes: &Changes) -> Result<Job> {
        job.get_mut("policy").into_iter().for_each(say_older_options);
        Self::parse(&job.to_string(), changes)
    }
}
