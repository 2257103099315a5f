//! How a learning rate goes on over a training: one type for both trainers.

use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up, in which it rises linearly from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LearningRateSchedule {
    /// It stays.
    #[default]
    Constant,
    /// It falls linearly to 0 over the rest of the training.
    Linear,
    /// It falls to 0 along half a wave of a cosine over the rest of the training.
    Cosine,
}

impl std::fmt::Display for LearningRateSchedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LearningRateSchedule::Constant => "constant",
            LearningRateSchedule::Linear => "linear to 0",
            LearningRateSchedule::Cosine => "a cosine to 0",
        })
    }
}

impl LearningRateSchedule {
    /// What the learning rate is multiplied by in a step, the first being 0: from 0 to 1.
    ///
    /// The rate of the last step of a warm-up is the whole rate, as is that of the step after it.
    ///
    /// - `steps`: of the training, those of the warm-up included
    pub(crate) fn factor(self, step: u64, steps: u64, warmup: u64) -> f64 {
        if step < warmup {
            return (step + 1) as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
        match self {
            LearningRateSchedule::Constant => 1.0,
            LearningRateSchedule::Linear => (1.0 - done).max(0.0),
            LearningRateSchedule::Cosine => 0.5 + 0.5 * (std::f64::consts::PI * done.min(1.0)).cos(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_rises_and_goes_on_by_its_formula() {
        for (schedule, expected) in [
            (LearningRateSchedule::Constant, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
            (LearningRateSchedule::Linear, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
            (LearningRateSchedule::Cosine, [0.5, 1.0, 1.0, 0.5 + 0.125f64.sqrt(), 0.5, 0.5 - 0.125f64.sqrt(), 0.0]),
        ] {
            for (step, expected) in expected.into_iter().enumerate() {
                let found = schedule.factor(step as u64, 6, 2);
                assert!((found - expected).abs() < 1e-15, "{schedule:?}, step {step}: {found}");
            }
        }
        // Beyond the end, and where the warm-up is all there is.
        assert_eq!(LearningRateSchedule::Linear.factor(9, 6, 2), 0.0);
        assert_eq!(LearningRateSchedule::Cosine.factor(9, 6, 2), 0.0);
        assert_eq!(LearningRateSchedule::Cosine.factor(2, 2, 2), 1.0);
        assert_eq!(LearningRateSchedule::Linear.factor(0, 4, 0), 1.0);
    }
}
