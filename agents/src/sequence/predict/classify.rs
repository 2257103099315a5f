//! Steps of sequences that belong to a class.

use std::path::Path;

use aaren_data::sequences::{Row, RowReader, SequenceError, TableOptions};
use aaren_policy::{Normalizer, SequenceDescription, SequenceRows};
use anyhow::{Context, Result, ensure};

use super::feed::{Answer, Feed, Shown, likeliest, probabilities};
use crate::config::{Classify, MissingNumbers};
use crate::sequence::classify::push_step;

/// Rows of the numbers of a step.
#[derive(Debug)]
pub(super) struct ClassifyFeed {
    normalizer: Normalizer,
    missing: MissingNumbers,
    classes: Vec<String>,
    reader: RowReader,
}

impl ClassifyFeed {
    pub(super) fn new(config: &Classify, description: &SequenceDescription, source: &Path) -> Result<Self> {
        let normalizer = description.normalizer.clone().context("the model does not say what it was scaled by")?;
        let may_miss = config.missing == MissingNumbers::Zero;
        let reader = RowReader::new(source, TableOptions { may_miss, ..TableOptions::default() });
        let classes = description.names.classes.clone();
        ensure!(classes.len() == description.spec.loss.width(), "the model does not say the names of its classes");
        Ok(Self { normalizer, missing: config.missing, classes, reader })
    }
}

impl Feed for ClassifyFeed {
    fn read(&mut self, line: &[u8]) -> Result<Option<Row>, SequenceError> {
        self.reader.read(line)
    }

    fn pass(&mut self, line: &[u8]) -> bool {
        self.reader.pass(line)
    }

    fn push(&mut self, row: &Row, place: usize) -> Result<Shown> {
        let (found, expected) = (row.values.len(), self.normalizer.width());
        ensure!(found == expected, "found {found} numbers, the model was trained on {expected} a step");
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

    fn begin(&mut self) {
        self.reader.begin();
    }

    fn store(&self) -> Result<Vec<u8>> {
        Ok(rmp_serde::to_vec(&self.reader)?)
    }

    fn restore(&mut self, stored: &[u8]) -> Result<()> {
        self.reader = rmp_serde::from_slice(stored)?;
        Ok(())
    }
}
