//! When a session does what.

use super::judges::Judges;
use crate::config::StopConfig;

/// When a session does what, in steps of its unit: optimizer steps, or environment steps.
#[derive(Clone)]
pub(crate) struct Schedule {
    /// Steps of the training.
    pub steps: u64,
    /// Steps that one update makes.
    pub stride: u64,
    /// Steps between two lines of the log.
    pub log_every: u64,
    /// Steps between two checkpoints. There is always one at the end.
    pub checkpoint_every: u64,
    /// Steps between two evaluations; 0 evaluates only at the end.
    pub evaluate_every: u64,
    /// Episodes of an evaluation while training.
    pub episodes: usize,
    /// What judges the policy.
    pub judges: Judges,
    /// Whether evaluations in the middle of training run beside it.
    pub beside: bool,
    /// When the training ends early.
    pub stop: Option<StopConfig>,
}

impl Schedule {
    /// Whether an update that ends at `step` is the first to reach a multiple of `every`.
    pub(super) fn is_due(&self, every: u64, step: u64) -> bool {
        step / every > step.saturating_sub(self.stride) / every
    }

    /// Whether the policy is evaluated after a step, in the middle of training.
    pub(super) fn evaluates(&self, step: u64) -> bool {
        self.evaluate_every > 0
            && !self.judges.are_none()
            && (1..self.steps).contains(&step)
            && self.is_due(self.evaluate_every, step)
    }
}
