//! JSON of EasyTPP's keys: a list of sequences, one sequence, splits of them, or any of these one after another.

use std::path::Path;

use serde::de::DeserializeSeed;

use super::super::error::SequenceError;
use super::super::lines::unpacked;
use super::marked::{EventSplit, Events};
use super::numbers::Budget;
use super::records::Records;

/// Reads a file.
pub(super) fn read(path: &Path, split: EventSplit) -> Result<Events, SequenceError> {
    let bytes = unpacked(path)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let wrong = |error: serde_json::Error| {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let problem = text.strip_suffix(&place).unwrap_or(&text);
        let (line, column) = (error.line().max(1), error.column().max(1));
        SequenceError::Text { path: path.into(), line, column, problem: problem.into() }
    };
    let (budget, mut all) = (Budget::new(bytes.len()), Records::default());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    loop {
        all.add(budget.deserialize(&mut reader).map_err(wrong)?);
        // What follows is the next of several values.
        if reader.end().is_ok() {
            return all.events(&budget, path, split);
        }
    }
}
