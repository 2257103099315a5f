//! What a model of sequences reached.

use serde::{Deserialize, Serialize};

use crate::run::encoding;
use crate::run::words::number;

/// A number by which models are told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What it is.
    pub name: String,
    /// Under which condition, such as a horizon, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The number.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub value: f64,
    /// Which is better.
    pub better: Better,
}

/// Which of two numbers is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// The larger one.
    Higher,
    /// The smaller one.
    Lower,
    /// None: it tells how a model is, and not how well it does.
    Neither,
}

impl Better {
    /// What larger is better of.
    pub(crate) fn merit(self, value: f64) -> f64 {
        if self == Better::Higher { value } else { -value }
    }

    /// Which, in a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Better::Higher => "higher",
            Better::Lower => "lower",
            Better::Neither => "-",
        }
    }
}

impl Score {
    /// The name in the log of a score of a split, by its title.
    pub(crate) fn logged(split: &str, title: &str) -> String {
        format!("{split}/{}", title.replace(", ", "/"))
    }

    /// The name, and the condition.
    pub(crate) fn title(&self) -> String {
        self.condition.as_ref().map_or_else(|| self.name.clone(), |condition| format!("{}, {condition}", self.name))
    }
}

/// What something reaches that has learnt nothing, or next to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// What it does.
    pub name: String,
    /// Scores on the test split.
    pub scores: Vec<Score>,
}

/// What a model of sequences reached; the first score is the headline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceReport {
    /// On the validation split, which chooses the checkpoint.
    pub validation: Vec<Score>,
    /// On the test split; empty while it trains.
    pub test: Vec<Score>,
    /// What it is to be held against.
    pub baselines: Vec<Baseline>,
}

impl SequenceReport {
    /// The name of the training's loss among the scores.
    pub(crate) const LOSS: &str = "loss";

    /// The loss on the validation split.
    pub(crate) fn validation_loss(&self) -> Option<f64> {
        self.validation.iter().find(|score| score.name == Self::LOSS).map(|score| score.value)
    }

    /// Scores in one line, without those under a condition: of the validation split while it trains, of the test split at the end.
    pub(super) fn line(&self) -> String {
        let (scores, of) = if self.test.is_empty() { (&self.validation, "") } else { (&self.test, "test ") };
        let shown = scores.iter().filter(|score| score.condition.is_none());
        let shown: Vec<_> = shown.map(|score| format!("{of}{} {}", score.title(), number(score.value))).collect();
        shown.join(", ")
    }
}
