//! What is compared of a report, whatever it is of, and the table of a model of sequences.

use std::fmt::{self, Display, Formatter};

use super::scores::{Better, Score, SequenceReport};
use super::validation::ValidationReport;
use super::{EvaluationReport, align_right, table};
use crate::run::words::number;

impl EvaluationReport {
    /// What larger is better of: the mean return for the first target return, the first score on the validation split, or the loss on
    /// held-out episodes, the last two with the sign that makes it so. None of a policy that nothing judged.
    pub(crate) fn headline(&self) -> Option<f64> {
        let of_sequences = || self.sequences.as_ref()?.validation.first().map(|score| score.better.merit(score.value));
        let of_validation = || self.validation.map(|validation| Better::Lower.merit(validation.loss));
        self.targets.first().map(|target| target.return_mean).or_else(of_sequences).or_else(of_validation)
    }

    /// What a checkpoint is marked the best for, in words.
    ///
    /// - `merit`: the headline of its report, of which larger is better
    pub fn reached(&self, merit: f64) -> String {
        match (self.targets.first(), &self.sequences, self.validation) {
            (None, Some(report), _) if !report.validation.is_empty() => {
                let score = &report.validation[0];
                format!("{} {} on the validation split", score.name, number(score.better.merit(merit)))
            }
            (None, _, Some(_)) => format!("loss {} on held-out episodes", number(Better::Lower.merit(merit))),
            _ => number(merit),
        }
    }

    /// What is compared of a policy that played nothing: the loss on held-out episodes, or scores on a test split.
    pub(crate) fn scores(&self) -> Vec<Score> {
        let loss = |validation: ValidationReport| {
            let name = "loss on held-out episodes".into();
            Score { name, condition: None, value: validation.loss, better: Better::Lower }
        };
        let sequences = self.sequences.iter().flat_map(|report| report.test.iter().cloned());
        self.validation.map(loss).into_iter().chain(sequences).collect()
    }

    /// The loss on what was held out.
    pub(crate) fn held_out_loss(&self) -> Option<f64> {
        let of_sequences = || self.sequences.as_ref()?.validation_loss();
        self.validation.map(|validation| validation.loss).or_else(of_sequences)
    }
}

/// A row a score, with the baselines beside it.
impl Display for SequenceReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let fixed = ["score", "better", "test", "validation"];
        let mut table =
            table(&fixed.into_iter().chain(self.baselines.iter().map(|baseline| &*baseline.name)).collect::<Vec<_>>());
        for score in &self.validation {
            let of = |scores: &[Score]| {
                let found = scores.iter().find(|other| (&other.name, &other.condition) == (&score.name, &score.condition));
                found.map_or("-".into(), |found| number(found.value))
            };
            let fixed = [score.title(), score.better.word().into(), of(&self.test), number(score.value)];
            table.add_row(fixed.into_iter().chain(self.baselines.iter().map(|baseline| of(&baseline.scores))));
        }
        align_right(&mut table, 2);
        write!(f, "{table}")
    }
}
