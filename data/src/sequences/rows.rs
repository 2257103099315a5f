//! Rows of a table, one after another: of a file, or as they come.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::SequenceError;
use super::fields::{Separator, is_row};
use super::lines::{Line, quoted, without_mark};
use super::time::Time;

/// Names of a first column that has times, if no other is named.
const TIMES: [&str; 4] = ["date", "time", "datetime", "timestamp"];

/// Words for a number that is missing, in small letters.
const MISSING: [&str; 7] = ["", "?", "nan", "na", "n/a", "null", "none"];

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

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// A number a channel, NaN where one is missing.
    pub values: Vec<f64>,
    /// When it was, where a column says it.
    pub time: Option<Time>,
}

/// Reads a table line by line.
///
/// ```
/// use aaren_data::sequences::{RowReader, TableOptions};
///
/// let mut reader = RowReader::new("what comes".as_ref(), TableOptions::default());
/// assert!(reader.read(b"date,load,heat")?.is_none());
/// assert_eq!(reader.read(b"2016-07-01 13:00,5,-1.5")?.expect("a row").values, [5.0, -1.5]);
/// assert!(reader.read(b"2016-07-01 12:00,5,-1.5").is_err()); // it is earlier
/// # Ok::<(), aaren_data::sequences::SequenceError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowReader {
    /// What errors call the table.
    path: PathBuf,
    /// Name of the column of times.
    time: Option<String>,
    /// Names of the channels, all columns but the times where there are none.
    names: Vec<String>,
    may_miss: bool,
    /// Whether a table without a header has the channels in their order.
    by_place: bool,
    /// What the first line said.
    layout: Option<Layout>,
    last: Option<Time>,
    /// Lines read, of this table.
    #[serde(skip)]
    line: usize,
}

/// How the lines of a table are read.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Layout {
    separator: Separator,
    columns: Columns,
}

/// The columns of a file that are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Columns {
    names: Vec<String>,
    time: Option<usize>,
    channels: Vec<usize>,
}

impl RowReader {
    /// Before the first line.
    ///
    /// - `path`: what errors call the table
    pub fn new(path: &Path, options: TableOptions<'_>) -> Self {
        let (time, names) = (options.time.map(str::to_owned), options.columns.to_vec());
        Self { path: path.into(), time, names, may_miss: options.may_miss, by_place: false, layout: None, last: None, line: 0 }
    }

    /// Whether rows without a header may come too: the columns of the options in their order, and the times before them or not at all.
    #[must_use]
    pub fn or_by_place(mut self) -> Self {
        self.by_place = true;
        self
    }

    /// The next line, without what ends it; nothing for a header, and for a line that is blank. A header may come again, as the same table
    /// goes on in another file.
    ///
    /// # Errors
    /// What is wrong, with its line and column, as [`Table::read`](super::Table::read) says it. The line is forgotten then.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Row>, SequenceError> {
        let (path, number) = (self.path.clone(), self.line + 1);
        let bytes = if number == 1 { without_mark(bytes) } else { bytes };
        let row = self.next(Line { path: &path, number, bytes });
        self.line = number;
        row
    }

    /// Passes a line over that was read before; says whether it is a row, and neither a header nor blank.
    pub fn pass(&mut self, bytes: &[u8]) -> bool {
        self.line += 1;
        let bytes = if self.line == 1 { without_mark(bytes) } else { bytes };
        let line = Line { path: &self.path, number: self.line, bytes };
        is_row(line, self.layout.as_ref().map(|layout| layout.separator), is_header)
    }

    /// Forgets when the last row was: what comes is another series.
    pub fn begin(&mut self) {
        self.last = None;
    }

    /// Names of the channels: those of the header, or `column 1` and so on; none before the first line.
    pub fn channels(&self) -> Option<Vec<String>> {
        let columns = &self.layout.as_ref()?.columns;
        Some(columns.channels.iter().map(|&at| columns.names[at].clone()).collect())
    }

    pub(super) fn next(&mut self, line: Line<'_>) -> Result<Option<Row>, SequenceError> {
        if line.is_blank() {
            return Ok(None);
        }
        let text = line.text()?;
        let Some(layout) = &self.layout else {
            let separator = Separator::of(text);
            let fields = separator.split(line, text)?;
            let is_header = is_header(&fields);
            let layout = Layout { separator, columns: self.columns(line, &fields, is_header)? };
            let row = if is_header { None } else { Some(self.row(&layout, line, text, &fields)?) };
            self.layout = Some(layout);
            self.last = row.as_ref().and_then(|row| row.time);
            return Ok(row);
        };
        let fields = layout.separator.split(line, text)?;
        if self.line == 0 && line.number == 1 && is_header(&fields) {
            let again = self.columns(line, &fields, true)?;
            if again != layout.columns {
                let (found, expected) = (again.names.join(", "), layout.columns.names.join(", "));
                return Err(line.wrong(text, format!("found a header of {found}, expected {expected} as before")));
            }
            return Ok(None);
        }
        let row = self.row(layout, line, text, &fields)?;
        self.last = row.time.or(self.last);
        Ok(Some(row))
    }

    fn row(&self, layout: &Layout, line: Line<'_>, text: &str, fields: &[&str]) -> Result<Row, SequenceError> {
        let columns = &layout.columns;
        if fields.len() != columns.names.len() {
            let (found, expected) = (fields.len(), columns.names.len());
            let place = fields.get(expected).copied().unwrap_or(&text[text.len()..]);
            return Err(line.wrong(place, format!("found a row of {found} fields, expected {expected} as in the first")));
        }
        let mut time = None;
        if let Some(at) = columns.time {
            let found = Time::parse(fields[at]);
            let found = found.map_err(|problem| line.wrong(fields[at], format!("found {}: {problem}", quoted(fields[at]))))?;
            if self.last.is_some_and(|last| last >= found) {
                return Err(line.wrong(fields[at], format!("{} is not later than the row before", quoted(fields[at]))));
            }
            time = Some(found);
        }
        let value = |&at: &usize| number(line, fields[at], &columns.names[at], self.may_miss);
        Ok(Row { values: columns.channels.iter().map(value).collect::<Result<_, _>>()?, time })
    }

    fn columns(&self, line: Line<'_>, fields: &[&str], is_header: bool) -> Result<Columns, SequenceError> {
        let options = TableOptions { time: self.time.as_deref(), columns: &self.names, may_miss: self.may_miss };
        if is_header || !self.by_place {
            return Columns::of(line, fields, is_header, options);
        }
        let columns = Columns::of(line, fields, false, TableOptions { time: None, columns: &[], ..options })?;
        let (found, expected) = (columns.channels.len(), self.names.len());
        if expected > 0 && found != expected {
            let problem =
                format!("found a row of {found} numbers without a header, expected {expected}: {}", self.names.join(", "));
            return Err(line.wrong(fields[0], problem));
        }
        Ok(columns)
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
        let mut seen = HashSet::with_capacity(names.len());
        if let Some(at) = names.iter().position(|name| !seen.insert(name)) {
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
