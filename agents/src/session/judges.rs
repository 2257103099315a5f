//! What judges the policies of a training: episodes that they play, episodes that they did not learn from, or both.

use std::sync::Arc;

use aaren_policy::AnyPolicy;
use anyhow::Result;

use crate::device::Cpu;
use crate::play::evaluate::{Evaluation, evaluate};
use crate::run::report::{EvaluationReport, ValidationReport};

/// The headline of an evaluation in the log.
pub(super) const RETURN_MEAN: &str = "evaluation/return_mean";
/// The loss on held-out episodes in the log.
pub(super) const VALIDATION_LOSS: &str = "validation/loss";

/// The loss of a policy on held-out episodes.
pub(crate) type Validate = Arc<dyn Fn(&AnyPolicy<Cpu>) -> Result<ValidationReport> + Send + Sync>;

/// What judges the policies of a training.
#[derive(Clone)]
pub(crate) struct Judges {
    /// The evaluation at the end, where there is an environment.
    pub evaluation: Option<Evaluation>,
    /// The loss on held-out episodes, where there are some.
    pub validation: Option<Validate>,
    /// One line about what the policy learned from.
    pub data: String,
}

impl Judges {
    /// What a policy of a run reaches.
    ///
    /// # Errors
    /// An environment that fails, or an interrupt.
    pub(super) fn judge(&self, policy: &AnyPolicy<Cpu>, run: &str, step: u64) -> Result<EvaluationReport> {
        let mut report = match &self.evaluation {
            Some(evaluation) => evaluate(policy, run, step, evaluation)?,
            None => EvaluationReport::without_env(run, step, &self.data, policy.mixer(), policy.parameters()),
        };
        report.validation = self.validation.as_ref().map(|validate| validate(policy)).transpose()?;
        Ok(report)
    }

    /// What an evaluation logs first.
    pub(super) fn headline(&self) -> &'static str {
        if self.evaluation.is_some() { RETURN_MEAN } else { VALIDATION_LOSS }
    }

    /// Whether there is nothing to judge by.
    pub(super) fn are_none(&self) -> bool {
        self.evaluation.is_none() && self.validation.is_none()
    }
}
