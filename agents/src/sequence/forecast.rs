//! Forecasting a table: windows of rows, a token a row, and the rows after them.

use std::ops::Range;
use std::path::Path;

use aaren_data::sequences::{Naive, SequenceError, Table, TableOptions, Time, origins};
use aaren_policy::{Loss, Normalizer, PolicyConfig, Pool, Scaler, Scaling, SequenceNames, SequenceRows, SequenceSpec};
use anyhow::{Context, Result, ensure};

use super::forecast_score::{ForecastScorer, of_errors};
use super::task::{Lengths, Scorer, SequenceTask, Split, check_distance};
use crate::config::{Anchor, Channels, Due, Forecast, MissingRows};
use crate::run::DataMark;
use crate::run::report::Baseline;

/// Numbers of a token that tell the time.
pub(super) const CALENDAR: usize = 4;

const SECONDS_OF_DAY: f64 = 86400.0;

/// The task of a job.
#[derive(Debug)]
pub struct ForecastTask {
    config: Forecast,
    /// Channels of the table.
    channels: usize,
    columns: Vec<String>,
    /// Standardised, and filled where numbers are missing: `[rows, channels]`
    values: Vec<f64>,
    /// The same with NaN where numbers are missing, if the model is to see that: `[rows, channels]`
    holed: Option<Vec<f64>>,
    /// Whether each of them is in the file.
    known: Vec<bool>,
    /// Centre and scale of every channel after each row, unless they are a window's: `[rows, channels]`
    scales: Vec<[f64; 2]>,
    /// Of every row; none where no token is told it.
    calendar: Vec<[f32; CALENDAR]>,
    /// First forecast rows of all windows, split by split.
    origins: [Range<usize>; 3],
    season: Option<usize>,
    odd: Vec<String>,
    normalizer: Normalizer,
    mark: DataMark,
}

impl ForecastTask {
    /// Reads the table.
    ///
    /// # Errors
    /// What is wrong with the file, with its line and column; or a split that has no window.
    pub fn read(config: &Forecast) -> Result<Self> {
        if let Some(at) = (0..config.columns.len()).find(|&at| config.columns[..at].contains(&config.columns[at])) {
            anyhow::bail!("task.columns: \"{}\" is there twice", config.columns[at]);
        }
        let may_miss = config.missing != MissingRows::Refuse;
        let options = TableOptions { time: config.time.as_deref(), columns: &config.columns, may_miss };
        let table = Table::read(Path::new(&config.source), options);
        let hint = match &table {
            Err(SequenceError::Missing { .. }) => " (task.missing says what becomes of numbers that are missing)",
            _ => "",
        };
        let mut table = table.with_context(|| format!("task.source{hint}"))?;
        let splits = config.split.lengths()?.ranges(&table).context("task.split")?;
        let mark = mark(&table);
        let known: Vec<bool> = table.values.iter().map(|value| !value.is_nan()).collect();
        let (mean, deviation) = table.moments(splits[0].clone());
        if let Some(channel) = deviation.iter().position(|deviation| !deviation.is_finite()) {
            let name = &table.columns[channel];
            anyhow::bail!(
                "task.source: the numbers of \"{name}\" in {} are too large for a mean of their squares",
                config.source
            );
        }
        let mut odd: Vec<String> = table.irregularity().into_iter().collect();
        for (channel, name) in table.columns.iter().enumerate() {
            let rows = splits[0].clone().map(|row| table.values[row * table.columns.len() + channel]);
            let mut numbers = rows.filter(|value| !value.is_nan());
            let first = numbers.next().with_context(|| {
                format!("task.source: the column \"{name}\" of {} has no number in the training split", config.source)
            })?;
            if numbers.all(|value| value == first) {
                odd.push(format!("the column \"{name}\" is {first} in all of the training split: its errors have no scale"));
            }
        }
        match config.missing {
            MissingRows::Refuse => {}
            MissingRows::Linear => table.fill_linear().context("task.source")?,
            // Zeros are shown, and the last known one is what a forecast may begin from.
            MissingRows::Last | MissingRows::Zero => table.fill_last().context("task.source")?,
        }
        let channels = table.columns.len();
        let scaled = |(at, value): (usize, &f64)| (value - mean[at % channels]) / deviation[at % channels];
        let values: Vec<f64> = table.values.iter().enumerate().map(scaled).collect();
        for (at, (value, scaled)) in table.values.iter().zip(&values).enumerate() {
            let place =
                || format!("task.source: {}, row {}, \"{}\"", config.source, at / channels + 1, table.columns[at % channels]);
            check_distance(*value, *scaled).with_context(place)?;
        }
        let or_nan = |(value, known): (&f64, &bool)| if *known { *value } else { f64::NAN };
        let holed = (config.missing == MissingRows::Zero).then(|| values.iter().zip(&known).map(or_nan).collect());
        let origins = splits.map(|split| origins(&split, config.look_back, config.horizon));
        for (name, origins) in ["training", "validation", "test"].into_iter().zip(&origins) {
            let Forecast { look_back, horizon, source, .. } = config;
            ensure!(
                !origins.is_empty(),
                "task.split: the {name} split of {source} has no window of {look_back} rows to look back on (task.look_back) and \
                 {horizon} to forecast (task.horizon)"
            );
        }
        let calendar = match (config.calendar, &table.times) {
            (false, _) => Vec::new(),
            (true, Some(times)) => times.iter().map(|time| calendar(*time)).collect(),
            (true, None) => anyhow::bail!("task.calendar: {} has no column of times; task.time names it", config.source),
        };
        let day = table.step_seconds().map(|step| SECONDS_OF_DAY / step).filter(|rows| *rows >= 2.0 && rows.fract() == 0.0);
        let season = config.season.or(day.map(|rows| rows as usize).filter(|rows| *rows <= config.look_back));
        let mut task = Self {
            config: config.clone(),
            channels,
            columns: table.columns.clone(),
            values,
            holed,
            known,
            scales: Vec::new(),
            calendar,
            origins,
            season,
            odd,
            normalizer: Normalizer { mean, deviation },
            mark,
        };
        if config.scaling != Scaling::Window {
            let mut scaler = Scaler::new(config.scaling, config.span, channels);
            for row in 0..table.rows() {
                scaler.push(task.shown(row, &(0..channels)));
                task.scales.extend((0..channels).map(|channel| [scaler.center(channel), scaler.scale(channel)]));
            }
        }
        Ok(task)
    }

