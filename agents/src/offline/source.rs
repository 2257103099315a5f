//! A dataset ready to be cut: returns-to-go summed, action widths known.

use std::ops::Range;

use aaren_data::{Actions, Dataset};
use aaren_policy::{ActionValue, DecisionRows, Description};
use anyhow::{Result, ensure};

use super::segments::Source;
use crate::sequence::Lengths;

/// Trajectories for a decision policy.
#[derive(Debug)]
pub(crate) struct SegmentSource {
    dataset: Dataset,
    /// In units of reward, `[trajectory][time]`.
    returns_to_go: Vec<Vec<f64>>,
    /// Of the policy.
    description: Description,
}

impl SegmentSource {
    /// Takes a dataset.
    ///
    /// # Errors
    /// If it holds no transition.
    pub(crate) fn new(dataset: Dataset, description: Description) -> Result<Self> {
        let is_empty = dataset.trajectories.iter().all(|trajectory| trajectory.is_empty());
        ensure!(!is_empty, "the dataset {} holds no transition to train on", dataset.id);
        let returns_to_go = dataset.trajectories.iter().map(|trajectory| trajectory.returns_to_go()).collect();
        Ok(Self { dataset, returns_to_go, description })
    }

    fn action(&self, trajectory: usize, t: usize) -> ActionValue<'_> {
        match &self.dataset.trajectories[trajectory].actions {
            Actions::Continuous(actions) => {
                let width = self.dataset.action_space.width();
                ActionValue::Continuous(&actions[t * width..(t + 1) * width])
            }
            Actions::Discrete(actions) => ActionValue::Discrete(actions[t]),
        }
    }
}

impl Source for SegmentSource {
    type Rows = DecisionRows;

    fn name(&self) -> &str {
        &self.dataset.id
    }

    fn lengths(&self) -> Lengths {
        Lengths::Each(self.dataset.trajectories.iter().map(|trajectory| trajectory.len()).collect())
    }

    fn push(&self, rows: &mut DecisionRows, trajectory: usize, timesteps: Range<usize>, reset: bool) {
        let width = self.dataset.observation_space.width();
        let first = timesteps.start;
        for t in timesteps {
            let observation = &self.dataset.trajectories[trajectory].observations[t * width..(t + 1) * width];
            let previous = t.checked_sub(1).map(|t| self.action(trajectory, t));
            let return_to_go = self.returns_to_go[trajectory][t];
            rows.timesteps.push(&self.description, observation, previous, return_to_go, t, reset && t == first);
            self.description.action.encode(self.action(trajectory, t), &mut rows.actions);
        }
    }
}
