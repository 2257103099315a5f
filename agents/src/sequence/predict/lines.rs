//! Lines of a stream, whatever they have.

use aaren_data::sequences::{EventReader, Row, RowReader, SequenceError};
use serde::{Deserialize, Serialize};

/// What reads the lines of a stream, and how far it has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Lines {
    /// Rows of numbers.
    Rows(RowReader),
    /// Events: rows of a time and a mark.
    Events(EventReader),
}

impl Lines {
    /// Reads a line; nothing where it has no row.
    pub(super) fn read(&mut self, line: &[u8]) -> Result<Option<Row>, SequenceError> {
        match self {
            Lines::Rows(reader) => reader.read(line),
            Lines::Events(reader) => {
                let event = reader.read(line)?;
                Ok(event.map(|event| Row { values: vec![event.time, f64::from(event.mark)], time: None }))
            }
        }
    }

    /// Passes a line over that was read before; says whether it had a row.
    pub(super) fn pass(&mut self, line: &[u8]) -> bool {
        match self {
            Lines::Rows(reader) => reader.pass(line),
            Lines::Events(reader) => reader.pass(line),
        }
    }

    /// Another sequence begins.
    pub(super) fn begin(&mut self) {
        match self {
            Lines::Rows(reader) => reader.begin(),
            Lines::Events(reader) => reader.begin(),
        }
    }
}
