//! Observation normalization, fixed when training starts and stored with the policy.

use crate::error::PolicyError;
use serde::{Deserialize, Serialize};

/// Brings every component of an observation to mean 0 and standard deviation 1 over the training data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    /// `[observation width]`
    pub mean: Vec<f64>,
    /// Population standard deviation with [`Normalizer::FLOOR`] added, `[observation width]`.
    pub deviation: Vec<f64>,
}

impl Normalizer {
    /// Added to every standard deviation, as the Decision Transformer does, so that a constant component gives 0 and not NaN.
    pub const FLOOR: f64 = 1e-6;

    /// From the data's mean and population standard deviation.
    pub fn new(mean: Vec<f64>, standard_deviation: &[f64]) -> Self {
        assert_eq!(mean.len(), standard_deviation.len(), "mean and deviation of one observation");
        Self { mean, deviation: standard_deviation.iter().map(|deviation| deviation + Self::FLOOR).collect() }
    }

    /// Leaves observations as they are.
    pub fn identity(width: usize) -> Self {
        Self { mean: vec![0.0; width], deviation: vec![1.0; width] }
    }

    /// # Errors
    /// [`PolicyError::Size`] if it normalizes nothing, or means and standard deviations are not of one observation.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.width() == 0 || self.deviation.len() != self.width() {
            let problem = format!("{} means, {} deviations", self.width(), self.deviation.len());
            return Err(PolicyError::Size { key: "normalizer", problem });
        }
        Ok(())
    }

    /// Numbers in an observation.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Appends a normalized observation, subtracting in double precision.
    pub fn push(&self, observation: &[f64], normalized: &mut Vec<f32>) {
        assert_eq!(observation.len(), self.width(), "numbers in an observation");
        let components = observation.iter().zip(&self.mean).zip(&self.deviation);
        normalized.extend(components.map(|((x, mean), deviation)| ((x - mean) / deviation) as f32));
    }
}