    /// Numbers of a row as a scaler sees them: NaN where the model is to see that one is missing.
    fn shown(&self, row: usize, channels: &Range<usize>) -> &[f64] {
        let first = row * self.channels;
        &self.holed.as_ref().unwrap_or(&self.values)[first + channels.start..first + channels.end]
    }

    /// Appends tokens of rows.
    ///
    /// - `first`: the row of token 0
    /// - `part`: the sequence of a window whose channels are shown
    fn push_tokens(
        &self,
        rows: &mut SequenceRows,
        first: usize,
        part: usize,
        tokens: Range<usize>,
        is_due: impl Fn(usize) -> bool,
    ) {
        let Forecast { look_back, horizon, lags, scaling, span, anchor, missing, .. } = self.config;
        let channels = part * self.width()..(part + 1) * self.width();
        let whole = (scaling == Scaling::Window).then(|| {
            let mut scaler = Scaler::new(scaling, span, channels.len());
            (first..first + look_back).for_each(|row| scaler.push(self.shown(row, &channels)));
            scaler
        });
        let scale = |row: usize, channel: usize| match &whole {
            Some(scaler) => [scaler.center(channel - channels.start), scaler.scale(channel - channels.start)],
            None => self.scales[row * self.channels + channel],
        };
        // Resets come after the tokens, so those of this call are not counted yet.
        let (begun, start) = (rows.len(), tokens.start);
        for token in tokens {
            let row = first + token;
            if is_due(token) {
                let numbers = (row + 1..=row + horizon).flat_map(|later| {
                    channels.clone().map(move |channel| {
                        let at = later * self.channels + channel;
                        let [center, scale] = scale(row, channel);
                        let anchor = if anchor == Anchor::Mean { center } else { self.values[row * self.channels + channel] };
                        if self.known[at] { (scale as f32, (self.values[at] - anchor) as f32) } else { (0.0, 0.0) }
                    })
                });
                rows.expect_numbers(begun + token - start, numbers, 1.0);
            }
            let scales: Vec<[f64; 2]> = channels.clone().map(|channel| scale(row, channel)).collect();
            let before = (1..lags).map(|lag| (lag <= token).then(|| self.shown(row - lag, &channels)));
            push_row(&mut rows.numbers, self.shown(row, &channels), before, &scales, missing, self.calendar.get(row));
        }
    }

    /// Channels of a token.
    fn width(&self) -> usize {
        if self.config.channels == Channels::Mixed { self.channels } else { 1 }
    }

    /// Sequences that a window is.
    fn sequences_of_window(&self) -> usize {
        self.channels / self.width()
    }

    fn origins(&self, split: Split) -> &Range<usize> {
        match split {
            Split::Train => &self.origins[0],
            Split::Validation => &self.origins[1],
            Split::Test => &self.origins[2],
        }
    }
}

