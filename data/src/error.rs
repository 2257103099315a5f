//! Why a dataset cannot be read or written.

use crate::{format::Format, report::Report};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a dataset could not be read or written. Every message names the file, the array or key, what was found and what was
/// expected. Rows, columns, steps and episodes count from 0.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// An error of the file system.
    #[error("{}: {what}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Neither a path nor the id of a dataset in any root.
    #[error(
        "no dataset \"{name}\": looked for {}; expected a D4RL file (.hdf5), a Minari dataset directory, or the id of a Minari dataset in the folder MINARI_DATASETS_PATH, such as mujoco/hopper/medium-v0",
        list_paths(looked)
    )]
    NotFound {
        /// The name.
        name: String,
        /// All places that were tried.
        looked: Vec<PathBuf>,
    },
    /// A file where a directory was expected, or the other way round.
    #[error("{}: found {found}, expected {expected}", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What the format needs there.
        expected: &'static str,
    },
    /// A collection that has not been finished.
    #[error(
        "{}: a collection that was stopped before its dataset was written; run the same `aaren collect` again to resume it",
        path.display()
    )]
    Unfinished {
        /// The collection's folder.
        path: PathBuf,
    },
    /// A file that is shorter than its header says.
    #[error(
        "{}: truncated HDF5 file: it has {found} bytes and its header says {expected}; copy it again, or if a killed \
         `aaren collect` left it, run that command again, which resumes",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Length according to the header, in bytes.
        expected: u64,
        /// Length on disk, in bytes.
        found: u64,
    },
    /// The HDF5 structure could not be followed, or not be made.
    #[error("{}: {what}", path.display())]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// The operation and the object.
        what: String,
        /// The cause.
        #[source]
        source: Box<hdf5_pure::Error>,
    },
    /// The HDF5 structure contradicts itself.
    #[error("{}: damaged file: {what}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which object.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An array that is missing, or has another shape, type or value than it must.
    #[error("{}: {array} {problem}", path.display())]
    Array {
        /// The file.
        path: PathBuf,
        /// The array, with its group.
        array: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A file that breaks a rule of its format.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// An episode that is not there whole.
    #[error(
        "{}: episode {episode} is incomplete: {problem}; data.incomplete=skip (`--incomplete skip` of `aaren dataset`) leaves such \
         episodes out",
        path.display()
    )]
    Incomplete {
        /// The file or folder.
        path: PathBuf,
        /// Its number.
        episode: u64,
        /// What is missing.
        problem: String,
    },
    /// `metadata.json`, or a part of it, is not JSON.
    #[error("{}: {key} is not JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Which part.
        key: String,
        /// The cause, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A key of `metadata.json` (or an attribute of a D4RL file) is absent or has an impossible value.
    #[error("{}: {key}: found {found}, expected {expected}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is there, shortened.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// The file can be read, but its numbers cannot be used. The report says which and where.
    #[error("{}: {}", path.display(), list_findings(report))]
    Content {
        /// The file.
        path: PathBuf,
        /// All findings.
        report: Box<Report>,
    },
    /// Something is already there.
    #[error("{}: already exists; ask for overwriting to replace it", path.display())]
    Exists {
        /// Where the dataset was to be written.
        path: PathBuf,
    },
    /// Something came there while the dataset was made.
    #[error("{}: another command has just written there, and what it wrote is kept", path.display())]
    Taken {
        /// Where the dataset was to be written.
        path: PathBuf,
    },
    /// The format cannot hold this dataset.
    #[error("{}: cannot be saved as {format}: {problem}", path.display())]
    Unsupported {
        /// Where the dataset was to be written.
        path: PathBuf,
        /// The format.
        format: Format,
        /// What does not fit, and what to do.
        problem: String,
    },
}

impl DatasetError {
    pub(crate) fn invalid(path: &Path, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), problem: problem.into() }
    }

    pub(crate) fn wrong_kind(path: &Path, found: &'static str, expected: &'static str) -> Self {
        Self::WrongKind { path: path.into(), found, expected }
    }

    /// The report, if it has no errors.
    pub(crate) fn unless_ok(path: &Path, report: Report) -> Result<Report, Self> {
        if report.is_ok() { Ok(report) } else { Err(Self::Content { path: path.into(), report: Box::new(report) }) }
    }

    pub(crate) fn io(path: &Path, what: &str, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), what: what.into(), source }
    }
}

fn list_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn list_findings(report: &Report) -> String {
    report.errors.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("; ")
}
