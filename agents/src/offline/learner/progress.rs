//! How far a run has come, as its checkpoints say it.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::offline::segments::Segment;
use crate::run::data_mark::DataMark;
use crate::run::is_of_step;

/// More steps or timesteps than any run makes.
const MOST: u64 = 1 << 60;

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Optimizer steps made.
    pub step: u64,
    /// Timesteps that went through the loss.
    pub timesteps: u64,
    /// Seconds spent training, evaluations left out.
    pub seconds: f64,
    /// Sums over the steps since the last line of the log.
    pub interval: Interval,
    /// Mean loss over the last interval that was logged.
    pub logged_loss: Option<f64>,
    /// What the last batch left over of its rows' segments.
    pub cut: Vec<Option<Segment>>,
    /// What was trained on; none in checkpoints of older versions.
    pub data: Option<DataMark>,
}

impl Progress {
    /// Whether this can be the progress that a checkpoint of that name holds.
    pub(super) fn check(&self, folder: &Path) -> Result<()> {
        let step = self.step;
        ensure!(is_of_step(folder, step), "says step {step}, and the checkpoint is another");
        let counts = [self.timesteps, self.interval.steps, self.interval.timesteps];
        ensure!(counts.iter().all(|&count| count < MOST), "counts {counts:?}, which no run reaches");
        Ok(())
    }

    /// Counts seconds that the steps since the last line of the log took.
    pub(crate) fn add_seconds(&mut self, seconds: f64) {
        self.seconds += seconds;
        self.interval.seconds += seconds;
    }
}

/// Sums over optimizer steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// How many.
    pub steps: u64,
    /// Timesteps that went through the loss.
    pub timesteps: u64,
    /// Seconds that they took.
    pub seconds: f64,
    /// Losses.
    pub loss: f64,
    /// Norms before clipping.
    pub gradient_norm: f64,
}
