//! Steps of sequences that belong to a class.

use std::path::Path;

use aaren_data::sequences::{Row, RowReader, TableOptions};
use aaren_policy::{Loss, Normalizer, SequenceDescription, SequenceRows};
use anyhow::{Context, Result, ensure};

use super::feed::{Answer, Feed, SOURCE, Shown, likeliest, probabilities};
use super::lines::Lines;
use crate::config::{Classify, MissingNumbers};
use crate::sequence::classify::push_step;
use crate::sequence::task::check_distance;

/// Rows of the numbers of a step.
#[derive(Debug)]
pub(super) struct ClassifyFeed {
    normalizer: Normalizer,
    missing: MissingNumbers,
    classes: Vec<String>,
}

impl ClassifyFeed {
    pub(super) fn new(config: &Classify, description: &SequenceDescription) -> Result<Self> {
        let normalizer = description.normalizer.clone().context("the model does not say what it was scaled by")?;
        Ok(Self { normalizer, missing: config.missing, classes: description.names.classes.clone() })
    }
}

impl Feed for ClassifyFeed {
    fn lines(&self) -> Lines {
        let may_miss = self.missing == MissingNumbers::Zero;
        Lines::Rows(RowReader::new(Path::new(SOURCE), TableOptions { may_miss, ..TableOptions::default() }))
    }

    fn sizes(&self) -> (usize, usize, Loss) {
        let flags = if self.missing == MissingNumbers::Zero { 2 } else { 1 };
        (flags * self.normalizer.width(), 0, Loss::Classes(self.classes.len()))
    }

    fn push(&mut self, row: &Row, place: usize) -> Result<Shown> {
        let (found, expected) = (row.values.len(), self.normalizer.width());
        ensure!(found == expected, "found {found} numbers, the model was trained on {expected} a step");
        let scaled = row.values.iter().zip(self.normalizer.mean.iter().zip(&self.normalizer.deviation));
        scaled.into_iter().try_for_each(|(value, (mean, deviation))| check_distance(*value, (value - mean) / deviation))?;
        let mut tokens = SequenceRows { positions: vec![place], resets: vec![place == 0], ..SequenceRows::default() };
        push_step(&mut tokens.numbers, &row.values, &self.normalizer, self.missing);
        Ok(Shown::Tokens(tokens))
    }

    fn answer(&self, output: &[f32]) -> Answer {
        let all = probabilities(output);
        let (at, probability) = likeliest(&all);
        Answer::Class {
            class: self.classes[at].clone(),
            probability,
            probabilities: self.classes.iter().cloned().zip(all).collect(),
        }
    }
}
