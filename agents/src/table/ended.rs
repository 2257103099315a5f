//! How the runs of a table ended.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use aaren_envs::read_text;
use anyhow::{Context, Result};
use serde::Serialize;

use crate::run::process::message;
use crate::run::report::{EvaluationReport, duration};

/// A run of a table that ended, now or before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// Its run folder.
    pub run: PathBuf,
    /// Seconds that it took now; none where nothing was done.
    pub seconds: Option<f64>,
    /// How it ended.
    #[serde(flatten)]
    pub how: How,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum How {
    /// It was finished before, or by another process.
    #[serde(rename = "finished-before")]
    Before,
    /// It came to its end.
    Finished {
        /// What it reached, in a line.
        reached: String,
    },
    /// It did not.
    Failed {
        /// Why.
        error: String,
        /// What its process said.
        log: Option<PathBuf>,
    },
}

impl How {
    /// That of a run whose process ended well.
    pub(super) fn of_run(run: &Path) -> Self {
        let read = || -> Result<EvaluationReport> {
            let path = run.join("evaluation.json");
            let text = read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is not a result of this version", path.display()))
        };
        match read() {
            Ok(report) => How::Finished { reached: report.line() },
            Err(error) => How::Failed { error: message(&error), log: None },
        }
    }
}

impl Ended {
    /// Whether it is at its end.
    pub fn is_finished(&self) -> bool {
        !matches!(self.how, How::Failed { .. })
    }
}

/// In one line.
impl Display for Ended {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.how {
            How::Before => f.write_str("finished before")?,
            How::Finished { reached } if reached.is_empty() => f.write_str("trained")?,
            How::Finished { reached } => f.write_str(reached)?,
            How::Failed { error, log } => {
                write!(f, "failed: {error}")?;
                log.iter().try_for_each(|log| write!(f, " ({})", log.display()))?;
            }
        }
        self.seconds.map_or(Ok(()), |seconds| write!(f, ", {}", duration((10.0 * seconds).round() / 10.0)))
    }
}
