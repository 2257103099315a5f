//! Labelled sequences in memory.

use std::path::PathBuf;

/// Sequences that each belong to a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// Where they are from.
    pub path: PathBuf,
    /// Numbers of a step.
    pub channels: usize,
    /// The classes in the order of the file's header; none where the format has no header.
    pub classes: Option<Vec<String>>,
    /// The sequences, at least one.
    pub cases: Vec<Case>,
}

/// A sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// NaN where one is missing, `[steps, channels]`; at least one step.
    pub values: Vec<f64>,
    /// The class as the file writes it, without blanks around it.
    pub label: String,
    /// The line of the file that it is in, from 1.
    pub line: usize,
}

impl Case {
    /// Steps.
    pub fn len(&self, channels: usize) -> usize {
        self.values.len() / channels
    }
}
