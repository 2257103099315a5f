//! Early stopping: whether evaluations have ceased to become better.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::config::{StopConfig, StopMetric};

/// The log's names for metrics.
pub(super) struct Names {
    pub(super) return_mean: &'static str,
    pub(super) validation: &'static str,
    pub(super) loss: &'static str,
}

/// How often in a row evaluations were no better than the best before them.
pub(super) struct EarlyStop {
    config: StopConfig,
    /// The best value, larger being better, and its step.
    best: Option<(f64, u64)>,
    worse: u64,
    /// The loss as last logged.
    pub(super) loss: Option<f64>,
}

impl EarlyStop {
    /// With what the log of a run that is continued says.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(super) fn new(config: StopConfig, log: &Path, names: Names) -> Result<Self> {
        let mut stop = Self { config, best: None, worse: 0, loss: None };
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
            stop.loss = line.get(names.loss).map(number).or(stop.loss);
            let [return_mean, validation] = [names.return_mean, names.validation].map(|name| line.get(name).map(number));
            if let Some(step) = line["step"].as_u64().filter(|_| return_mean.or(validation).is_some()) {
                stop.judge(step, return_mean, validation, stop.loss);
            }
        }
        Ok(stop)
    }

    /// Counts an evaluation.
    ///
    /// - `validation`: the loss on held-out episodes
    /// - `loss`: the training's, as last logged before it
    pub(super) fn judge(&mut self, step: u64, return_mean: Option<f64>, validation: Option<f64>, loss: Option<f64>) {
        let value = match self.config.metric {
            StopMetric::ReturnMean => return_mean.unwrap_or(f64::NAN),
            StopMetric::ValidationLoss => -validation.unwrap_or(f64::NAN),
            StopMetric::Loss => -loss.unwrap_or(f64::NAN),
        };
        let is_better = self.best.map_or(!value.is_nan(), |(best, _)| value > best + self.config.min_delta);
        if is_better {
            (self.best, self.worse) = (Some((value, step)), 0);
        } else {
            self.worse += 1;
        }
    }

    /// Whether the training is to end.
    pub(super) fn is_due(&self) -> bool {
        self.worse >= self.config.patience
    }

    /// Whether the next evaluation may end the training.
    pub(super) fn may_be_due(&self) -> bool {
        self.worse + 1 >= self.config.patience
    }

    /// Why the training ends.
    pub(super) fn reason(&self) -> String {
        let metric = match self.config.metric {
            StopMetric::ReturnMean => "mean return",
            StopMetric::ValidationLoss => "loss on held-out episodes",
            StopMetric::Loss => "loss",
        };
        let best = self.best.map_or(String::new(), |(_, step)| format!(" than at step {step}"));
        format!("no better {metric}{best} in {} evaluations (evaluation.stop)", self.worse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an early stop says after each of some evaluations, given its metric in all of them.
    fn dues(config: StopConfig, values: &[f64]) -> Vec<bool> {
        let mut stop = EarlyStop { config, best: None, worse: 0, loss: None };
        let judged = values.iter().enumerate().map(|(step, &value)| {
            let of = |metric| Some(if metric == config.metric { value } else { 0.0 });
            stop.judge(step as u64, of(StopMetric::ReturnMean), of(StopMetric::ValidationLoss), of(StopMetric::Loss));
            stop.is_due()
        });
        judged.collect()
    }

    #[test]
    fn a_training_ends_after_as_many_evaluations_in_a_row_that_are_no_better() {
        let two = StopConfig { patience: 2, ..StopConfig::default() };
        assert_eq!(dues(two, &[1.0, 1.0, 2.0, f64::NAN, 2.0]), [false, false, false, false, true]);
        assert_eq!(dues(StopConfig { min_delta: 1.0, ..two }, &[1.0, 1.5, 2.0]), [false, false, true]);
        for metric in [StopMetric::Loss, StopMetric::ValidationLoss] {
            assert_eq!(dues(StopConfig { metric, ..two }, &[1.0, 0.5, 0.6, 0.7]), [false, false, false, true]);
        }
        assert_eq!(dues(two, &[f64::NAN, f64::NAN]), [false, true], "what is never a number never becomes better");
    }

    fn names() -> Names {
        Names { return_mean: "return", validation: "validation", loss: "loss" }
    }

    #[test]
    fn a_log_without_returns_counts_by_its_losses_on_held_out_episodes() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("metrics.jsonl");
        fs::write(&log, "{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"validation\":3.0}\n{\"step\":4,\"validation\":4.0}\n").unwrap();
        let stop =
            EarlyStop::new(StopConfig { metric: StopMetric::ValidationLoss, ..StopConfig::default() }, &log, names()).unwrap();
        assert_eq!((stop.worse, stop.best), (1, Some((-3.0, 2))));
    }

    #[test]
    fn the_log_of_a_broken_run_says_how_often_it_was_not_better() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("metrics.jsonl");
        let lines = "{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"return\":3.0}\n{\"step\":3,\"loss\":0.6}\n{\"step\":4,\"return\":4.0}\n{\"st";
        fs::write(&log, lines).unwrap();
        for (metric, worse, best) in [(StopMetric::ReturnMean, 0, (4.0, 4)), (StopMetric::Loss, 1, (-0.5, 2))] {
            let stop = EarlyStop::new(StopConfig { metric, ..StopConfig::default() }, &log, names()).unwrap();
            assert_eq!((stop.worse, stop.best, stop.loss), (worse, Some(best), Some(0.6)));
        }
    }
}
