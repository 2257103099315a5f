//! Tokens of associative recall.

use std::path::Path;

use aaren_data::sequences::{Row, RowReader, TableOptions};
use aaren_policy::{Loss, SequenceRows};
use anyhow::{Result, ensure};

use super::feed::{Answer, Feed, SOURCE, Shown, likeliest, probabilities};
use super::lines::Lines;

/// Rows of one token.
#[derive(Debug)]
pub(super) struct MqarFeed {
    pub(super) vocabulary: usize,
}

impl Feed for MqarFeed {
    fn lines(&self) -> Lines {
        Lines::Rows(RowReader::new(Path::new(SOURCE), TableOptions::default()))
    }

    fn sizes(&self) -> (usize, usize, Loss) {
        (0, self.vocabulary, Loss::Classes(self.vocabulary))
    }

    fn push(&mut self, row: &Row, place: usize) -> Result<Shown> {
        let most = self.vocabulary;
        let is_token = |value: f64| value.fract() == 0.0 && (0.0..most as f64).contains(&value);
        ensure!(
            row.values.len() == 1 && is_token(row.values[0]),
            "found {:?}, expected one token from 0 to {}",
            row.values,
            most.saturating_sub(1)
        );
        let ids = vec![row.values[0] as i32];
        Ok(Shown::Tokens(SequenceRows { ids, positions: vec![place], resets: vec![place == 0], ..SequenceRows::default() }))
    }

    fn answer(&self, output: &[f32]) -> Answer {
        let (token, probability) = likeliest(&probabilities(output));
        Answer::Token { token, probability }
    }
}
