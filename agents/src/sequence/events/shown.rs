//! A sequence of events, ready to be shown.

use super::super::task::Split;
use crate::config::{Events, Hawkes};

/// A sequence, ready to be shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    /// When events were, as the files have it: `[events]`
    pub(super) times: Vec<f64>,
    /// Before every event but the first, where it is 0; in the unit, the floor at least: `[events]`
    pub(super) gaps: Vec<f64>,
    /// `[events]`
    pub(super) marks: Vec<u32>,
    /// After the last event, until which none came; none where that is not known.
    pub(super) rest: Option<f64>,
}

impl Shown {
    /// Of times as the files have them, and the time until which it was watched.
    pub(super) fn new(config: &Events, times: Vec<f64>, marks: Vec<u32>, end: Option<f64>) -> Self {
        let gaps = std::iter::once(0.0).chain(times.windows(2).map(|pair| gap(config, pair[0], pair[1]))).collect();
        let rest = end.map(|end| gap(config, times[times.len() - 1], end));
        Self { times, gaps, marks, rest }
    }

    /// One of a process, by its number.
    pub(super) fn drawn(config: &Events, process: &Hawkes, seed: u64, split: Split, number: u64) -> Self {
        let (times, marks) = process.sequence(seed, split, number);
        Self::new(config, times, marks, None)
    }
}

/// The gap between two times as the files have them: in the unit, the floor at least.
pub(in crate::sequence) fn gap(config: &Events, from: f64, to: f64) -> f64 {
    ((to - from) * (config.times.seconds() / config.unit.seconds())).max(config.floor)
}
