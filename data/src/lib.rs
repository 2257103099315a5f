//! Trajectories in memory: what every file format is read into and written from.
//!
//! [`load`] reads a file or directory in any known format, [`save`](save()) writes one, [`verify`](verify::verify) checks,
//! [`Statistics`] and [`Summary`] describe. [`scripted`] collects from scripted policies.

pub mod d4rl;
mod episode;
mod error;
mod hdf5;
pub mod minari;
mod save;
pub mod score;
pub mod scripted;
pub mod statistics;
mod summary;
pub mod verify;

pub use episode::{Episode, Episodes, StepInfos, Visit};
pub use error::DatasetError;
pub use save::{remove_leftovers, save, save_episodes};
pub use statistics::Statistics;
pub use summary::Summary;

use aaren_envs::{Space, StepEnd};
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};
use verify::{Finding, Report, Strictness};

/// The actions of one trajectory.
#[derive(Clone, Debug, PartialEq)]
pub enum Actions {
    /// `[time, action width]`, row-major.
    Continuous(Vec<f32>),
    /// `[time]`, counted from the space's `start`.
    Discrete(Vec<i64>),
}

/// One episode, or a piece of one, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// `[time, observation width]` or `[time + 1, observation width]`, row-major; the extra row is what the last action led to.
    pub observations: Vec<f64>,
    /// What was done at each step.
    pub actions: Actions,
    /// `[time]`, raw.
    pub rewards: Vec<f64>,
    /// How the last step ended. Both false only where a writer left the episode open; readers make that truncated.
    pub end: StepEnd,
    /// The seed its environment was reset with, where the file says so.
    pub seed: Option<u64>,
}

impl Trajectory {
    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Whether there is no transition.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// Undiscounted sum of the rewards.
    pub fn episode_return(&self) -> f64 {
        self.rewards.iter().sum()
    }

    /// Return-to-go at every step: `rtg[t] = sum of rewards[t..]`, undiscounted. `[time]`
    pub fn returns_to_go(&self) -> Vec<f64> {
        let mut rtg = self.rewards.clone();
        for t in (0..rtg.len().saturating_sub(1)).rev() {
            rtg[t] += rtg[t + 1];
        }
        rtg
    }
}

/// Trajectories of one task, with what is known about where they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The dataset's own name, for example `mujoco/hopper/medium-v0`.
    pub id: String,
    /// The task's registered name, where known.
    pub env_id: Option<String>,
    /// Observations: a box.
    pub observation_space: Space,
    /// Actions: a box or discrete.
    pub action_space: Space,
    /// The task's time limit in steps, where known.
    pub max_episode_steps: Option<usize>,
    /// Returns of a random policy and of an expert, where the file carries them: normalised score 0 and 100.
    pub reference_scores: Option<(f64, f64)>,
    /// Everything else that the file says about itself (algorithm, author, provenance), by key.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The episodes, in file order.
    pub trajectories: Vec<Trajectory>,
}

/// In the folder of a dataset that is being collected: where its episodes are kept until it is written. A folder with this and
/// without a dataset is a collection that was stopped.
pub const JOURNAL: &str = "journal";

/// A way to keep a dataset in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A directory with `data/metadata.json` and `data/main_data.hdf5`. See [`minari`].
    Minari,
    /// One flat HDF5 file. See [`d4rl`].
    D4rl,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Minari => "Minari",
            Format::D4rl => "D4RL",
        })
    }
}

/// Choices in reading. The default refuses what is wrong, and warns of what is odd.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// What to do about odd things.
    pub strictness: Strictness,
    /// D4RL: keep the rows after the last end of an episode, as a truncated episode, in place of dropping them.
    pub keep_unfinished: bool,
    /// D4RL without `timeouts`: the time limit in steps, where the task does not tell.
    pub max_episode_steps: Option<usize>,
}

/// A dataset that was read and passed the checks.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was read.
    pub dataset: Dataset,
    /// How it was stored.
    pub format: Format,
    /// Where: the path as given, or as found in a Minari root.
    pub path: PathBuf,
    /// What the user should know, the same as in the report.
    pub warnings: Vec<Finding>,
    /// What the checks found.
    pub report: Report,
}

/// Reads a dataset: a D4RL file, a Minari directory (or its `data`, or the main file in it), or a Minari id such as
/// `mujoco/hopper/medium-v0`, which is looked for in [`minari::roots`]. The format is recognised by what is there.
///
/// # Errors
/// A [`DatasetError`] that names the file, the array or key, and what was expected. No input makes this panic.
pub fn load(source: &str) -> Result<Loaded, DatasetError> {
    load_with(source, &LoadOptions::default())
}

/// [`load`] with choices.
///
/// # Errors
/// As [`load`].
pub fn load_with(source: &str, options: &LoadOptions) -> Result<Loaded, DatasetError> {
    let path = Path::new(source);
    if minari::data_dir(path).is_some() {
        return minari::read(path, options);
    }
    if path.is_file() {
        return d4rl::read(path, options);
    }
    if path.join(JOURNAL).is_dir() {
        return Err(DatasetError::Unfinished { path: path.into() });
    }
    if path.exists() {
        return Err(DatasetError::WrongKind {
            path: path.into(),
            found: "a directory without a dataset",
            expected: "a Minari dataset directory (with data/metadata.json and data/main_data.hdf5) or a D4RL file",
        });
    }
    if minari::is_id(source) {
        return minari::read(&minari::find(source, &minari::roots())?, options);
    }
    Err(DatasetError::NotFound { name: source.into(), looked: vec![path.into()] })
}
