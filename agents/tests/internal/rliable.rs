//! Statistics over runs are those of the Python package rliable, on an example that `scripts/rliable_example.py` wrote.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::statistics::{Estimate, estimate_improvement, estimate_interquartile_mean};

#[derive(Deserialize)]
struct Example {
    scores_by_task: BTreeMap<String, Vec<Vec<f64>>>,
    interquartile_mean: BTreeMap<String, Expected>,
    probability_of_improvement: Vec<Improvement>,
}

#[derive(Deserialize)]
struct Expected {
    value: f64,
    interval: (f64, f64),
}

#[derive(Deserialize)]
struct Improvement {
    agent: String,
    over: String,
    #[serde(flatten)]
    expected: Expected,
}

/// Values are the same to rounding. Ends of intervals are quantiles of random resamples, theirs by other random
/// numbers than ours: `noise` is what an end may move by, a few standard errors of a 2.5 % quantile.
fn check(what: &str, found: Estimate, expected: &Expected, noise: f64) {
    assert!((found.value - expected.value).abs() < 1e-9, "{what}: {} is not {}", found.value, expected.value);
    let (low, high) = found.interval.unwrap();
    for (found, expected) in [(low, expected.interval.0), (high, expected.interval.1)] {
        assert!((found - expected).abs() <= noise, "{what}: an end at {found}, rliable's at {expected}");
    }
    // And the noise allowed is small beside what is measured.
    assert!(noise < 0.06 * (high - low), "{what}: {low} .. {high}");
}

#[test]
fn interquartile_mean_and_probability_of_improvement_are_rliables() {
    let example: Example = serde_json::from_str(include_str!("../../tests/data/rliable.json")).unwrap();
    let scores = &example.scores_by_task;
    assert_eq!((scores.len(), example.interquartile_mean.len(), example.probability_of_improvement.len()), (3, 3, 4));
    for (agent, expected) in &example.interquartile_mean {
        let width = expected.interval.1 - expected.interval.0;
        check(agent, estimate_interquartile_mean(&scores[agent], 1), expected, 0.05 * width);
    }
    for Improvement { agent, over, expected } in &example.probability_of_improvement {
        // The statistic takes steps of 1 / (4 tasks x 25 pairs), halves for ties: an end may fall on the next one.
        let found = estimate_improvement(&scores[agent], &scores[over], 1);
        check(&format!("{agent} over {over}"), found, expected, 0.0101);
    }
}
