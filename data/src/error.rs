//! What a loader refuses, and says.

use super::verify::Report;
use std::path::PathBuf;
use thiserror::Error;

/// Why a dataset could not be read or written. Every message names the file, the array or key, what was found and what was
/// expected. Rows, columns, steps and episodes count from 0.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The file system said no.
    #[error("{}: {what}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
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
        /// What was asked for.
        name: String,
        /// Every place that was tried.
        looked: Vec<PathBuf>,
    },
    /// A file where a directory was expected, or the other way round.
    #[error("{}: found {found}, expected {expected}", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What the format wants there.
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
    /// The HDF5 signature is missing.
    #[error("{}: not an HDF5 file (bad signature)", path.display())]
    NotHdf5 {
        /// The file.
        path: PathBuf,
    },
    /// The file was cut.
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
        /// What was tried, on which object.
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
    /// An array that every dataset of this format has is absent.
    #[error("{}: {array} is missing; {}", path.display(), list_contents(found))]
    MissingArray {
        /// The file.
        path: PathBuf,
        /// The array, with its group.
        array: String,
        /// What is there in its place.
        found: Vec<String>,
    },
    /// First dimensions differ.
    #[error("{}: lengths differ: {}", path.display(), list_lengths(lengths))]
    Lengths {
        /// The file.
        path: PathBuf,
        /// Every array with its first dimension.
        lengths: Vec<(String, u64)>,
    },
    /// Wrong rank or width.
    #[error("{}: {array} has shape {found:?}, expected {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The array, with its group.
        array: String,
        /// Its shape.
        found: Vec<u64>,
        /// What it should be, and who says so.
        expected: String,
    },
    /// Wrong type.
    #[error("{}: {array} has type {found}, expected {expected}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The array, with its group.
        array: String,
        /// Its type.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A flag that is neither bool nor 0 or 1.
    #[error("{}: {array} holds {value} at row {row}, expected false, true, 0 or 1", path.display())]
    Flag {
        /// The file.
        path: PathBuf,
        /// The array, with its group.
        array: String,
        /// First offending row.
        row: usize,
        /// What is there.
        value: f64,
    },
    /// Nothing to train on.
    #[error("{}: {what}: nothing can be trained on", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What is empty.
        what: String,
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
    /// A storage that is not read.
    #[error("{}: data_format {found} is not supported, {advice}", path.display())]
    DataFormat {
        /// The file.
        path: PathBuf,
        /// The format's name.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A Minari version nobody has checked.
    #[error("{}: minari_version {found} is not supported (supported: {supported}); load leniently to try it all the same", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version.
        found: String,
        /// The list.
        supported: String,
    },
    /// The metadata counts something else than the file holds.
    #[error("{}: {key} is {metadata} in metadata.json, but the file holds {file}", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What the metadata says.
        metadata: u64,
        /// What is there.
        file: u64,
    },
    /// Episodes are not numbered from 0 without gaps.
    #[error("{}: episode_{missing} is missing: the {found} episodes must be numbered from 0 without gaps", path.display())]
    EpisodeGap {
        /// The file.
        path: PathBuf,
        /// The first number without an episode.
        missing: u64,
        /// How many there are.
        found: u64,
    },
    /// An episode does not have one observation more than actions.
    #[error("{}: episode {episode} has {observations} observations and {actions} actions, expected one observation more than actions", path.display())]
    ObservationRows {
        /// The file.
        path: PathBuf,
        /// The episode.
        episode: u64,
        /// Rows of observations.
        observations: u64,
        /// Rows of actions.
        actions: u64,
    },
    /// A flag before the last step of an episode.
    #[error("{}: episode {episode}: {array} is true at step {step}, before the last step {last}", path.display())]
    EarlyEnd {
        /// The file.
        path: PathBuf,
        /// The episode.
        episode: u64,
        /// `terminations` or `truncations`.
        array: &'static str,
        /// The step.
        step: usize,
        /// The episode's last step.
        last: usize,
    },
    /// A D4RL file without `timeouts`, of a task with an unknown time limit.
    #[error("{}: there is no timeouts array, and the task's time limit is unknown: give max_episode_steps", path.display())]
    UnknownTimeLimit {
        /// The file.
        path: PathBuf,
    },
    /// The file can be read, but its numbers cannot be used. The report says which and where.
    #[error("{}: {}", path.display(), list_findings(report))]
    Content {
        /// The file.
        path: PathBuf,
        /// All that was found.
        report: Box<Report>,
    },
    /// Something is already there.
    #[error("{}: already exists; ask for overwriting to replace it", path.display())]
    Exists {
        /// Where the dataset was to be written.
        path: PathBuf,
    },
    /// The format cannot hold this dataset.
    #[error("{}: cannot be saved as {format}: {problem}", path.display())]
    Unsupported {
        /// Where the dataset was to be written.
        path: PathBuf,
        /// The format.
        format: super::Format,
        /// What does not fit, and what to do.
        problem: String,
    },
}

fn list_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn list_contents(names: &[String]) -> String {
    if names.is_empty() { "there is nothing in its place".into() } else { format!("found {}", names.join(", ")) }
}

fn list_lengths(lengths: &[(String, u64)]) -> String {
    lengths.iter().map(|(name, length)| format!("{name} {length}")).collect::<Vec<_>>().join(", ")
}

fn list_findings(report: &Report) -> String {
    report.errors.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("; ")
}
