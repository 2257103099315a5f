//! Tables of numbers over time: a row a step, a column a channel, the times in a column of their own or nowhere.

use std::path::{Path, PathBuf};

use super::error::SequenceError;
use super::fields::Separator;
use super::lines::{Line, lines, quoted, unpacked};
use super::time::Time;
use crate::statistics::Spread;

/// Names of a first column that has times, if no other is named.
const TIMES: [&str; 4] = ["date", "time", "datetime", "timestamp"];

/// Words for a number that is missing, in small letters.
const MISSING: [&str; 7] = ["", "?", "nan", "na", "n/a", "null", "none"];

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

/// What is read of a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableOptions<'a> {
    /// Name of the column of times; none for a first column named date, time, datetime or timestamp, or without a header one that has them.
    pub time: Option<&'a str>,
    /// Names of the channels, in their order; all columns but the times where there are none.
    pub columns: &'a [String],
    /// Whether numbers may be missing.
    pub may_miss: bool,
}

/// The columns of a file that are read.
struct Columns {
    names: Vec<String>,
    time: Option<usize>,
    channels: Vec<usize>,
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
        let mut rows = lines(path, &bytes).filter(|line| !line.is_blank()).peekable();
        let nothing = |problem: &str| SequenceError::Table { path: path.into(), problem: problem.into() };
        let first = *rows.peek().ok_or_else(|| nothing("the file has no row"))?;
        let text = first.text()?;
        let separator = Separator::of(text);
        let fields = separator.split(first, text)?;
        let is_header = is_header(&fields);
        if is_header {
            rows.next();
        }
        let columns = Columns::of(first, &fields, is_header, options)?;
        let (mut values, mut times, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for line in rows {
            let text = line.text()?;
            let fields = separator.split(line, text)?;
            if fields.len() != columns.names.len() {
                let (found, expected) = (fields.len(), columns.names.len());
                let place = fields.get(expected).copied().unwrap_or(&text[text.len()..]);
                return Err(line.wrong(place, format!("found a row of {found} fields, expected {expected} as in the first")));
            }
            if let Some(at) = columns.time {
                let time = Time::parse(fields[at]);
                let time = time.map_err(|problem| line.wrong(fields[at], format!("found {}: {problem}", quoted(fields[at]))))?;
                if times.last().is_some_and(|last| *last >= time) {
                    return Err(line.wrong(fields[at], format!("{} is not later than the row before", quoted(fields[at]))));
                }
                times.push(time);
            }
            for &at in &columns.channels {
                values.push(number(line, fields[at], &columns.names[at], options.may_miss)?);
            }
            numbers.push(line.number);
        }
        if numbers.is_empty() {
            return Err(nothing("the file ends without a row after its header"));
        }
        let names = columns.channels.iter().map(|&at| columns.names[at].clone()).collect();
        let times = columns.time.map(|_| times);
        Ok(Self { path: path.into(), columns: names, values, times, lines: numbers })
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

/// Whether a first line has names. They do not begin with a digit, as numbers and dates do; the first may be missing.
fn is_header(fields: &[&str]) -> bool {
    let is_word = |field: &&str| !is_missing(field) && !field.starts_with(|first: char| "+-.0123456789".contains(first));
    fields.first().is_some_and(|first| is_word(first) || first.is_empty() && fields.iter().any(is_word))
}

fn is_missing(field: &str) -> bool {
    MISSING.iter().any(|word| field.trim().eq_ignore_ascii_case(word))
}

impl Columns {
    fn of(line: Line<'_>, fields: &[&str], is_header: bool, options: TableOptions<'_>) -> Result<Self, SequenceError> {
        let name = |(at, field): (usize, &&str)| match is_header && !field.trim().is_empty() {
            true => (*field).to_string(),
            false => format!("column {}", at + 1),
        };
        let names: Vec<String> = fields.iter().enumerate().map(name).collect();
        if let Some(at) = (0..names.len()).find(|&at| names[..at].contains(&names[at])) {
            return Err(line.wrong(fields[at], format!("the column {} is there twice", quoted(&names[at]))));
        }
        let find = |name: &str| {
            let known = || names.join(", ");
            let missing = || SequenceError::Column { path: line.path.into(), name: name.into(), known: known() };
            names.iter().position(|other| other == name).ok_or_else(missing)
        };
        let time = match options.time {
            Some(name) => Some(find(name)?),
            None if is_header => TIMES.iter().any(|time| names[0].eq_ignore_ascii_case(time)).then_some(0),
            // Without a header what is no number is taken for a time, and said to be wrong if it is none.
            None => fields.first().is_some_and(|first| !is_missing(first) && first.parse::<f64>().is_err()).then_some(0),
        };
        let channels = match options.columns {
            [] => (0..names.len()).filter(|at| Some(*at) != time).collect(),
            chosen => chosen.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?,
        };
        if let Some(at) = channels.iter().find(|at| Some(**at) == time) {
            return Err(line.wrong(fields[*at], format!("the column {} has the times and is no channel", quoted(&names[*at]))));
        }
        if channels.is_empty() {
            return Err(line.wrong(fields[0], "no column but the times, expected one of numbers at least".into()));
        }
        Ok(Self { names, time, channels })
    }
}

/// A number of a channel, or NaN where one is missing.
fn number(line: Line<'_>, field: &str, name: &str, may_miss: bool) -> Result<f64, SequenceError> {
    if is_missing(field) && may_miss {
        return Ok(f64::NAN);
    }
    if is_missing(field) {
        let (path, column) = (line.path.into(), line.column(field));
        return Err(SequenceError::Missing { path, line: line.number, column, name: name.into() });
    }
    field.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(|| {
        let hint = if Time::parse(field).is_ok() { "; name the column that has the times" } else { "" };
        line.wrong(field, format!("found {} in {}, expected a number{hint}", quoted(field), quoted(name)))
    })
}
