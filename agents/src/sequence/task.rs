//! What a task on sequences is.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;

use aaren_policy::{Normalizer, PolicyConfig, SequenceNames, SequenceRows, SequenceSpec};
use anyhow::{Result, ensure};

use crate::run::DataMark;
use crate::run::report::{Baseline, Score};

/// Which sequences: what is learnt from, what chooses a checkpoint, and what is reported of it share none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Sequences to learn from.
    Train,
    /// Sequences to be measured on in the end.
    Test,
    /// Sequences that choose a checkpoint.
    Validation,
}

/// How long the sequences of a split are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lengths {
    /// So long each, in tokens.
    Each(Vec<usize>),
    /// There are as many as are asked for, all of one length.
    Fresh(usize),
}

impl Lengths {
    /// Tokens of a sequence, if there is one of that number.
    pub(crate) fn of(&self, sequence: usize) -> Option<usize> {
        match self {
            Lengths::Each(lengths) => lengths.get(sequence).copied(),
            Lengths::Fresh(length) => Some(*length),
        }
    }

    /// Tokens of the longest sequence.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Lengths::Each(lengths) => lengths.iter().copied().max().unwrap_or(0),
            Lengths::Fresh(length) => *length,
        }
    }
}

/// So many deviations from the mean of the training split a number may be: what is computed of larger ones is no number any more.
const FARTHEST: f64 = 1e12;

/// Whether a model can be shown a number.
///
/// - `scaled`: in deviations from the mean of the training split; NaN where none is known
///
/// # Errors
/// If it is too far from what was trained on.
pub(super) fn check_distance(value: f64, scaled: f64) -> Result<()> {
    ensure!(
        value.is_nan() || scaled.abs() <= FARTHEST,
        "found {value:e}, more than {FARTHEST:e} standard deviations from the mean of the training split; expected a number of its size"
    );
    Ok(())
}

/// What is odd about a training and a test split that are one file.
pub(super) fn one_file(train: &str, test: &str) -> Option<String> {
    let path = |name: &str| std::fs::canonicalize(name).ok();
    let is_one = train == test || path(train).is_some_and(|train| path(test) == Some(train));
    is_one.then(|| format!("task.test is the file of task.train, {train}: scores are of what was learnt by heart"))
}

/// A task on sequences. No tensors: a network learns it that is built from [`SequenceTask::spec`].
pub trait SequenceTask: Debug + Send + Sync {
    /// All that a network needs to know.
    fn spec(&self, policy: &PolicyConfig) -> SequenceSpec;

    /// How numbers of tokens were scaled, which a saved model is to know.
    fn normalizer(&self) -> Option<Normalizer> {
        None
    }

    /// What a saved model is to call its inputs and outputs.
    fn names(&self) -> SequenceNames {
        SequenceNames::default()
    }

    /// Other numbers of its data that a saved model is to know.
    fn statistics(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    /// The sequences of a split.
    fn lengths(&self, split: Split) -> Lengths;

    /// Appends the ids and the numbers of some tokens of a sequence, and what is due at them. [`push`] does the rest.
    fn push(&self, rows: &mut SequenceRows, split: Split, sequence: usize, tokens: Range<usize>);

    /// Tokens of each of the streams that the sequences of a split are windows of; none where each sequence is a stream by itself, or a
    /// token needs its whole window.
    fn streams(&self, _: Split) -> Option<Vec<usize>> {
        None
    }

    /// Appends the ids and the numbers of tokens of one of them, and what is due where windows end.
    ///
    /// # Panics
    /// If there are none.
    fn push_stream(&self, _: &mut SequenceRows, _: Split, _: usize, _: Range<usize>) {
        unreachable!("there are no streams");
    }

    /// Nothing scored yet.
    fn scorer(&self) -> Box<dyn Scorer>;

    /// What reaches how much without having learnt from order.
    fn baselines(&self, split: Split) -> Vec<Baseline>;

    /// What looks wrong with its data, and may be meant: a sentence each.
    fn odd(&self) -> Vec<String> {
        Vec::new()
    }

    /// Tells its data from others, where they are files.
    fn mark(&self) -> Option<DataMark> {
        None
    }
}

/// Outputs to scores.
pub trait Scorer {
    /// Takes an output, and what was due there: the entry of that number in [`SequenceRows::due`].
    fn add(&mut self, output: &[f32], rows: &SequenceRows, due: usize);

    /// The scores so far; the first is the headline, by which checkpoints are chosen.
    fn scores(&self) -> Vec<Score>;
}

/// Appends tokens of a sequence of a task; `reset` says whether what came before the first is forgotten. Training, evaluation and streams
/// take their tokens from here.
pub fn push(task: &dyn SequenceTask, rows: &mut SequenceRows, split: Split, sequence: usize, tokens: Range<usize>, reset: bool) {
    task.push(rows, split, sequence, tokens.clone());
    rows.resets.extend(tokens.clone().map(|token| reset && token == tokens.start));
    rows.positions.extend(tokens);
}
