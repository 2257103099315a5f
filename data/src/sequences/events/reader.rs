//! Events of one sequence after another, as they come.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::error::SequenceError;
use super::super::fields::{Separator, is_row};
use super::super::lines::{Line, quoted, without_mark};
use super::csv::time_of;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// When it was; a date in seconds since 1970 began.
    pub time: f64,
    /// Its kind by its place among the marks; 0 where there are none.
    pub mark: u32,
}

/// Reads events line by line: a time, or a time and a mark, with the header `time,mark` or without.
///
/// ```
/// use aaren_data::sequences::{Event, EventReader};
///
/// let mut reader = EventReader::new("what comes".as_ref(), &["gold".into(), "silver".into()]);
/// assert_eq!(reader.read(b"12.5,silver")?, Some(Event { time: 12.5, mark: 1 }));
/// assert!(reader.read(b"12.4,gold").is_err()); // it is earlier
/// # Ok::<(), aaren_data::sequences::SequenceError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventReader {
    /// What errors call the events.
    path: PathBuf,
    /// Names of the marks; empty where nothing tells events apart.
    marks: Vec<String>,
    layout: Option<Layout>,
    is_dated: Option<bool>,
    last: Option<f64>,
    #[serde(skip)]
    line: usize,
}

/// How lines are read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Layout {
    separator: Separator,
    fields: usize,
    time: usize,
    mark: Option<usize>,
}

impl EventReader {
    /// Before the first line.
    ///
    /// - `path`: what errors call the events
    pub fn new(path: &Path, marks: &[String]) -> Self {
        Self { path: path.into(), marks: marks.to_vec(), layout: None, is_dated: None, last: None, line: 0 }
    }

    /// The next line, without what ends it; nothing for a header, and for a line that is blank.
    ///
    /// # Errors
    /// What is wrong, with its line and column: a time before the one before, a mark that is none of those.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Event>, SequenceError> {
        self.line += 1;
        let bytes = if self.line == 1 { without_mark(bytes) } else { bytes };
        let path = self.path.clone();
        let line = Line { path: &path, number: self.line, bytes };
        if line.is_blank() {
            return Ok(None);
        }
        let text = line.text()?;
        let separator = self.layout.map_or_else(|| Separator::of(text), |layout| layout.separator);
        let fields = separator.split(line, text)?;
        if self.line == 1 && is_header(&fields) {
            self.layout = Some(self.headed(line, separator, &fields)?);
            return Ok(None);
        }
        let (found, expected) = (fields.len(), 1 + usize::from(!self.marks.is_empty()));
        let layout = self.layout.unwrap_or(Layout { separator, fields: expected, time: 0, mark: (expected == 2).then_some(1) });
        if found != layout.fields {
            let what = if expected == 2 { "a time and a mark" } else { "a time" };
            let place = fields.get(layout.fields).copied().unwrap_or(&text[text.len()..]);
            return Err(line.wrong(place, format!("found a row of {found} fields, expected {}: {what}", layout.fields)));
        }
        let (field, mut is_dated) = (fields[layout.time], self.is_dated);
        let time = time_of(line, field, &mut is_dated)?;
        if self.last.is_some_and(|last| last > time) {
            return Err(line.wrong(field, format!("{} is before the event before it", quoted(field))));
        }
        let mark = layout.mark.map_or(Ok(0), |at| {
            let word = fields[at];
            self.marks.iter().position(|mark| mark == word).ok_or_else(|| {
                let some: Vec<&str> = self.marks.iter().take(20).map(String::as_str).collect();
                let more = if self.marks.len() > some.len() { " and more" } else { "" };
                line.wrong(
                    word,
                    format!("the mark {} is none of those that were trained on: {}{more}", quoted(word), some.join(", ")),
                )
            })
        })?;
        (self.layout, self.is_dated, self.last) = (Some(layout), is_dated, Some(time));
        Ok(Some(Event { time, mark: mark as u32 }))
    }

    /// Passes a line over that was read before; says whether it is an event, and neither a header nor blank.
    pub fn pass(&mut self, bytes: &[u8]) -> bool {
        self.line += 1;
        let bytes = if self.line == 1 { without_mark(bytes) } else { bytes };
        let line = Line { path: &self.path, number: self.line, bytes };
        is_row(line, self.layout.as_ref().map(|layout| layout.separator), is_header)
    }

    /// Another sequence begins.
    pub fn begin(&mut self) {
        self.last = None;
    }

    fn headed(&self, line: Line<'_>, separator: Separator, fields: &[&str]) -> Result<Layout, SequenceError> {
        let find = |name: &str| fields.iter().position(|field| field.eq_ignore_ascii_case(name));
        let column = |name: &str| {
            let known = fields.join(", ");
            find(name).ok_or_else(|| SequenceError::Column { path: line.path.into(), name: name.into(), known })
        };
        let mark = if self.marks.is_empty() { None } else { Some(column("mark")?) };
        Ok(Layout { separator, fields: fields.len(), time: column("time")?, mark })
    }
}

fn is_header(fields: &[&str]) -> bool {
    fields.iter().any(|field| field.eq_ignore_ascii_case("time"))
}
