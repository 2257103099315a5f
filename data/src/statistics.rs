//! Means, standard deviations and extremes of a dataset, in double precision.
//!
//! ```
//! use aaren_data::statistics::Spread;
//!
//! let spread = Spread::of([1.0, 2.0, 6.0].into_iter());
//! assert_eq!((spread.mean, spread.min, spread.max), (3.0, 1.0, 6.0));
//! ```

use crate::score;
use crate::trajectory::{Dataset, Trajectory};
use serde::Serialize;
use serde_json::{Map, Value};

/// Metadata key: the source of `reference_scores`, if not the dataset itself.
pub(crate) const REFERENCES_FROM: &str = "reference_scores_from";

/// Metadata key: the options of the dataset's task.
pub(crate) const ENV_OPTIONS: &str = "env_options";

/// Summary of some numbers. All zero where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: f64,
    /// Population standard deviation.
    pub std: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Mean and standard deviation in two passes.
    pub fn of(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        let count = numbers.clone().count();
        if count == 0 {
            return Self::default();
        }
        let mean = numbers.clone().sum::<f64>() / count as f64;
        let variance = numbers.clone().map(|number| (number - mean).powi(2)).sum::<f64>() / count as f64;
        let min = numbers.clone().fold(f64::INFINITY, f64::min);
        let max = numbers.fold(f64::NEG_INFINITY, f64::max);
        Self { mean, std: variance.sqrt(), min, max }
    }
}

/// The returns whose normalised scores are 0 and 100.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct References {
    /// Return of a random policy: normalised score 0.
    pub min: f64,
    /// Return of an expert: normalised score 100.
    pub max: f64,
    /// Where the two were published or measured.
    pub source: String,
}

impl References {
    /// Normalised score, in percent: `100 (value - min) / (max - min)`, not clipped.
    pub fn score(&self, value: f64) -> f64 {
        score::normalised_score(value, self.min, self.max)
    }
}

/// Statistics of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Trajectories.
    pub episodes: usize,
    /// Transitions.
    pub steps: usize,
    /// Mean of each component over the observations before an action: rows `0..T` of every trajectory. `[width]`
    pub observation_mean: Vec<f64>,
    /// Population standard deviation of the same. `[width]`
    pub observation_std: Vec<f64>,
    /// Undiscounted returns of the trajectories.
    pub returns: Spread,
    /// Lengths of the trajectories in steps.
    pub lengths: Spread,
    /// Trajectories that terminated, whether or not they were truncated in the same step.
    pub terminated: usize,
    /// Trajectories that were truncated and did not terminate.
    pub truncated: usize,
    /// References used for the score.
    pub references: Option<References>,
    /// Normalised score of the mean return, in percent, where references are known.
    pub score: Option<f64>,
}

impl Statistics {
    /// Computes all. The score uses the given references (returns of a random policy and of an expert), or else the dataset's
    /// own, or else those of its task in [`score::of_env`].
    pub fn of(dataset: &Dataset, references: Option<(f64, f64)>) -> Self {
        let trajectories = &dataset.trajectories;
        let (observation_mean, observation_std) = observation_moments(trajectories, dataset.observation_space.width());
        let returns = Spread::of(trajectories.iter().map(Trajectory::episode_return));
        let references = choose_references(dataset, references);
        Self {
            episodes: trajectories.len(),
            steps: trajectories.iter().map(Trajectory::len).sum(),
            observation_mean,
            observation_std,
            returns,
            lengths: Spread::of(trajectories.iter().map(|trajectory| trajectory.len() as f64)),
            terminated: trajectories.iter().filter(|trajectory| trajectory.end.terminated).count(),
            truncated: trajectories.iter().filter(|trajectory| trajectory.end.truncated && !trajectory.end.terminated).count(),
            score: references.as_ref().map(|references| references.score(returns.mean)),
            references,
        }
    }
}

fn choose_references(dataset: &Dataset, given: Option<(f64, f64)>) -> Option<References> {
    if let Some((min, max)) = given {
        return Some(References { min, max, source: "given".into() });
    }
    if let Some((min, max)) = dataset.reference_scores {
        let source = dataset.metadata.get(REFERENCES_FROM).and_then(Value::as_str);
        return Some(References { min, max, source: source.unwrap_or("the dataset").into() });
    }
    let (env_id, none) = (dataset.env_id.as_deref()?, Map::new());
    let options = dataset.metadata.get(ENV_OPTIONS).and_then(Value::as_object);
    if options.is_none() && matches!(env_id, "PointMaze-v0" | "Maze2D-v1") {
        return None; // its references depend on the options
    }
    let reference = score::of_env(env_id, options.unwrap_or(&none))?;
    Some(References { min: reference.min, max: reference.max, source: reference.source.into() })
}

/// Mean and population standard deviation of each component, in two passes.
fn observation_moments(trajectories: &[Trajectory], width: usize) -> (Vec<f64>, Vec<f64>) {
    let steps: usize = trajectories.iter().map(Trajectory::len).sum();
    let average = |term: &dyn Fn(usize, f64) -> f64| {
        let mut sums = vec![0.0; width];
        for trajectory in trajectories {
            for row in trajectory.observations.chunks_exact(width.max(1)).take(trajectory.len()) {
                for (column, (sum, &number)) in sums.iter_mut().zip(row).enumerate() {
                    *sum += term(column, number);
                }
            }
        }
        sums.iter_mut().for_each(|sum| *sum /= steps.max(1) as f64);
        sums
    };
    let mean = average(&|_, number| number);
    let variance = average(&|column, number| (number - mean[column]).powi(2));
    (mean, variance.into_iter().map(f64::sqrt).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trajectory::Actions;
    use aaren_envs::{Dtype, Space, StepEnd};

    #[test]
    fn the_extra_observation_does_not_count() {
        let trajectory = |observations: Vec<f64>, rewards: Vec<f64>, terminated| Trajectory {
            observations,
            actions: Actions::Discrete(vec![0; rewards.len()]),
            rewards,
            end: StepEnd { terminated, truncated: true },
            seed: None,
        };
        let dataset = Dataset {
            id: "x-v0".into(),
            env_id: None,
            observation_space: Space::uniform_box(2, -1.0, 1.0, Dtype::Float64),
            action_space: Space::Discrete { n: 2, start: 0 },
            max_episode_steps: None,
            reference_scores: Some((0.0, 10.0)),
            metadata: Default::default(),
            trajectories: vec![
                trajectory(vec![1.0, 10.0, 3.0, 20.0, 1e9, 1e9], vec![1.0, 2.0], true),
                trajectory(vec![5.0, 30.0], vec![6.0], false),
            ],
        };
        let statistics = Statistics::of(&dataset, None);
        assert_eq!(statistics.observation_mean, [3.0, 20.0]);
        assert!((statistics.observation_std[0] - (8.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(statistics.returns, Spread { mean: 4.5, std: 1.5, min: 3.0, max: 6.0 });
        assert_eq!(statistics.lengths, Spread { mean: 1.5, std: 0.5, min: 1.0, max: 2.0 });
        assert_eq!((statistics.terminated, statistics.truncated), (1, 1), "a tie counts as terminated");
        assert_eq!(statistics.score, Some(45.0));
        let given = Statistics::of(&dataset, Some((4.0, 5.0)));
        assert_eq!(given.score, Some(50.0));
        assert_eq!(given.references.unwrap().source, "given");
    }
}
