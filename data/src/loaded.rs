//! The result of reading a dataset, and the choices in reading.

use crate::format::Format;
use crate::report::{Finding, Report, Strictness};
use crate::trajectory::Dataset;
use std::path::PathBuf;

/// Choices in reading. The default refuses what is wrong, and warns about what is suspicious.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// How to treat what is suspicious.
    pub strictness: Strictness,
    /// D4RL: keep the rows after the last end of an episode, as a truncated episode, in place of dropping them.
    pub keep_unfinished: bool,
    /// Steps after which an episode is cut in any case, and truncated if it did not terminate; in place of the data's own time
    /// limit. D4RL without `timeouts` and with an unknown task needs it.
    pub max_episode_steps: Option<usize>,
    /// Steps after which the task that the data are for ends an episode: D4RL without `timeouts` is cut there, if neither the data nor
    /// [`LoadOptions::max_episode_steps`] say a limit.
    pub task_limit: Option<usize>,
    /// Minari: what becomes of episodes that are not there whole.
    pub incomplete: Incomplete,
}

/// What becomes of episodes that are not there whole: arrays that are missing or end early, no observation after the last action, no
/// steps, a file that was cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Incomplete {
    /// They are an error.
    #[default]
    Refuse,
    /// They are left out, with a warning that counts them.
    Skip,
}

/// A dataset that was read and passed the checks.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The dataset.
    pub dataset: Dataset,
    /// The format of the file.
    pub format: Format,
    /// The path as given, or as found in a Minari root.
    pub path: PathBuf,
    /// The warnings of the report.
    pub warnings: Vec<Finding>,
    /// The findings of the checks.
    pub report: Report,
}
