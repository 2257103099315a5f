//! The policies of a step while they are judged, and what is logged of that.

use std::thread::JoinHandle;

use aaren_policy::Model;
use anyhow::Result;

use super::judges::{Judges, VALIDATION_LOSS};
use crate::device::Cpu;
use crate::exchange::Ranks;
use crate::run::report::{EvaluationReport, Score};
use crate::run::words::asked_for;

/// The policies of a step, to be judged.
pub(super) struct Snapshot {
    pub(super) step: u64,
    /// Seconds of the run at that step.
    pub(super) seconds: f64,
    pub(super) policy: Model<Cpu>,
    /// Of the last step's weights, where `policy` is of averaged ones.
    pub(super) last: Option<Model<Cpu>>,
    /// The loss as last logged, for early stopping.
    pub(super) loss: Option<f64>,
}

/// What the policies of a step reached, in the order of [`Snapshot`].
pub(super) type Reports = (EvaluationReport, Option<EvaluationReport>);

impl Snapshot {
    /// On all ranks, which share the work; all have the reports.
    pub(super) fn judge(&self, run: &str, judges: &Judges, ranks: &Ranks) -> Result<Reports> {
        let judge = |policy| judges.judge(policy, run, self.step, ranks);
        Ok((judge(&self.policy)?, self.last.as_ref().map(judge).transpose()?))
    }
}

/// An evaluation that runs beside the training.
pub(super) struct Beside {
    pub(super) thread: JoinHandle<Result<(Snapshot, Reports)>>,
    /// Lines of the log that come after that of the evaluation.
    pub(super) held: Vec<Line>,
}

/// A line of the log.
pub(super) struct Line {
    pub(super) step: u64,
    pub(super) seconds: f64,
    pub(super) values: Vec<(&'static str, f64)>,
}

/// What an evaluation logs: every target return under its own name, the first also under none; of the last step's weights the headline.
pub(super) fn scalars((report, last): &Reports) -> Vec<(String, f64)> {
    let mut names = Vec::new();
    let asked: Vec<Option<f64>> = report.targets.iter().map(|target| target.target_return).collect();
    let named = asked_for(&asked).into_iter().zip(&report.targets).enumerate();
    let folders = named.filter(|(index, _)| !asked[..*index].contains(&asked[*index]));
    let folders = folders.flat_map(|(index, (name, target))| {
        let headline = (index == 0).then(|| "evaluation".to_string());
        let own = target.target_return.map(|_| format!("evaluation/{name}"));
        headline.into_iter().chain(own).map(move |folder| (folder, target))
    });
    for (folder, target) in folders {
        names.push((format!("{folder}/return_mean"), target.return_mean));
        names.push((format!("{folder}/return_std"), target.return_std));
        names.push((format!("{folder}/length_mean"), target.length_mean));
        names.extend(target.normalised_score.map(|score| (format!("{folder}/normalised_score"), score)));
    }
    if !report.targets.is_empty() {
        names.push(("evaluation/env_steps_per_second".into(), report.env_steps_per_second));
    }
    names.extend(report.validation.map(|validation| (VALIDATION_LOSS.into(), validation.loss)));
    let of_sequences = |report: &EvaluationReport, end: &str| {
        let splits = report.sequences.iter().flat_map(|report| [("validation", &report.validation), ("test", &report.test)]);
        let named = splits.flat_map(|(split, scores)| scores.iter().map(move |score| (split, score)));
        named.map(|(split, score)| (Score::logged(&format!("{split}{end}"), &score.title()), score.value)).collect::<Vec<_>>()
    };
    names.extend(of_sequences(report, ""));
    if let Some(last) = last {
        names.extend(last.targets.first().map(|target| ("evaluation_last/return_mean".into(), target.return_mean)));
        names.extend(last.validation.map(|validation| ("validation_last/loss".into(), validation.loss)));
        names.extend(of_sequences(last, "_last"));
    }
    names
}
