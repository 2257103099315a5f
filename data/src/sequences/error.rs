//! Why a file of sequences could not be read.

use std::path::PathBuf;

use thiserror::Error;

/// Why a file of sequences could not be read. Lines and columns (characters) count from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// An error of the file system.
    #[error("{}: {what}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A name that says no format.
    #[error("{}: expected a file whose name ends in {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Endings that are read.
        expected: &'static str,
    },
    /// A number that is missing where none may be.
    #[error("{}, line {line}, column {column}: a number of \"{name}\" is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column of the text.
        column: usize,
        /// The column of the table.
        name: String,
    },
    /// A column that a table does not have.
    #[error("{}: there is no column \"{name}\"; there are {known}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A table that cannot be cut so, or a column that cannot be filled.
    #[error("{}: {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Something that the format does not have there.
    #[error("{}, line {line}, column {column}: {problem}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A class that the other file does not have.
    #[error("{}, line {line}: the class \"{label}\" is not one of those that are trained on ({known})", path.display())]
    Class {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The class.
        label: String,
        /// Those that there are.
        known: String,
    },
    /// Two files that do not belong together.
    #[error("{} has {found} numbers a step and {} has {expected}; they are of different datasets", path.display(), other.display())]
    Channels {
        /// The file.
        path: PathBuf,
        /// Its channels.
        found: usize,
        /// The other file.
        other: PathBuf,
        /// Those of the other one.
        expected: usize,
    },
}
