//! Sequences of events in memory.

use std::path::{Path, PathBuf};

use super::super::error::SequenceError;

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
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            EventSplit::Train => &["train"],
            EventSplit::Validation => &["dev", "val", "valid", "validation"],
            EventSplit::Test => &["test"],
        }
    }
}

impl Events {
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
