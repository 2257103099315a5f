//! What a kind of task makes of rows as they come, and of outputs.

use std::collections::BTreeMap;
use std::fmt::Debug;

use aaren_data::sequences::Row;
use aaren_policy::{Loss, SequenceRows};
use anyhow::Result;
use serde::Serialize;

use super::lines::Lines;

/// What errors call the rows.
pub(super) const SOURCE: &str = "standard input";

/// What a model says after a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Nothing yet.
    Waiting {
        /// Rows that are missing before it can say something.
        waits_for: usize,
    },
    /// Of which class the sequence is, as far as it was seen.
    Class {
        /// The likeliest.
        class: String,
        /// Its probability.
        probability: f64,
        /// Those of all classes.
        probabilities: BTreeMap<String, f64>,
    },
    /// The numbers of the next rows, in the units of the table.
    Forecast {
        /// By channel, a number for each row to come.
        forecast: BTreeMap<String, Vec<f64>>,
    },
    /// When the next event comes, and of which kind.
    Event {
        /// What the gap until then is in.
        unit: &'static str,
        /// The gap that is as likely to be shorter as to be longer.
        median: f64,
        /// The mean gap; null where it is beyond the largest that was trained on.
        mean: Option<f64>,
        /// The gaps within which the next event comes with the probabilities 0.1, 0.2 and so on to 0.9.
        tenths: Vec<f64>,
        /// The likeliest kind, where something tells events apart.
        #[serde(skip_serializing_if = "Option::is_none")]
        mark: Option<String>,
        /// The probabilities of all kinds.
        #[serde(skip_serializing_if = "Option::is_none")]
        probabilities: Option<BTreeMap<String, f64>>,
    },
    /// The token that belongs here.
    Token {
        /// The likeliest.
        token: usize,
        /// Its probability.
        probability: f64,
    },
}

/// What a model is shown for a row.
pub(super) enum Shown {
    /// The next token of each row of the stream.
    Tokens(SequenceRows),
    /// All tokens that are looked at.
    Window(SequenceRows),
    /// Nothing, until so many more rows are there.
    Waiting(usize),
}

/// Rows of a kind of task as they come.
pub(super) trait Feed: Debug + Send + Sync {
    /// Sequences of the model that a row belongs to.
    fn rows(&self) -> usize {
        1
    }

    /// What reads its rows, before the first line.
    fn lines(&self) -> Lines;

    /// What the tokens that it makes and the outputs that it reads are: numbers, ids, and the loss.
    fn sizes(&self) -> (usize, usize, Loss);

    /// What the model is shown for a row.
    ///
    /// - `place`: rows of its sequence before it
    fn push(&mut self, row: &Row, place: usize) -> Result<Shown>;

    /// What an output means that was made of it.
    fn answer(&self, output: &[f32]) -> Answer;

    /// Another sequence begins.
    fn begin(&mut self) {}

    /// What it carries from row to row.
    fn store(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Goes on from what was stored.
    fn restore(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Probabilities of logits.
pub(super) fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let odds: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = odds.iter().sum();
    odds.into_iter().map(|odd| odd / sum).collect()
}

/// The likeliest, and its probability.
pub(super) fn likeliest(probabilities: &[f64]) -> (usize, f64) {
    let at = (0..probabilities.len()).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b])).expect("a class");
    (at, probabilities[at])
}
