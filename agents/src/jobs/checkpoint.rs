//! Which checkpoint of a run.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::run::RunDir;

/// Which checkpoint of a run.
///
/// ```
/// use aaren_agents::jobs::Checkpoint;
///
/// assert_eq!("best".parse(), Ok(Checkpoint::Best));
/// assert_eq!("500".parse(), Ok(Checkpoint::Step(500)));
/// assert!("last".parse::<Checkpoint>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// The newest.
    Latest,
    /// The one that evaluated best.
    Best,
    /// That of a step.
    Step(u64),
}

impl Checkpoint {
    /// Step and folder.
    ///
    /// # Errors
    /// If the run has none.
    pub fn of(self, run: &RunDir) -> Result<(u64, PathBuf)> {
        let path = run.path().display();
        match self {
            Checkpoint::Step(step) => Ok((step, run.checkpoint_at(step)?)),
            Checkpoint::Best => {
                let (step, _) = run.best()?.with_context(|| format!("the run {path} has no evaluation yet"))?;
                Ok((step, run.checkpoint_at(step)?))
            }
            Checkpoint::Latest => run
                .latest_checkpoint()?
                .with_context(|| format!("the run {path} has no checkpoint yet; train it with --resume first")),
        }
    }
}

impl FromStr for Checkpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latest" => Ok(Checkpoint::Latest),
            "best" => Ok(Checkpoint::Best),
            step => step.parse().map(Checkpoint::Step).map_err(|_| "expected a step, \"latest\" or \"best\"".into()),
        }
    }
}
