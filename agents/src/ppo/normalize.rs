//! Running statistics that normalise observations and scale rewards.

use crate::play::group_rollout::Rollout;
use aaren_policy::Normalizer;
use serde::{Deserialize, Serialize};

/// Rewards are clipped to plus and minus this after they were scaled.
const REWARD_CLIP: f64 = 10.0;
/// Added to the variance of returns, as everywhere.
const EPSILON: f64 = 1e-8;

/// Mean and variance of vectors, a component each, over everything seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    count: u64,
    mean: Vec<f64>,
    /// Sums of squared distances from the mean.
    squares: Vec<f64>,
}

impl Moments {
    /// Nothing seen.
    pub(crate) fn new(width: usize) -> Self {
        Self { count: 0, mean: vec![0.0; width], squares: vec![0.0; width] }
    }

    /// As if `count` vectors had been seen, of which this is the normalizer.
    pub(crate) fn of_normalizer(normalizer: &Normalizer, count: u64) -> Self {
        let squares = normalizer.deviation.iter().map(|deviation| (deviation.powi(2) - EPSILON).max(0.0) * count as f64);
        Self { count, mean: normalizer.mean.clone(), squares: squares.collect() }
    }

    /// Whether these can be of vectors of so many components.
    pub(crate) fn are_of(&self, width: usize) -> bool {
        self.mean.len() == width && self.squares.len() == width && self.count < 1 << 60
    }

    /// Takes in vectors, `[count, width]` (Welford's method).
    pub(crate) fn add(&mut self, vectors: &[f64]) {
        for vector in vectors.chunks_exact(self.mean.len()) {
            self.count += 1;
            for ((x, mean), squares) in vector.iter().zip(&mut self.mean).zip(&mut self.squares) {
                let before = x - *mean;
                *mean += before / self.count as f64;
                *squares += before * (x - *mean);
            }
        }
    }

    /// Population variance of a component; 1 before anything was seen.
    fn variance(&self, component: usize) -> f64 {
        if self.count == 0 { 1.0 } else { self.squares[component] / self.count as f64 }
    }

    /// What brings the vectors seen so far to mean 0 and deviation 1.
    pub(crate) fn normalizer(&self) -> Normalizer {
        let deviation: Vec<f64> = (0..self.mean.len()).map(|i| (self.variance(i) + EPSILON).sqrt()).collect();
        Normalizer { mean: self.mean.clone(), deviation }
    }
}

/// The scale of rewards: the standard deviation of the discounted return, as it stands at every step of every environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RewardScale {
    /// Discounted sum of the running episode's rewards, `[env]`.
    returns: Vec<f64>,
    moments: Moments,
}

impl RewardScale {
    /// For so many environments.
    pub(crate) fn new(envs: usize) -> Self {
        Self { returns: vec![0.0; envs], moments: Moments::new(1) }
    }

    /// Whether this can be of so many environments.
    pub(crate) fn is_of(&self, envs: usize) -> bool {
        self.returns.len() == envs && self.moments.are_of(1)
    }

    /// Takes in one environment's part of a rollout.
    pub(crate) fn add(&mut self, env: usize, rollout: &Rollout, gamma: f64) {
        for (reward, end) in rollout.rewards.iter().zip(&rollout.ends) {
            self.returns[env] = gamma * self.returns[env] + reward;
            self.moments.add(&[self.returns[env]]);
            if end.is_end() {
                self.returns[env] = 0.0;
            }
        }
    }

    /// A reward in units of that standard deviation.
    pub(crate) fn scaled(&self, reward: f64) -> f64 {
        (reward / (self.moments.variance(0) + EPSILON).sqrt()).clamp(-REWARD_CLIP, REWARD_CLIP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aaren_envs::StepEnd;

    #[test]
    fn moments_are_those_of_all_vectors_whatever_the_pieces() {
        let vectors = [1e6 + 1.0, -3.0, 1e6 + 4.0, 5.0, 1e6 - 2.0, 0.5, 1e6, 7.5];
        let mut pieces = Moments::new(2);
        pieces.add(&vectors[..6]);
        pieces.add(&[]);
        pieces.add(&vectors[6..]);
        let normalizer = pieces.normalizer();
        assert!((normalizer.mean[0] - 1_000_000.75).abs() < 1e-6 && (normalizer.mean[1] - 2.5).abs() < 1e-12);
        // Population variances of 1, 4, -2, 0 and of -3, 5, 0.5, 7.5.
        assert!((normalizer.deviation[0] - 4.6875f64.sqrt()).abs() < 1e-6, "{normalizer:?}");
        assert!((normalizer.deviation[1] - 16.375f64.sqrt()).abs() < 1e-6, "{normalizer:?}");
        assert_eq!(Moments::new(2).normalizer().mean, [0.0, 0.0]);
    }

    #[test]
    fn moments_of_a_normalizer_give_it_back() {
        let normalizer = Normalizer { mean: vec![1.5, -2.0], deviation: vec![0.25, 3.0] };
        let back = Moments::of_normalizer(&normalizer, 100).normalizer();
        assert_eq!(back.mean, normalizer.mean);
        assert!(back.deviation.iter().zip(&normalizer.deviation).all(|(a, b)| (a - b).abs() < 1e-12), "{back:?}");
    }

    #[test]
    fn the_return_begins_anew_with_each_episode() {
        let end = |truncated| StepEnd { terminated: false, truncated };
        let rollout = Rollout {
            rewards: vec![1.0, 2.0, 4.0, 8.0],
            ends: vec![end(false), end(true), end(false), end(false)],
            ..Rollout::default()
        };
        let mut scale = RewardScale::new(2);
        scale.add(1, &rollout, 0.5);
        // Returns 1, 2.5, 4, 10, and the last continues.
        assert_eq!(scale.returns, [0.0, 10.0]);
        let variance = [1.0f64, 2.5, 4.0, 10.0].iter().map(|x| (x - 4.375).powi(2)).sum::<f64>() / 4.0;
        assert!((scale.scaled(3.0) - 3.0 / variance.sqrt()).abs() < 1e-6);
        assert_eq!(scale.scaled(-1e9), -REWARD_CLIP);
    }
}
