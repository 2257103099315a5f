//! Sequences of events: when each was, and of which kind.

mod csv;
mod gatech;
mod json;
mod pickle;
mod records;

use std::path::{Path, PathBuf};

use super::error::SequenceError;

/// The most kinds that events are of.
pub(super) const MOST_MARKS: usize = 1 << 20;

/// Sequences of events in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// Where they are from; of two files that of the times.
    pub path: PathBuf,
    /// What tells events apart.
    pub marks: Marks,
    /// Whether times are dates of the file, in seconds since 1970 began.
    pub is_dated: bool,
    /// The sequences in the order of the file, at least one; none is empty.
    pub sequences: Vec<EventSequence>,
}

/// A sequence of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventSequence {
    /// When each event was, none before the one before it.
    pub times: Vec<f64>,
    /// The kind of each by its place among the [`Marks`]; all 0 where there are none.
    pub marks: Vec<u32>,
}

/// What tells events apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Nothing does.
    None,
    /// Numbers one after another.
    Numbers {
        /// The first of them: 0 or 1.
        first: u32,
        /// How many there are: what the file says, or else as many as it has.
        count: usize,
    },
    /// Words, in the order of the alphabet or, where all are numbers, of their size.
    Words(Vec<String>),
}

impl Marks {
    /// How many kinds there are, 0 where nothing tells events apart.
    pub fn count(&self) -> usize {
        match self {
            Marks::None => 0,
            Marks::Numbers { count, .. } => *count,
            Marks::Words(words) => words.len(),
        }
    }

    /// How the file writes one of them.
    pub fn name(&self, mark: u32) -> String {
        match self {
            Marks::None => String::new(),
            Marks::Numbers { first, .. } => (first + mark).to_string(),
            Marks::Words(words) => words[mark as usize].clone(),
        }
    }
}

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

/// Which of several splits of one file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSplit {
    /// `train`
    Train,
    /// `dev`, `val`, `valid` or `validation`
    Validation,
    /// `test`
    Test,
}

impl EventSplit {
    /// What files call it.
    fn names(self) -> &'static [&'static str] {
        match self {
            EventSplit::Train => &["train"],
            EventSplit::Validation => &["dev", "val", "valid", "validation"],
            EventSplit::Test => &["test"],
        }
    }
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

    /// Events of all sequences.
    pub fn count(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.times.len()).sum()
    }

    /// Numbers the marks as another file does, that a model is trained on.
    ///
    /// # Errors
    /// Names the first mark that the other file does not have.
    pub fn with_marks_of(mut self, other: &Self) -> Result<Self, SequenceError> {
        let wrong = |path: &Path, problem: String| SequenceError::Table { path: path.into(), problem };
        let new: Vec<Option<u32>> = match (&self.marks, &other.marks) {
            (Marks::None, Marks::None) => vec![Some(0)],
            (Marks::Numbers { count, .. }, Marks::Numbers { count: known, .. }) => {
                (0..*count).map(|mark| (mark < *known).then_some(mark as u32)).collect()
            }
            (Marks::Words(words), Marks::Words(known)) => {
                words.iter().map(|word| known.iter().position(|other| other == word).map(|at| at as u32)).collect()
            }
            (own, _) => {
                let (has, has_not) = if *own == Marks::None { (other, &self) } else { (&self, other) };
                let [has, has_not] = [has, has_not].map(|events| events.path.display());
                let what = if *own == Marks::None || other.marks == Marks::None { "no marks" } else { "marks of another kind" };
                return Err(wrong(
                    &self.path,
                    format!("{has} has marks and {has_not} has {what}; they are of different datasets"),
                ));
            }
        };
        for (number, sequence) in self.sequences.iter_mut().enumerate() {
            for mark in &mut sequence.marks {
                *mark = new[*mark as usize].ok_or_else(|| {
                    let (name, other) = (self.marks.name(*mark), other.path.display());
                    let known = format!("sequence {}: the mark \"{name}\" is not one of those of {other}", number + 1);
                    wrong(&self.path, known)
                })?;
            }
        }
        self.marks = other.marks.clone();
        Ok(self)
    }
}
