//! The mark of the checkpoint that evaluated best.

use std::path::PathBuf;

use aaren_envs::read_text;
use anyhow::{Context, Result};

use super::{RunDir, checkpoint_name, parse_checkpoint_name};
use crate::run::files::{BEST, if_there, write_atomically};

impl RunDir {
    /// Marks the checkpoint of a step as the best so far, with the return that it reached, unless the one marked before reached
    /// more. Pruning keeps the marked one, and no longer the one marked before. A return that is not a number is never the best.
    ///
    /// # Errors
    /// If the marker cannot be written.
    pub(crate) fn mark_best(&self, step: u64, return_mean: f64) -> Result<()> {
        if return_mean.is_nan() || self.marked().is_some_and(|(_, best)| best > return_mean) {
            return Ok(());
        }
        write_atomically(&self.path.join(BEST), format!("{} {return_mean}\n", checkpoint_name(step)).as_bytes())
    }

    /// The step marked best and the return that it reached, if one is.
    ///
    /// # Errors
    /// If the mark is damaged: which checkpoint is the best is then not known.
    pub fn best(&self) -> Result<Option<(u64, f64)>> {
        let path = self.path.join(BEST);
        let Some(text) = if_there(&path, read_text(&path))? else { return Ok(None) };
        let mark = || {
            let (name, return_mean) = text.trim().split_once(' ')?;
            let return_mean: f64 = return_mean.parse().ok()?;
            Some((parse_checkpoint_name(name)?, return_mean))
        };
        let damaged = || {
            let (found, checkpoints) = (text.chars().take(40).collect::<String>(), self.checkpoints());
            format!(
                "{}: found {found:?}, expected a checkpoint and its return; name one of the folders in {}, or remove the file to take the \
                 newest",
                path.display(),
                checkpoints.display()
            )
        };
        // Older versions marked returns that are not numbers.
        Ok(Some(mark().with_context(damaged)?).filter(|(_, return_mean)| !return_mean.is_nan()))
    }

    /// Step and folder of the checkpoint marked best, or of the newest where none is marked.
    ///
    /// # Errors
    /// If the mark is damaged, what it names is gone, or there is no checkpoint.
    pub(crate) fn best_or_latest(&self) -> Result<(u64, PathBuf)> {
        match self.best()? {
            Some((step, _)) => Ok((step, self.checkpoint_at(step)?)),
            None => self
                .latest_checkpoint()?
                .with_context(|| format!("the run {} has no checkpoint yet; train it with --resume first", self.path.display())),
        }
    }

    /// The same while the run is written, where a damaged mark is as none: the next evaluation writes it anew.
    pub(super) fn marked(&self) -> Option<(u64, f64)> {
        self.best().ok().flatten()
    }
}
