//! What judges the policies of a training: episodes that they play, episodes that they did not learn from, or both.

use std::sync::Arc;
use std::time::Instant;

use aaren_policy::Model;
use anyhow::{Context, Result, bail};

use crate::device::Cpu;
use crate::exchange::Ranks;
use crate::play::episodes::EpisodeResult;
use crate::play::evaluate::{Evaluation, play_share};
use crate::run::report::EvaluationReport;

/// The headline of an evaluation in the log.
pub(super) const RETURN_MEAN: &str = "evaluation/return_mean";
/// The loss on held-out episodes in the log.
pub(super) const VALIDATION_LOSS: &str = "validation/loss";

/// Adds to a report what a policy reaches on data that it did not learn from, and says whether that is at the end of the training.
pub(crate) type Validate = Arc<dyn Fn(&Model<Cpu>, bool, &mut EvaluationReport) -> Result<()> + Send + Sync>;

/// What judges the policies of a training.
#[derive(Clone)]
pub(crate) struct Judges {
    /// The evaluation at the end, where there is an environment.
    pub evaluation: Option<Evaluation>,
    /// On held-out episodes or sequences, where there are some.
    pub validation: Option<Validate>,
    /// Whether it is the end of the training.
    pub is_final: bool,
    /// One line about what the policy learned from.
    pub data: String,
}

impl Judges {
    /// What a policy of a run reaches: on all ranks, each of which plays its share of the episodes. Rank 0 does the rest, and says it to
    /// all.
    ///
    /// # Errors
    /// An environment that fails, an interrupt, or a rank that does not come.
    pub(super) fn judge(&self, policy: &Model<Cpu>, run: &str, step: u64, ranks: &Ranks) -> Result<EvaluationReport> {
        let started = Instant::now();
        let (rank, size) = (ranks.rank(), ranks.size());
        // A module cannot be shared by threads; a handle of its own can be sent to one.
        let own = || policy.clone();
        let played = match &self.evaluation {
            None => Vec::new(),
            Some(evaluation) => {
                let Model::Policy(policy) = own() else { bail!("a model of sequences plays no episodes") };
                let share = ranks.together(move || play_share(&policy, evaluation, rank, size))?;
                in_order(ranks.gather_values(share)?)
            }
        };
        let (policy, played) = (own(), &played);
        let report = ranks.together(move || {
            if rank != 0 {
                return Ok(None);
            }
            let mut report = match (&self.evaluation, &policy) {
                (Some(evaluation), Model::Policy(policy)) => {
                    evaluation.report(policy, run, step, played, started.elapsed().as_secs_f64())?
                }
                _ => EvaluationReport::without_env(run, step, &self.data, policy.mixer(), policy.parameters()),
            };
            self.validation.as_ref().map_or(Ok(()), |validate| validate(&policy, self.is_final, &mut report))?;
            Ok(Some(report))
        })?;
        ranks.from_first(|| report.context("rank 0 has no report"))
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

/// The episodes of all ranks, each of which played every so-many-th, in order.
fn in_order(shares: Vec<Vec<EpisodeResult>>) -> Vec<EpisodeResult> {
    let mut shares: Vec<_> = shares.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::new();
    loop {
        for share in &mut shares {
            match share.next() {
                Some(episode) => all.push(episode),
                None => return all,
            }
        }
    }
}
