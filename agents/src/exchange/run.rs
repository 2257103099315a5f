//! The run folder of a job of several processes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::Ranks;
use crate::run::RunDir;

/// A run folder that rank 0 alone reads and writes; the others learn from it what is in there.
#[derive(Clone, Copy)]
pub struct SharedRun<'a> {
    run: Option<&'a RunDir>,
    ranks: &'a Ranks,
}

impl<'a> SharedRun<'a> {
    /// - `run`: on rank 0, and there alone
    pub fn new(run: Option<&'a RunDir>, ranks: &'a Ranks) -> Self {
        debug_assert_eq!(run.is_some(), ranks.is_first());
        Self { run, ranks }
    }

    /// The folder, on rank 0.
    pub fn first(&self) -> Option<&'a RunDir> {
        self.run
    }

    /// The processes.
    pub fn ranks(&self) -> &'a Ranks {
        self.ranks
    }

    /// Writes a file as [`RunDir::write_json`] does.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.run.map_or(Ok(()), |run| run.write_json(name, value))
    }

    /// As [`RunDir::load_newest`], on every rank: rank 0 finds the checkpoint, and the others load a copy of it.
    ///
    /// # Errors
    /// As there; or a rank that does not come.
    pub(crate) fn load_newest<T>(&self, mut load: impl FnMut(&Path) -> Result<T>) -> Result<Option<T>> {
        let mut newest: Option<PathBuf> = None;
        let loaded = self.run.map_or(Ok(None), |run| {
            run.load_newest(|folder| {
                let loaded = load(folder)?;
                newest = Some(folder.to_path_buf());
                Ok(loaded)
            })
        })?;
        self.on_copy(newest.as_deref(), loaded, load)
    }

    /// What `load` makes of a folder of rank 0: there it is in `loaded`, the others read a copy.
    ///
    /// # Errors
    /// What `load` returned, or a rank that does not come.
    pub(crate) fn on_copy<T>(
        &self,
        folder: Option<&Path>,
        loaded: Option<T>,
        mut load: impl FnMut(&Path) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.ranks.size() == 1 {
            return Ok(loaded);
        }
        let Some(copy) = self.ranks.copy_of_first(folder)? else { return Ok(loaded) };
        let entry = std::fs::read_dir(copy.path())?.next().context("rank 0 has an empty checkpoint")??;
        load(&entry.path()).map(Some)
    }

    /// Where the training can be taken up again, for errors.
    pub(crate) fn newest_checkpoint(&self) -> String {
        match self.run.map(RunDir::latest_checkpoint) {
            Some(Ok(Some((_, folder)))) => format!("training stopped; the newest checkpoint is {}", folder.display()),
            Some(_) => "training stopped before its first checkpoint".into(),
            None => "training stopped".into(),
        }
    }
}
