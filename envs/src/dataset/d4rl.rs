//! D4RL files, which are not read yet.

use super::{DatasetError, LoadOptions, Loaded};
use std::path::Path;

pub(super) fn read(path: &Path, _options: &LoadOptions) -> Result<Loaded, DatasetError> {
    Err(DatasetError::DataFormat {
        path: path.into(),
        found: "D4RL".into(),
        advice: "expected a Minari dataset",
    })
}
