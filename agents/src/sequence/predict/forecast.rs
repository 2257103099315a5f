//! Rows of a table whose next ones are forecast.

use std::collections::VecDeque;
use std::path::Path;

use aaren_data::sequences::{Row, RowReader, TableOptions};
use aaren_policy::{Loss, Normalizer, Scaler, Scaling, SequenceDescription, SequenceRows};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::feed::{Answer, Feed, SOURCE, Shown};
use super::lines::Lines;
use crate::config::{Anchor, Channels, Execution, Forecast, MissingRows};
use crate::sequence::forecast::{CALENDAR, calendar, numbers_of_token, push_row};
use crate::sequence::task::check_distance;

/// Rows of a table.
#[derive(Debug)]
pub(super) struct ForecastFeed {
    config: Forecast,
    normalizer: Normalizer,
    channels: Vec<String>,
    /// Whether a window is looked at anew after every row.
    is_window: bool,
    carried: Carried,
}

/// What goes on from row to row.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    scaler: Scaler,
    /// The last known number of every channel, on the scale of the training split; NaN before there is one.
    last: Vec<f64>,
    /// Rows that a window looks at, or a token.
    rows: VecDeque<Seen>,
}

/// A row, on the scale of the training split.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen {
    /// As a scaler sees it.
    values: Vec<f64>,
    /// Centre and scale of every channel after it.
    scales: Vec<[f64; 2]>,
    calendar: Option<[f32; CALENDAR]>,
}

impl ForecastFeed {
    /// # Errors
    /// If the model cannot be executed so.
    pub(super) fn new(config: &Forecast, description: &SequenceDescription, execution: Option<Execution>) -> Result<Self> {
        let is_whole = config.scaling == Scaling::Window;
        ensure!(
            !is_whole || execution != Some(Execution::Streaming),
            "task.scaling: the model was trained with \"window\", which needs all rows of a window before its first token; \
             --execution window is what it can do, a stream takes one that was trained with \"running\" or \"dataset\""
        );
        let normalizer = description.normalizer.clone().context("the model does not say what it was scaled by")?;
        let channels = description.names.channels.clone();
        ensure!(channels.len() == normalizer.width(), "the model does not say the names of its channels");
        let carried = Carried {
            scaler: Scaler::new(config.scaling, config.span, channels.len()),
            last: vec![f64::NAN; channels.len()],
            rows: VecDeque::new(),
        };
        let is_window = is_whole || execution == Some(Execution::Window);
        Ok(Self { config: config.clone(), normalizer, channels, is_window, carried })
    }

    /// Channels of a token.
    fn width(&self) -> usize {
        if self.config.channels == Channels::Mixed { self.channels.len() } else { 1 }
    }

    /// Centre and scale of every channel at the last row.
    fn scales(&self) -> Vec<[f64; 2]> {
        let rows = &self.carried.rows;
        if self.config.scaling != Scaling::Window {
            return rows.back().expect("a row").scales.clone();
        }
        let mut scaler = Scaler::new(Scaling::Window, 0, self.channels.len());
        rows.iter().for_each(|row| scaler.push(&row.values));
        (0..self.channels.len()).map(|channel| [scaler.center(channel), scaler.scale(channel)]).collect()
    }

    /// Tokens of the last rows, part by part.
    ///
    /// - `count`: how many rows
    /// - `place`: that of the first of them
    fn tokens(&self, count: usize, place: usize) -> SequenceRows {
        let whole = (self.config.scaling == Scaling::Window).then(|| self.scales());
        let (rows, width, mut tokens) = (&self.carried.rows, self.width(), SequenceRows::default());
        for part in 0..self.rows() {
            let channels = part * width..(part + 1) * width;
            for at in 0..count {
                let row = &rows[rows.len() - count + at];
                let earlier = |lag: usize| rows.len().checked_sub(count - at + lag).filter(|_| lag <= place + at);
                let before = (1..self.config.lags).map(|lag| earlier(lag).map(|at| &rows[at].values[channels.clone()]));
                let scales = &whole.as_ref().unwrap_or(&row.scales)[channels.clone()];
                let values = &row.values[channels.clone()];
                push_row(&mut tokens.numbers, values, before, scales, self.config.missing, row.calendar.as_ref());
                tokens.positions.push(place + at);
                tokens.resets.push(place + at == 0);
            }
        }
        tokens
    }
}

