//! Two text files, a sequence a line: times, and marks from 1, between blanks or commas.
//!
//! Source: the files of Du et al. 2016 (Recurrent Marked Temporal Point Processes).

use std::path::{Path, PathBuf};

use super::super::error::SequenceError;
use super::super::lines::{Line, lines, quoted, unpacked};
use super::marked::{EventSequence, Events, MOST_MARKS, Marks};

/// What the name of a file of times has, and that of its marks in its place.
const NAMES: (&str, &str) = ("time", "event");

/// Reads the files.
pub(super) fn read(path: &Path, marks: Option<&Path>) -> Result<Events, SequenceError> {
    let (times, marks) = files(path, marks);
    let bytes = unpacked(&times)?;
    let mut sequences = Vec::new();
    let mut all = Vec::new();
    for line in lines(&times, &bytes) {
        all.push((line, numbers(line)?));
    }
    let Some(marks) = marks else {
        sequences.extend(all.into_iter().map(|(_, times)| EventSequence { marks: vec![0; times.len()], times }));
        sequences.retain(|sequence| !sequence.times.is_empty());
        return Ok(Events { path: times, marks: Marks::None, is_dated: false, sequences });
    };
    let bytes = unpacked(&marks)?;
    let mut rows = lines(&marks, &bytes);
    let mut largest = 0;
    for (line, times) in all {
        let kinds = match rows.next() {
            Some(row) => kinds(row, line, times.len())?,
            None if times.is_empty() => continue,
            None => return Err(line.wrong("", format!("{} has no line {} with its marks", marks.display(), line.number))),
        };
        largest = kinds.iter().copied().max().unwrap_or(0).max(largest);
        if !times.is_empty() {
            sequences.push(EventSequence { times, marks: kinds });
        }
    }
    if let Some(row) = rows.find(|row| !row.is_blank()) {
        return Err(row.wrong("", format!("{} has no line {} with the times", times.display(), row.number)));
    }
    Ok(Events { path: times, marks: Marks::Numbers { first: 1, count: largest as usize + 1 }, is_dated: false, sequences })
}

/// The file of times, and that of marks if there is one.
fn files(path: &Path, marks: Option<&Path>) -> (PathBuf, Option<PathBuf>) {
    if let Some(marks) = marks {
        return (path.into(), Some(marks.into()));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if path.is_file() || name.ends_with(".txt") || name.ends_with(".txt.gz") {
        let other = name.rfind(NAMES.0).map(|at| format!("{}{}{}", &name[..at], NAMES.1, &name[at + NAMES.0.len()..]));
        return (path.into(), other.map(|other| path.with_file_name(other)));
    }
    let of = |kind: &str| path.with_file_name(format!("{kind}-{name}.txt"));
    (of(NAMES.0), Some(of(NAMES.1)))
}

/// The fields of a line.
fn fields(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter == ',' || letter.is_whitespace()).filter(|field| !field.is_empty())
}

/// The times of a line.
fn numbers(line: Line<'_>) -> Result<Vec<f64>, SequenceError> {
    let mut times: Vec<f64> = Vec::new();
    for field in fields(line.text()?) {
        let time = field.parse::<f64>().ok().filter(|time| time.is_finite());
        let time =
            time.ok_or_else(|| line.wrong(field, format!("found {}, expected a time, which is a number", quoted(field))))?;
        if times.last().is_some_and(|last| *last > time) {
            return Err(line.wrong(field, format!("the time {} is before the one before it", quoted(field))));
        }
        times.push(time);
    }
    Ok(times)
}

/// The marks of a line that belong to so many times of another.
fn kinds(row: Line<'_>, line: Line<'_>, expected: usize) -> Result<Vec<u32>, SequenceError> {
    let (text, mut kinds) = (row.text()?, Vec::new());
    for field in fields(text) {
        let mark = field.parse::<u32>().ok().filter(|mark| (1..=MOST_MARKS as u32).contains(mark));
        let expected = format!("a mark, which is a number from 1 to {MOST_MARKS}");
        let mark = mark.ok_or_else(|| row.wrong(field, format!("found {}, expected {expected}", quoted(field))))?;
        kinds.push(mark - 1);
    }
    if kinds.len() != expected {
        let of = format!("{}, line {}", line.path.display(), line.number);
        let place = fields(text).nth(expected).unwrap_or(&text[text.len()..]);
        return Err(row.wrong(place, format!("found {} marks, and {of}, has {expected} times", kinds.len())));
    }
    Ok(kinds)
}
