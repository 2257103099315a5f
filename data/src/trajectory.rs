//! Trajectories in memory, the same for every file format.

use aaren_envs::{Space, StepEnd};

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
    /// `[time, observation width]` or `[time + 1, observation width]`, row-major; the extra row is the observation after the last action.
    pub observations: Vec<f64>,
    /// The action of each step.
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

    /// Pieces of at most so many steps (at least one), each but the last truncated. Only the first has the seed.
    ///
    /// - `widths`: components of an observation and of a continuous action
    pub(crate) fn cut_at(self, limit: usize, widths: (usize, usize)) -> Vec<Trajectory> {
        if self.len() <= limit {
            return vec![self];
        }
        let (steps, limit) = (self.len(), limit.max(1));
        let piece = |start: usize| {
            let end = (start + limit).min(steps);
            let last_row = ((end + 1) * widths.0).min(self.observations.len());
            Trajectory {
                observations: self.observations[start * widths.0..last_row].to_vec(),
                actions: match &self.actions {
                    Actions::Continuous(actions) => Actions::Continuous(actions[start * widths.1..end * widths.1].to_vec()),
                    Actions::Discrete(actions) => Actions::Discrete(actions[start..end].to_vec()),
                },
                rewards: self.rewards[start..end].to_vec(),
                end: if end < steps { StepEnd { terminated: false, truncated: true } } else { self.end },
                seed: self.seed.filter(|_| start == 0),
            }
        };
        (0..steps).step_by(limit).map(piece).collect()
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

/// Trajectories of one task, with their provenance.
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
    /// All other metadata (algorithm, author, provenance), by key.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The episodes, in file order.
    pub trajectories: Vec<Trajectory>,
}
