//! Statistics over few runs: interquartile mean, probability of improvement, and stratified bootstrap intervals of both.
//!
//! All are as `rliable` defines them, and a stored example of its numbers is compared with them (`rliable_tests.rs`).
//!
//! Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv:2108.13264.

use aaren_envs::derive_seed;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

/// Resamples of a bootstrap.
pub(crate) const RESAMPLES: usize = 20_000;

/// Share of the resamples inside an interval.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// A number with a confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// Of the scores as they are.
    pub value: f64,
    /// Lower and upper end; None where no task has two runs, so that nothing is known of the spread.
    pub interval: Option<(f64, f64)>,
}

/// Arithmetic mean; NaN of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Population standard deviation (divided by the number of values); NaN of nothing.
pub(crate) fn standard_deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Mean of the middle half: a quarter of the values, rounded down, is left out on each side. NaN of nothing.
pub(crate) fn interquartile_mean(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    mean(&sorted[cut..sorted.len() - cut])
}

/// How likely a run of `left` scores more than one of `right`, on average over tasks; a tie counts half.
///
/// # Shapes
/// - `left`, `right`: `[task][run]`, the same tasks
pub(crate) fn probability_of_improvement(left: &[Vec<f64>], right: &[Vec<f64>]) -> f64 {
    let of_task = |(left, right): (&Vec<f64>, &Vec<f64>)| {
        let wins: f64 = left
            .iter()
            .flat_map(|a| {
                right.iter().map(move |b| {
                    if a > b {
                        1.0
                    } else if a == b {
                        0.5
                    } else {
                        0.0
                    }
                })
            })
            .sum();
        wins / (left.len() * right.len()) as f64
    };
    mean(&left.iter().zip(right).map(of_task).collect::<Vec<_>>())
}

/// The interquartile mean over all runs of all tasks.
///
/// # Shapes
/// - `scores`: `[task][run]`
pub(crate) fn estimate_interquartile_mean(scores: &[Vec<f64>], seed: u64) -> Estimate {
    let statistic = |scores: &[Vec<f64>]| interquartile_mean(&scores.concat());
    Estimate { value: statistic(scores), interval: interval(&[scores], seed, |scores| statistic(&scores[0])) }
}

/// The probability of improvement of `left` over `right`; both are resampled.
///
/// # Shapes
/// - `left`, `right`: `[task][run]`, the same tasks
pub(crate) fn estimate_improvement(left: &[Vec<f64>], right: &[Vec<f64>], seed: u64) -> Estimate {
    Estimate {
        value: probability_of_improvement(left, right),
        interval: interval(&[left, right], seed, |scores| probability_of_improvement(&scores[0], &scores[1])),
    }
}

/// Percentile interval of a statistic over resamples. Runs are drawn with replacement among the runs of their own agent and task
/// (the strata), so that every resample has every task.
fn interval(agents: &[&[Vec<f64>]], seed: u64, statistic: impl Fn(&[Vec<Vec<f64>>]) -> f64) -> Option<(f64, f64)> {
    if agents.iter().all(|tasks| tasks.iter().all(|runs| runs.len() < 2)) {
        return None;
    }
    let mut generator = Pcg64Mcg::seed_from_u64(derive_seed(seed, &[0x626f_6f74])); // "boot"
    let mut resample: Vec<Vec<Vec<f64>>> = agents.iter().map(|tasks| tasks.to_vec()).collect();
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for (drawn, scores) in resample.iter_mut().flatten().zip(agents.iter().copied().flatten()) {
                drawn.iter_mut().for_each(|value| *value = scores[generator.random_range(0..scores.len())]);
            }
            statistic(&resample)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some((quantile(&values, tail), quantile(&values, 1.0 - tail)))
}

/// A quantile of sorted values, interpolated between the two nearest.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interquartile_mean_leaves_out_a_quarter_on_each_side() {
        assert_eq!(interquartile_mean(&[3.0]), 3.0);
        assert_eq!(interquartile_mean(&[1.0, 2.0, 900.0]), 301.0);
        assert_eq!(interquartile_mean(&[900.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(interquartile_mean(&[-50.0, 1.0, 2.0, 3.0, 900.0]), 2.0);
        assert_eq!((mean(&[1.0, 3.0]), standard_deviation(&[1.0, 3.0])), (2.0, 1.0));
    }

    #[test]
    fn improvement_counts_pairs_and_ties_half() {
        let improvement = |left: &[f64], right: &[f64]| probability_of_improvement(&[left.to_vec()], &[right.to_vec()]);
        assert_eq!(improvement(&[2.0, 3.0], &[1.0]), 1.0);
        assert_eq!(improvement(&[1.0, 2.0], &[1.0, 2.0]), 0.5);
        assert_eq!(improvement(&[0.0, 2.0], &[0.0, 1.0, 5.0]), 2.5 / 6.0);
        let two = probability_of_improvement(&[vec![1.0], vec![1.0]], &[vec![0.0], vec![2.0]]);
        assert_eq!(two, 0.5);
    }

    #[test]
    fn intervals_repeat_for_a_seed_and_need_two_runs() {
        let scores = [vec![1.0, 4.0, 9.0], vec![2.0, 3.0, 5.0]];
        let estimate = estimate_interquartile_mean(&scores, 1);
        assert_eq!(estimate, estimate_interquartile_mean(&scores, 1));
        let (low, high) = estimate.interval.unwrap();
        assert!(low < estimate.value && estimate.value < high, "{estimate:?}");
        assert_eq!(estimate_interquartile_mean(&[vec![1.0], vec![5.0]], 1).interval, None);
        assert_eq!(estimate_interquartile_mean(&[vec![2.0, 2.0]], 1).interval, Some((2.0, 2.0)));
    }
}
