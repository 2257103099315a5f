//! Which data a run learns from, in a few numbers.

use aaren_data::{Actions, Dataset, Trajectory};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::words::count;

/// The file in a run folder that holds the mark of what the run learns from.
pub(crate) const FILE: &str = "data.json";

/// Tells one set of training data from another: counts, and a checksum of every number that is learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataMark {
    /// Episodes.
    pub episodes: usize,
    /// Transitions.
    pub steps: usize,
    /// CRC-32 of observations before an action, actions and rewards, episode by episode.
    pub checksum: u32,
}

/// What is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataRecord {
    #[serde(flatten)]
    pub mark: DataMark,
    /// Mean return of the episodes, the level that a policy learns from. None in files of older versions.
    #[serde(default)]
    pub return_mean: Option<f64>,
    /// What the job left to the data. Nothing in files of older versions.
    #[serde(default)]
    pub left: LeftToData,
}

/// Keys of a job whose values the data said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LeftToData {
    /// `policy.return_scale`
    pub return_scale: bool,
    /// `policy.return_range`
    pub return_range: bool,
    /// `evaluation.target_returns`
    pub target_returns: bool,
}

impl DataRecord {
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let returns = dataset.trajectories.iter().map(Trajectory::episode_return);
        let return_mean = Some(returns.sum::<f64>() / dataset.trajectories.len().max(1) as f64);
        Self { mark: DataMark::of(dataset), return_mean, left: LeftToData::default() }
    }
}

impl DataMark {
    /// Reads every number once, at some gigabytes a second.
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let width = dataset.observation_space.width();
        let mut checksum = crc32fast::Hasher::new();
        for trajectory in &dataset.trajectories {
            checksum.update(&(trajectory.len() as u64).to_le_bytes());
            // What the last action led to is not learnt from, and not every format has it.
            checksum.update(bytemuck::cast_slice(&trajectory.observations[..trajectory.len() * width]));
            match &trajectory.actions {
                Actions::Continuous(actions) => checksum.update(bytemuck::cast_slice(actions)),
                Actions::Discrete(actions) => checksum.update(bytemuck::cast_slice(actions)),
            }
            checksum.update(bytemuck::cast_slice(&trajectory.rewards));
        }
        Self {
            episodes: dataset.trajectories.len(),
            steps: dataset.trajectories.iter().map(Trajectory::len).sum(),
            checksum: checksum.finalize(),
        }
    }

    /// Refuses to train where processes have different data, by their marks in order of rank.
    ///
    /// # Errors
    /// Names the first that has other data than rank 0.
    pub(crate) fn expect_alike(self, all: &[Self]) -> Result<()> {
        let Some((rank, other)) = all.iter().enumerate().find(|(_, other)| **other != all[0]) else { return Ok(()) };
        let said = |mark: &Self| {
            format!("{} of {} in all, checksum {:08x}", count(mark.episodes, "episode"), count(mark.steps, "step"), mark.checksum)
        };
        bail!(
            "rank {rank} has another dataset than rank 0: {}, and not {}; give all processes the same files (--data)",
            said(other),
            said(&all[0])
        )
    }

    /// Refuses data other than those that a run was begun with.
    ///
    /// # Errors
    /// Says what differs.
    pub(crate) fn expect(self, begun_with: Self) -> Result<()> {
        let counts = |mark: Self| format!("{} of {} in all", count(mark.episodes, "episode"), count(mark.steps, "step"));
        let differ = match begun_with {
            same if same == self => return Ok(()),
            Self { episodes, steps, .. } if (episodes, steps) == (self.episodes, self.steps) => {
                format!(
                    "as many episodes and steps, but other numbers (checksums {:08x} and {:08x})",
                    begun_with.checksum, self.checksum
                )
            }
            _ => format!("{}, and now there are {}", counts(begun_with), counts(self)),
        };
        bail!("the run was begun with other data: {differ}; resume it with those (--data), or train a new run on these")
    }
}
