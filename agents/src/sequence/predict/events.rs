//! Events whose next one is said.

use std::path::Path;

use aaren_data::sequences::{EventReader, Row};
use aaren_policy::{Loss, NextEvent, SequenceDescription, SequenceRows};
use anyhow::{Context, Result};

use super::feed::{Answer, Feed, SOURCE, Shown};
use super::lines::Lines;
use crate::config::Events;
use crate::sequence::events::{LARGEST, SPAN, Token, gap};

/// Events of a sequence.
#[derive(Debug)]
pub(super) struct EventsFeed {
    config: Events,
    /// Of the logarithms of gaps.
    center: f64,
    scale: f64,
    span: f64,
    largest: f64,
    marks: Vec<String>,
    /// When the first and the last event of the sequence were.
    times: Option<[f64; 2]>,
}

impl EventsFeed {
    pub(super) fn new(config: &Events, description: &SequenceDescription) -> Result<Self> {
        let normalizer = description.normalizer.as_ref().context("the model does not say what it was scaled by")?;
        let known = |name: &str| {
            let missing = || format!("the model does not say the {name} of what it was trained on");
            description.statistics.get(name).copied().with_context(missing)
        };
        let marks = description.names.classes.clone();
        let (center, scale) = (normalizer.mean[0], normalizer.deviation[0]);
        Ok(Self { config: config.clone(), center, scale, span: known(SPAN)?, largest: known(LARGEST)?, marks, times: None })
    }
}

impl Feed for EventsFeed {
    fn lines(&self) -> Lines {
        Lines::Events(EventReader::new(Path::new(SOURCE), &self.marks))
    }

    fn sizes(&self) -> (usize, usize, Loss) {
        let (components, marks) = (self.config.components, self.marks.len());
        (Token::numbers(&self.config), marks, Loss::NextEvent { components, marks })
    }

    fn push(&mut self, row: &Row, place: usize) -> Result<Shown> {
        let time = row.values[0];
        let [first, last] = self.times.unwrap_or([time; 2]);
        let before = (place > 0).then(|| gap(&self.config, last, time));
        let mut tokens = SequenceRows { positions: vec![place], resets: vec![place == 0], ..SequenceRows::default() };
        Token { gap: before, time, first }.push(&self.config, [self.center, self.scale], self.span, &mut tokens.numbers);
        if !self.marks.is_empty() {
            tokens.ids.push(row.values[1] as i32);
        }
        self.times = Some([first, time]);
        Ok(Shown::Tokens(tokens))
    }

    fn answer(&self, output: &[f32]) -> Answer {
        let next = NextEvent::new(output, self.config.components, self.center, self.scale);
        let probabilities = || next.log_marks().iter().map(|log| log.exp());
        let mark = (!self.marks.is_empty()).then(|| self.marks[next.mark()].clone());
        Answer::Event {
            unit: self.config.unit.plural(),
            median: next.median(),
            mean: next.mean(self.largest),
            tenths: (1..10).map(|tenth| next.quantile(f64::from(tenth) / 10.0)).collect(),
            probabilities: mark.as_ref().map(|_| self.marks.iter().cloned().zip(probabilities()).collect()),
            mark,
        }
    }

    fn begin(&mut self) {
        self.times = None;
    }

    fn store(&self) -> Result<Vec<u8>> {
        Ok(rmp_serde::to_vec(&self.times)?)
    }

    fn restore(&mut self, stored: &[u8]) -> Result<()> {
        self.times = rmp_serde::from_slice(stored)?;
        Ok(())
    }
}
