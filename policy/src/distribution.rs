//! Distributions over actions: a diagonal Gaussian, or a categorical. On the host one row at a time, to act; as tensors, to train.
//!
//! Continuous actions live in `[-1, 1]`, which the [`ActionSpec`] maps to the environment's bounds. A raw action, as
//! drawn, may lie outside: it is executed at the bound, and its probability is that of the raw action itself.

use crate::action::{ActionSpec, likeliest, one_hot};
use burn::tensor::{Tensor, activation::log_softmax, backend::Backend};
use rand::{Rng, RngExt};
use rand_distr::{Distribution as _, StandardNormal};

/// `ln(2 pi) / 2`
const HALF_LOG_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// The distributions of a batch on the host.
#[derive(Clone, Debug)]
pub struct ActionDistributions<'a> {
    pub(crate) action: &'a ActionSpec,
    /// Means in `[-1, 1]`'s units, or logits: `[rows, action width]`
    pub(crate) outputs: Vec<f32>,
    /// Logarithms of the standard deviations, `[action width]`; empty for discrete actions.
    pub(crate) log_std: Vec<f32>,
}

impl ActionDistributions<'_> {
    fn row(&self, row: usize) -> &[f32] {
        let width = self.action.width();
        &self.outputs[row * width..(row + 1) * width]
    }

    /// Appends the likeliest raw action of a row: the mean, or one-hot; NaN where the distribution is broken. `[action width]`
    pub fn mode(&self, row: usize, raw_action: &mut Vec<f32>) {
        match self.action {
            ActionSpec::Continuous { .. } => raw_action.extend_from_slice(self.row(row)),
            ActionSpec::Discrete { n, .. } => match likeliest(self.row(row)) {
                Some(choice) => one_hot(choice, *n, raw_action),
                None => raw_action.resize(raw_action.len() + n, f32::NAN),
            },
        }
    }

    /// Appends a random raw action of a row. `[action width]`
    pub fn sample(&self, row: usize, generator: &mut impl Rng, raw_action: &mut Vec<f32>) {
        let outputs = self.row(row);
        match self.action {
            ActionSpec::Continuous { .. } => raw_action.extend(outputs.iter().zip(&self.log_std).map(|(mean, log_std)| {
                let normal: f32 = StandardNormal.sample(generator);
                mean + log_std.exp() * normal
            })),
            ActionSpec::Discrete { n, .. } if outputs.iter().any(|logit| logit.is_nan()) => {
                raw_action.resize(raw_action.len() + n, f32::NAN);
            }
            ActionSpec::Discrete { n, .. } => {
                let largest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weight = |logit: f32| f64::from(logit - largest).exp();
                let mut left = outputs.iter().map(|&logit| weight(logit)).sum::<f64>() * generator.random::<f64>();
                // Rounding may leave a rest after the last: that one is taken then.
                let choice = outputs.iter().position(|&logit| {
                    left -= weight(logit);
                    left < 0.0
                });
                one_hot(choice.unwrap_or(n - 1), *n, raw_action);
            }
        }
    }

    /// Log-probability (density) of a raw action in a row.
    pub fn log_prob(&self, row: usize, raw_action: &[f32]) -> f32 {
        let outputs = self.row(row);
        match self.action {
            ActionSpec::Continuous { .. } => {
                let components = outputs.iter().zip(&self.log_std).zip(raw_action);
                let log_prob = components.map(|((&mean, &log_std), &raw_action)| {
                    let distance = f64::from(raw_action - mean) / f64::from(log_std).exp();
                    -0.5 * distance * distance - f64::from(log_std) - HALF_LOG_TWO_PI
                });
                log_prob.sum::<f64>() as f32
            }
            ActionSpec::Discrete { .. } => {
                let largest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = outputs.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
                let chosen: f64 =
                    outputs.iter().zip(raw_action).map(|(&logit, &raw_action)| f64::from((logit - largest) * raw_action)).sum();
                (chosen - sum.ln()) as f32
            }
        }
    }
}

/// The distributions of a batch as tensors.
#[derive(Clone, Debug)]
pub enum ActionTensors<B: Backend> {
    /// A diagonal Gaussian whose standard deviation depends on no observation.
    Gaussian {
        /// `[rows, action width]`
        mean: Tensor<B, 2>,
        /// `[action width]`
        log_std: Tensor<B, 1>,
    },
    /// One of several.
    Categorical {
        /// `[rows, action width]`
        logits: Tensor<B, 2>,
    },
}

impl<B: Backend> ActionTensors<B> {
    /// Log-probabilities (densities) of raw actions, `[rows, action width]` to `[rows]`.
    pub fn log_prob(&self, raw_actions: Tensor<B, 2>) -> Tensor<B, 1> {
        match self {
            ActionTensors::Gaussian { mean, log_std } => {
                let width = raw_actions.dims()[1];
                let distance = (raw_actions - mean.clone()) * log_std.clone().neg().exp().unsqueeze::<2>();
                let squares: Tensor<B, 1> = (distance.clone() * distance).sum_dim(1).squeeze_dim(1);
                squares * -0.5 - (log_std.clone().sum() + width as f64 * HALF_LOG_TWO_PI)
            }
            ActionTensors::Categorical { logits } => (log_softmax(logits.clone(), 1) * raw_actions).sum_dim(1).squeeze_dim(1),
        }
    }

    /// With so much added to the means of a Gaussian, `[rows, action width]`; one of several has none.
    #[must_use]
    pub fn shifted(self, by: Tensor<B, 2>) -> Self {
        match self {
            ActionTensors::Gaussian { mean, log_std } => ActionTensors::Gaussian { mean: mean + by, log_std },
            categorical => categorical,
        }
    }

    /// Mean entropy of the rows, `[1]`; of a Gaussian the differential entropy of raw actions.
    pub fn entropy(&self) -> Tensor<B, 1> {
        match self {
            ActionTensors::Gaussian { log_std, .. } => {
                let width = log_std.dims()[0];
                log_std.clone().sum() + width as f64 * (0.5 + HALF_LOG_TWO_PI)
            }
            ActionTensors::Categorical { logits } => {
                let rows = logits.dims()[0] as f64;
                let log_probs = log_softmax(logits.clone(), 1);
                (log_probs.clone().exp() * log_probs).sum() / -rows
            }
        }
    }
}
