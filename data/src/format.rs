//! The ways to store a dataset.

use serde::Serialize;
use std::fmt;

/// Subfolder of a dataset that is being collected, with its episodes until the dataset is written. A folder with this and without
/// a dataset is a collection that was stopped.
pub const JOURNAL: &str = "journal";

/// A file format for datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A directory with `data/metadata.json` and `data/main_data.hdf5`. See [`minari`](crate::minari).
    Minari,
    /// One flat HDF5 file. See [`d4rl`](crate::d4rl).
    D4rl,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Minari => "Minari",
            Format::D4rl => "D4RL",
        })
    }
}
