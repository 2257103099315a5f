//! Tables of numbers over time: a row a step, a column a channel, the times in a column of their own or nowhere.

use std::path::{Path, PathBuf};

use super::error::SequenceError;
use super::lines::{lines, unpacked};
use super::rows::{RowReader, TableOptions};
use super::time::Time;
use crate::statistics::Spread;

/// A table in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Where it is from.
    pub path: PathBuf,
    /// Names of the channels: those of the header, or `column 1` and so on, counted in the file.
    pub columns: Vec<String>,
    /// NaN where one is missing, `[rows, channels]`; at least one row and one channel.
    pub values: Vec<f64>,
    /// When each row was, one after another; none where no column says it.
    pub times: Option<Vec<Time>>,
    /// The line of the file that each row is in, from 1.
    pub lines: Vec<usize>,
}

impl Table {
    /// Reads `.csv`, `.tsv` or `.txt`, each also packed (`.csv.gz`): numbers between commas, semicolons, tabs or blanks, with a header or
    /// without.
    ///
    /// # Errors
    /// What is wrong, with its line and column: a row of another length, a word where a number belongs, a number that is missing and may
    /// not, a time that is not later than the one before, or one that [`Time::parse`] refuses.
    pub fn read(path: &Path, options: TableOptions<'_>) -> Result<Self, SequenceError> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        if ![".csv", ".tsv", ".txt"].iter().any(|ending| name.ends_with(ending)) {
            return Err(SequenceError::Format { path: path.into(), expected: ".csv, .tsv or .txt, or in one of them and .gz" });
        }
        let bytes = unpacked(path)?;
        let mut reader = RowReader::new(path, options);
        let (mut values, mut times, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines(path, &bytes) {
            if let Some(row) = reader.next(line)? {
                values.extend(row.values);
                times.extend(row.time);
                numbers.push(line.number);
            }
        }
        let nothing = |problem: &str| SequenceError::Table { path: path.into(), problem: problem.into() };
        let columns = reader.channels().ok_or_else(|| nothing("the file has no row"))?;
        if numbers.is_empty() {
            return Err(nothing("the file ends without a row after its header"));
        }
        let times = (!times.is_empty()).then_some(times);
        Ok(Self { path: path.into(), columns, values, times, lines: numbers })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Seconds from a row to the next, if they are the same everywhere and there are two rows.
    pub fn step_seconds(&self) -> Option<f64> {
        let times = self.times.as_ref().filter(|times| times.len() > 1)?;
        let step = times[1].seconds_since(times[0]);
        times.windows(2).all(|pair| pair[1].seconds_since(pair[0]) == step).then_some(step)
    }

    /// Where rows are not equally far apart in time, a month counting as a month: what is there instead. Windows go over such a place as if
    /// nothing were there.
    pub fn irregularity(&self) -> Option<String> {
        let times = self.times.as_ref().filter(|times| times.len() > 1)?;
        let seconds = times[1].seconds_since(times[0]);
        let months = times[1].months_since(times[0]);
        if months.is_some() && times.windows(2).all(|pair| pair[1].months_since(pair[0]) == months) {
            return None;
        }
        let other = (1..times.len()).find(|&row| times[row].seconds_since(times[row - 1]) != seconds)?;
        let count = (1..times.len()).filter(|&row| times[row].seconds_since(times[row - 1]) != seconds).count();
        let (path, line, found) = (self.path.display(), self.lines[other], times[other].seconds_since(times[other - 1]));
        Some(format!("{path}, line {line}: {found} s after the row before, where others are {seconds} s apart ({count} in all)"))
    }

    /// Puts numbers between the known ones where some are missing, each channel by itself, and the nearest known one before the first and
    /// after the last.
    ///
    /// # Errors
    /// Names a channel without a number.
    pub fn fill_linear(&mut self) -> Result<(), SequenceError> {
        self.fill(|(before, low), (after, high), row| low + (high - low) * (row - before) as f64 / (after - before) as f64)
    }

    /// Puts the last known number where some are missing, each channel by itself, and the first known one before it.
    ///
    /// # Errors
    /// Names a channel without a number.
    pub fn fill_last(&mut self) -> Result<(), SequenceError> {
        self.fill(|(_, low), _, _| low)
    }

    fn fill(&mut self, between: impl Fn((usize, f64), (usize, f64), usize) -> f64) -> Result<(), SequenceError> {
        let width = self.columns.len();
        for channel in 0..width {
            let known: Vec<(usize, f64)> = self.values.iter().skip(channel).step_by(width).copied().enumerate().collect();
            let known: Vec<(usize, f64)> = known.into_iter().filter(|(_, value)| !value.is_nan()).collect();
            let (Some(&first), Some(&last)) = (known.first(), known.last()) else {
                let problem = format!("the column \"{}\" has no number", self.columns[channel]);
                return Err(SequenceError::Table { path: self.path.clone(), problem });
            };
            let mut set = |row: usize, value: f64| self.values[row * width + channel] = value;
            (0..first.0).for_each(|row| set(row, first.1));
            (last.0 + 1..self.lines.len()).for_each(|row| set(row, last.1));
            for pair in known.windows(2) {
                (pair[0].0 + 1..pair[1].0).for_each(|row| set(row, between(pair[0], pair[1], row)));
            }
        }
        Ok(())
    }

    /// Mean and population standard deviation of every channel over some rows, without what is missing. A channel that never changes there
    /// keeps its unit.
    pub fn moments(&self, rows: std::ops::Range<usize>) -> (Vec<f64>, Vec<f64>) {
        let width = self.columns.len();
        let of = |channel: usize| {
            let values = self.values[rows.start * width..rows.end * width].iter().skip(channel).step_by(width);
            let spread = Spread::of(values.copied().filter(|value| !value.is_nan()));
            (spread.mean, if spread.std > 1e-12 { spread.std } else { 1.0 })
        };
        (0..width).map(of).unzip()
    }
}
