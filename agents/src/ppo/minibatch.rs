//! What one optimizer step learns from: its parts, and what their advantages are normalised by.

use super::transitions::Sequences;

/// Added to the standard deviation of advantages.
const ADVANTAGE_EPSILON: f64 = 1e-8;

/// A minibatch, as far as a process works on it.
#[derive(Clone, Debug)]
pub(crate) struct Minibatch {
    /// Of each of its shards the sequences.
    pub(super) parts: Vec<Vec<Sequences>>,
    /// Mean and deviation of the advantages of the whole minibatch, where they are normalised.
    pub(super) advantages: Option<(f64, f64)>,
}

/// Mean and standard deviation, slightly enlarged, of numbers in order.
pub(super) fn moments(numbers: impl Iterator<Item = f32> + Clone) -> (f64, f64) {
    let count = numbers.clone().count() as f64;
    let mean = numbers.clone().map(f64::from).sum::<f64>() / count;
    let variance = numbers.map(|x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt() + ADVANTAGE_EPSILON)
}

/// Shifted and scaled by moments.
pub(super) fn normalised(numbers: Vec<f32>, (mean, deviation): (f64, f64)) -> Vec<f32> {
    numbers.into_iter().map(|x| ((f64::from(x) - mean) / deviation) as f32).collect()
}
