//! Who watches a training.

use std::ops::ControlFlow;

use aaren_data::Trajectory;
use aaren_policy::AnyPolicy;
use anyhow::Result;

use crate::device::Cpu;
use crate::run::report::EvaluationReport;

/// Watches a training: what it plays, in order, and how it is judged. All methods have a default that does nothing.
pub trait Observer {
    /// The training begins, or continues from this step.
    ///
    /// # Errors
    /// Stops the training.
    fn begins(&mut self, step: u64) -> Result<()> {
        let _ = step;
        Ok(())
    }

    /// Whether [`Observer::episode`] is to be called.
    fn wants_episodes(&self) -> bool {
        false
    }

    /// An episode that ended in the iteration that ends with this step, in order.
    ///
    /// # Errors
    /// Stops the training.
    fn episode(&mut self, step: u64, trajectory: Trajectory) -> Result<()> {
        let _ = (step, trajectory);
        Ok(())
    }

    /// An iteration was made, in which episodes with these returns ended. [`ControlFlow::Break`] ends the training here, as if it had
    /// been asked for so many steps.
    ///
    /// # Errors
    /// Stops the training.
    fn iterated(&mut self, step: u64, returns: &[f64]) -> Result<ControlFlow<()>> {
        let _ = (step, returns);
        Ok(ControlFlow::Continue(()))
    }

    /// Whether [`Observer::evaluated`] may break. Such evaluations are waited for, also where the job wants them beside the training.
    fn may_stop(&self) -> bool {
        true
    }

    /// A policy was evaluated; its checkpoint is in the run folder. Break as above.
    ///
    /// # Errors
    /// Stops the training.
    fn evaluated(&mut self, step: u64, policy: &AnyPolicy<Cpu>, report: &EvaluationReport) -> Result<ControlFlow<()>> {
        let _ = (step, policy, report);
        Ok(ControlFlow::Continue(()))
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn may_stop(&self) -> bool {
        false
    }
}
