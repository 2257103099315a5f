//! Findings of the checks of a dataset.

use serde::Serialize;
use std::fmt;

/// How to treat what is suspicious, but not wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Warn.
    #[default]
    Normal,
    /// Refuse.
    Strict,
}

/// The checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// The file's structure: any other [`DatasetError`](crate::DatasetError).
    Structure,
    /// NaN or infinity in observations, actions or rewards.
    Finite,
    /// Array sizes against the spaces.
    Width,
    /// Continuous actions against the action space.
    ActionBounds,
    /// Observations outside the bounds of their space.
    ObservationBounds,
    /// Discrete actions against the action space.
    ActionIndex,
    /// `next_observations[i]` against `observations[i + 1]`.
    NextObservations,
    /// Rows after the last end of an episode.
    UnfinishedTail,
    /// Episodes against the time limit.
    EpisodeLength,
    /// Episodes whose last step carries no flag.
    OpenEnd,
    /// Episodes that are not there whole.
    Incomplete,
    /// Datasets and episodes without steps.
    Empty,
    /// A version outside the supported list.
    Version,
    /// Metadata that cannot be used.
    Metadata,
    /// The task that the data were made in against the registered one.
    Task,
}

/// One kind of fault, with the number of its occurrences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// How many numbers, rows or episodes are affected.
    pub count: usize,
    /// What is wrong and where it is first seen. Rows, columns, steps and episodes count from 0.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All findings in one dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Episodes checked.
    pub episodes: usize,
    /// Transitions checked.
    pub steps: usize,
    /// The task that the data were made in, with all that they say of it.
    pub task: Option<String>,
    /// Faults that make the dataset unusable.
    pub errors: Vec<Finding>,
    /// Other findings.
    pub warnings: Vec<Finding>,
}

impl Report {
    /// Whether the dataset can be used.
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }

    pub(crate) fn error(&mut self, check: Check, count: usize, text: String) {
        self.errors.push(Finding { check, count, text });
    }

    pub(crate) fn warn(&mut self, check: Check, count: usize, text: String) {
        self.warnings.push(Finding { check, count, text });
    }

    /// A warning, or an error in strict mode.
    pub(crate) fn suspect(&mut self, strictness: Strictness, check: Check, count: usize, text: String) {
        if strictness == Strictness::Strict { self.error(check, count, text) } else { self.warn(check, count, text) }
    }

    pub(crate) fn absorb(&mut self, mut other: Report) {
        self.errors.append(&mut other.errors);
        self.warnings.append(&mut other.warnings);
    }
}
