//! The policy that is exported, and how it is executed.

use std::path::{Path, PathBuf};

use aaren_policy::AnyPolicy;
use anyhow::{Context, Result};

use crate::config::{Changes, Job};
use crate::device::Cpu;
use crate::play::{Evaluation, SavedPolicy};
use crate::run::RunDir;

/// A policy and how its job executes it.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it was looked for by.
    pub path: PathBuf,
    /// The policy.
    pub policy: AnyPolicy<Cpu>,
    /// Timesteps that it computes anew at every step; `None` carries its state along, as without a job that says otherwise.
    pub window: Option<usize>,
    /// The return that its job asks for first, if it is told one.
    pub target_return: Option<f64>,
}

impl Source {
    /// Looks for a policy, as [`SavedPolicy::find`] does; of a run the best checkpoint, or the newest where none was marked.
    ///
    /// # Errors
    /// If there is none, or its files are damaged.
    pub fn find(path: &Path) -> Result<Self> {
        let saved = SavedPolicy::find(path, RunDir::best_or_latest)?;
        let policy = saved.load().with_context(|| format!("cannot export {}", path.display()))?;
        let evaluation = match saved.job(&Changes::default())? {
            // Trained without an environment it has no window to be played in.
            Some(Job::Offline(job)) => Evaluation::try_from(&job).ok(),
            _ => None,
        };
        let window = evaluation.as_ref().and_then(|evaluation| evaluation.window);
        let target_return = evaluation.and_then(|evaluation| evaluation.target_returns.first().copied().flatten());
        Ok(Self { path: path.into(), policy, window, target_return })
    }
}
