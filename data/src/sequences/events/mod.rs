//! Sequences of events: when each was, and of which kind.

mod csv;
mod gatech;
mod json;
mod marked;
mod numbers;
mod pickle;
mod reader;
mod records;

use std::path::Path;

use super::error::SequenceError;
pub use marked::{EventSequence, EventSplit, Events, Marks};
pub use reader::{Event, EventReader};

/// Formats of files of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFormat {
    /// Two text files, a sequence a line: times, and marks from 1.
    Gatech,
    /// JSON of EasyTPP's keys, marks from 0.
    Json,
    /// Pickles of the Transformer Hawkes Process and of EasyTPP, marks from 0.
    Pickle,
    /// A table with the columns `sequence`, `time` and `mark`.
    Csv,
}

impl Events {
    /// Reads sequences of events.
    ///
    /// - `path`: the file; of [`EventFormat::Gatech`] that of the times, whose name has `time` where that of the marks has `event`, or what
    ///   both names have beside that: `so/train` for `so/time-train.txt` and `so/event-train.txt`. Times alone are a file without `time` in
    ///   its name.
    /// - `marks`: the file of the marks, where it has another name
    /// - `format`: none for what the name's ending says: `.json` or `.jsonl`, `.pkl` or `.pickle`, `.csv` or `.tsv`, each but pickles also
    ///   packed (`.gz`), and else two text files
    /// - `split`: which one is read of a file that has several
    ///
    /// # Errors
    /// What is wrong, with its line and column: words where numbers belong, a time before the one before it, marks that are not as many as
    /// times. Pickles with anything but plain numbers, texts, lists and dictionaries are refused, and none of their code is run.
    pub fn read(
        path: &Path,
        marks: Option<&Path>,
        format: Option<EventFormat>,
        split: EventSplit,
    ) -> Result<Self, SequenceError> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let format = format.unwrap_or(match () {
            () if ends(&[".json", ".jsonl"]) => EventFormat::Json,
            () if ends(&[".pkl", ".pickle"]) => EventFormat::Pickle,
            () if ends(&[".csv", ".tsv"]) => EventFormat::Csv,
            () => EventFormat::Gatech,
        });
        if let Some(marks) = marks.filter(|_| format != EventFormat::Gatech) {
            let problem = format!("{} has its marks in the file of its times", path.display());
            return Err(SequenceError::Table { path: marks.into(), problem });
        }
        let events = match format {
            EventFormat::Gatech => gatech::read(path, marks),
            EventFormat::Json => json::read(path, split),
            EventFormat::Pickle => pickle::read(path, split),
            EventFormat::Csv => csv::read(path),
        }?;
        if events.sequences.is_empty() {
            return Err(SequenceError::Table { path: path.into(), problem: "the file has no event".into() });
        }
        Ok(events)
    }
}