impl Feed for ForecastFeed {
    fn lines(&self) -> Lines {
        let may_miss = self.config.missing != MissingRows::Refuse;
        let options = TableOptions { time: self.config.time.as_deref(), columns: &self.channels, may_miss };
        Lines::Rows(RowReader::new(Path::new(SOURCE), options).or_by_place())
    }

    fn sizes(&self) -> (usize, usize, Loss) {
        let width = self.width();
        (numbers_of_token(&self.config, width), 0, Loss::Squares(self.config.horizon.saturating_mul(width)))
    }

    fn rows(&self) -> usize {
        self.channels.len() / self.width()
    }

    fn push(&mut self, row: &Row, place: usize) -> Result<Shown> {
        let (found, expected) = (row.values.len(), self.channels.len());
        ensure!(found == expected, "found {found} numbers, expected {expected}: {}", self.channels.join(", "));
        let calendar = match (self.config.calendar, row.time) {
            (false, _) => None,
            (true, Some(time)) => Some(calendar(time)),
            (true, None) => anyhow::bail!("the model is told the time of every row (task.calendar), and no column has it"),
        };
        let Normalizer { mean, deviation } = &self.normalizer;
        let scaled: Vec<f64> =
            row.values.iter().zip(mean).zip(deviation).map(|((value, mean), deviation)| (value - mean) / deviation).collect();
        row.values.iter().zip(&scaled).try_for_each(|(value, scaled)| check_distance(*value, *scaled))?;
        let carried = &mut self.carried;
        for (last, value) in carried.last.iter_mut().zip(&scaled).filter(|(_, value)| !value.is_nan()) {
            *last = *value;
        }
        // As in training a number that is missing is the last known one, unless the model was trained to see that it is missing.
        let values = if self.config.missing == MissingRows::Zero { scaled } else { carried.last.clone() };
        carried.scaler.push(&values);
        let scales = (0..values.len()).map(|channel| [carried.scaler.center(channel), carried.scaler.scale(channel)]).collect();
        carried.rows.push_back(Seen { values, scales, calendar });
        let kept = if self.is_window { self.config.look_back } else { self.config.lags };
        if carried.rows.len() > kept {
            carried.rows.pop_front();
        }
        Ok(match kept - self.carried.rows.len() {
            _ if !self.is_window => Shown::Tokens(self.tokens(1, place)),
            0 => Shown::Window(self.tokens(kept, 0)),
            missing => Shown::Waiting(missing),
        })
    }

    fn answer(&self, output: &[f32]) -> Answer {
        let (width, scales) = (self.width(), self.scales());
        let of_channel = |(channel, name): (usize, &String)| {
            let [center, scale] = scales[channel];
            let last = self.carried.last[channel];
            let anchor = match self.config.anchor {
                Anchor::Mean => center,
                Anchor::Last => {
                    if last.is_nan() {
                        0.0
                    } else {
                        last
                    }
                }
            };
            let number = |step: usize| {
                let at = (channel / width * self.config.horizon + step) * width + channel % width;
                let scaled = anchor + scale * f64::from(output[at]);
                scaled * self.normalizer.deviation[channel] + self.normalizer.mean[channel]
            };
            (name.clone(), (0..self.config.horizon).map(number).collect())
        };
        Answer::Forecast { forecast: self.channels.iter().enumerate().map(of_channel).collect() }
    }

    fn begin(&mut self) {
        let Self { carried, config, channels, .. } = self;
        carried.rows.clear();
        carried.last.fill(f64::NAN);
        carried.scaler = Scaler::new(config.scaling, config.span, channels.len());
    }

    fn store(&self) -> Result<Vec<u8>> {
        Ok(rmp_serde::to_vec(&self.carried)?)
    }

    fn restore(&mut self, stored: &[u8]) -> Result<()> {
        let carried: Carried = rmp_serde::from_slice(stored)?;
        let width = self.channels.len();
        let fits =
            carried.last.len() == width && carried.rows.iter().all(|row| row.values.len() == width && row.scales.len() == width);
        ensure!(fits, "it is not of a table of {width} channels");
        self.carried = carried;
        Ok(())
    }
}
