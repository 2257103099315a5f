//! Tokens of associative recall.

use std::path::Path;

use aaren_data::sequences::{Row, RowReader, SequenceError, TableOptions};
use aaren_policy::SequenceRows;
use anyhow::{Result, ensure};

use super::feed::{Answer, Feed, Shown, likeliest, probabilities};

/// Rows of one token.
#[derive(Debug)]
pub(super) struct MqarFeed {
    vocabulary: usize,
    reader: RowReader,
}

impl MqarFeed {
    pub(super) fn new(vocabulary: usize, source: &Path) -> Self {
        Self { vocabulary, reader: RowReader::new(source, TableOptions::default()) }
    }
}

impl Feed for MqarFeed {
    fn read(&mut self, line: &[u8]) -> Result<Option<Row>, SequenceError> {
        self.reader.read(line)
    }

    fn pass(&mut self, line: &[u8]) -> bool {
        self.reader.pass(line)
    }

    fn push(&mut self, row: &Row, place: usize) -> Result<Shown> {
        let most = self.vocabulary;
        let is_token = |value: f64| value.fract() == 0.0 && (0.0..most as f64).contains(&value);
        ensure!(
            row.values.len() == 1 && is_token(row.values[0]),
            "found {:?}, expected one token from 0 to {}",
            row.values,
            most - 1
        );
        let ids = vec![row.values[0] as i32];
        Ok(Shown::Tokens(SequenceRows { ids, positions: vec![place], resets: vec![place == 0], ..SequenceRows::default() }))
    }

    fn answer(&self, output: &[f32]) -> Answer {
        let (token, probability) = likeliest(&probabilities(output));
        Answer::Token { token, probability }
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