/// Appends the numbers of a token: those of a row, scaled, a flag for each where they can be missing, what tells the time, and the numbers of
/// the rows before it on the same scale.
///
/// - `before`: the last row before it first; none where there is none
/// - `scales`: centre and scale, `[channels]`
pub(super) fn push_row<R: AsRef<[f64]>>(
    numbers: &mut Vec<f32>,
    row: &[f64],
    before: impl Iterator<Item = Option<R>>,
    scales: &[[f64; 2]],
    missing: MissingRows,
    calendar: Option<&[f32; CALENDAR]>,
) {
    let mut push = |row: &[f64]| {
        let scaled = row.iter().zip(scales).map(|(value, [center, scale])| (value - center) / scale);
        numbers.extend(scaled.map(|value| if value.is_nan() { 0.0 } else { value as f32 }));
    };
    push(row);
    before.for_each(|earlier| match earlier {
        Some(earlier) => push(earlier.as_ref()),
        None => push(&vec![f64::NAN; row.len()]),
    });
    if missing == MissingRows::Zero {
        numbers.extend(row.iter().map(|value| if value.is_nan() { 1.0 } else { 0.0 }));
    }
    numbers.extend(calendar.into_iter().flatten());
}

/// How many they are.
///
/// - `width`: channels of a token
pub(super) fn numbers_of_token(config: &Forecast, width: usize) -> usize {
    let flags = if config.missing == MissingRows::Zero { width } else { 0 };
    width.saturating_mul(config.lags) + flags + if config.calendar { CALENDAR } else { 0 }
}

/// What tells a token the time.
pub(super) fn calendar(time: Time) -> [f32; CALENDAR] {
    time.calendar().map(|number| number as f32)
}

fn mark(table: &Table) -> DataMark {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(bytemuck::cast_slice(&table.values));
    table.columns.iter().for_each(|name| checksum.update(name.as_bytes()));
    DataMark { episodes: 1, steps: table.rows(), checksum: checksum.finalize() }
}

impl SequenceTask for ForecastTask {
    fn spec(&self, _: &PolicyConfig) -> SequenceSpec {
        let Forecast { look_back, horizon, positions, .. } = self.config;
        let numbers = numbers_of_token(&self.config, self.width());
        let positions = if positions { look_back } else { 0 };
        let loss = Loss::Squares(horizon.saturating_mul(self.width()));
        SequenceSpec { numbers, vocabulary: 0, positions, tied: false, pool: Pool::Last, loss }
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(self.normalizer.clone())
    }

    fn names(&self) -> SequenceNames {
        SequenceNames { channels: self.columns.clone(), ..SequenceNames::default() }
    }

    fn lengths(&self, split: Split) -> Lengths {
        Lengths::Each(vec![self.config.look_back; self.origins(split).len() * self.sequences_of_window()])
    }

    fn push(&self, rows: &mut SequenceRows, split: Split, sequence: usize, tokens: Range<usize>) {
        let Forecast { look_back, due, .. } = self.config;
        let (window, part) = (sequence / self.sequences_of_window(), sequence % self.sequences_of_window());
        let first = self.origins(split).start + window - look_back;
        let is_due = |token: usize| token + 1 == look_back || split == Split::Train && due == Due::Every;
        self.push_tokens(rows, first, part, tokens, is_due);
    }

    fn streams(&self, split: Split) -> Option<Vec<usize>> {
        let length = self.config.look_back - 1 + self.origins(split).len();
        (self.config.scaling != Scaling::Window).then(|| vec![length; self.sequences_of_window()])
    }

    fn push_stream(&self, rows: &mut SequenceRows, split: Split, stream: usize, tokens: Range<usize>) {
        let look_back = self.config.look_back;
        self.push_tokens(rows, self.origins(split).start - look_back, stream, tokens, |token| token + 1 >= look_back);
    }

    fn scorer(&self) -> Box<dyn Scorer> {
        Box::new(ForecastScorer::new(self.config.horizon))
    }

    fn baselines(&self, split: Split) -> Vec<Baseline> {
        let of = |name: &str, naive: Naive| {
            let is_known = |at: usize| self.known[at];
            let errors = naive.errors(&self.values, self.channels, self.origins(split).clone(), self.config.horizon, is_known);
            Baseline { name: name.into(), scores: of_errors(&errors, None) }
        };
        let seasonal = self.season.map(|rows| of(&format!("the last {rows} rows again"), Naive::Seasonal(rows)));
        let others = [of("the last row", Naive::Last), of("the mean of the training split", Naive::Mean)];
        seasonal.into_iter().chain(others).collect()
    }

    fn odd(&self) -> Vec<String> {
        self.odd.clone()
    }

    fn mark(&self) -> Option<DataMark> {
        Some(self.mark)
    }
}
