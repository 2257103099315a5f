//! Minari datasets, version 0.5: written in HDF5 storage, read in that and, with the feature `arrow`, in the other two.
//!
//! ```text
//! <root>/mujoco/hopper/medium-v0/data/metadata.json     counts, spaces, provenance
//! <root>/mujoco/hopper/medium-v0/data/main_data.hdf5    one group an episode: episode_0, episode_1, ...
//! <root>/mujoco/hopper/medium-v0/data/0/part-0.arrow    or a folder an episode; part-0.parquet likewise
//! ```
//!
//! An episode of `T` steps has `T + 1` observations. Infos are neither read nor written.
//!
//! Observations of any space of numbers and choices become one row of numbers in Gymnasium's order
//! (`gymnasium.spaces.utils.flatten`): boxes row by row, choices as flags. Actions become numbers, or one choice: several choices at
//! once are the joint one, numbered as NumPy's `ravel_multi_index` does. The dataset's metadata keep the spaces as they were recorded
//! under `recorded_observation_space` and `recorded_action_space`.
//!
//! ```
//! use aaren_data::minari;
//!
//! assert!(minari::is_id("mujoco/hopper/medium-v0") && !minari::is_id("hopper.hdf5"));
//! assert!(minari::find("mujoco/hopper/medium-v0", &["/nowhere".into()]).is_err());
//! ```

#[cfg(feature = "arrow")]
mod columnar;
mod hdf5;
mod layout;
pub(crate) mod metadata;
mod stored;
pub(crate) mod write;

use crate::error::DatasetError;
use crate::format::Format;
use crate::hdf5::Hdf5;
use crate::loaded::{LoadOptions, Loaded};
use crate::report::Report;
use crate::verify::accept;
use metadata::{Description, Storage};
use std::path::{Path, PathBuf};
use stored::Episodes;

/// The file with the numbers, inside of `data/`.
const MAIN_FILE: &str = "main_data.hdf5";

/// Whether a name could be a Minari dataset id: an optional namespace, a name and a version, `mujoco/hopper/medium-v0`.
pub fn is_id(name: &str) -> bool {
    let (namespace, dataset) = name.rsplit_once('/').map_or((None, name), |(left, right)| (Some(left), right));
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let versioned = dataset.rsplit_once("-v").is_some_and(|(name, version)| {
        !name.is_empty() && !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
    });
    let namespace_fits = namespace.is_none_or(|namespace| {
        namespace.chars().count() >= 2
            && namespace.chars().all(|c| word(c) || c == '/')
            && !namespace.starts_with('/')
            && !namespace.ends_with('/')
    });
    versioned && dataset.chars().all(word) && namespace_fits
}

/// Where datasets are looked for by id: `MINARI_DATASETS_PATH` if it is set, then `~/.minari/datasets`, then `~/.minari`.
pub fn roots() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = std::env::var_os("MINARI_DATASETS_PATH").map(PathBuf::from).into_iter().collect();
    if let Some(home) = std::env::home_dir() {
        roots.push(home.join(".minari").join("datasets"));
        roots.push(home.join(".minari"));
    }
    roots
}

/// The directory of a dataset in the first of some roots that has it.
///
/// # Errors
/// [`DatasetError::NotFound`] with every place that was tried.
pub fn find(id: &str, roots: &[PathBuf]) -> Result<PathBuf, DatasetError> {
    let looked: Vec<PathBuf> = roots.iter().map(|root| root.join(id)).collect();
    let found = looked.iter().find(|path| path.join("data").is_dir()).cloned();
    found.ok_or(DatasetError::NotFound { name: id.into(), looked })
}

/// The `data` directory of a dataset, given the dataset's directory, its `data`, or the main file itself.
pub(crate) fn data_dir(path: &Path) -> Option<PathBuf> {
    let has_data = |dir: &Path| dir.join("metadata.json").is_file() || dir.join(MAIN_FILE).is_file();
    if path.is_file() {
        let is_main = path.file_name().is_some_and(|name| name == MAIN_FILE);
        return path.parent().filter(|dir| is_main && has_data(dir)).map(Path::to_path_buf);
    }
    let inner = path.join("data");
    if has_data(&inner) || inner.is_dir() {
        return Some(inner);
    }
    has_data(path).then(|| path.to_path_buf())
}

/// A space in words, from the JSON that it was recorded with.
pub(crate) fn describe_recorded(json: &str) -> Option<String> {
    Some(layout::Layout::parse(&metadata::parse(json).ok()?).ok()?.to_string())
}

/// Reads a dataset from its directory (or its `data`, or its main file).
///
/// # Errors
/// A [`DatasetError`] that names the file and the fault. No input makes this panic.
pub fn read(path: &Path, options: &LoadOptions) -> Result<Loaded, DatasetError> {
    let data = data_dir(path).ok_or_else(|| {
        let found = if path.is_file() { "a file" } else { "a directory without a dataset" };
        DatasetError::wrong_kind(path, found, "a Minari dataset directory (with data/metadata.json)")
    })?;
    let mut report = Report::default();
    let metadata_path = data.join("metadata.json");
    let Description { mut dataset, totals, storage, spaces } = metadata::read(&metadata_path, options, &mut report)?;
    let stored = if storage == Storage::Hdf5 { data.join(MAIN_FILE) } else { data.clone() };
    let mut episodes = Episodes::new(&stored, &spaces, options.incomplete);
    match storage {
        Storage::Hdf5 => hdf5::read(&Hdf5::open(&stored)?, &spaces, &mut episodes)?,
        #[cfg(feature = "arrow")]
        columnar => columnar::read(&data, columnar, &totals, &spaces, &mut episodes)?,
        #[cfg(not(feature = "arrow"))]
        _ => unreachable!("refused with the metadata"),
    }
    dataset.trajectories = episodes.finish((&metadata_path, &totals), &mut report)?;
    if let Some(limit) = options.max_episode_steps {
        let widths = (dataset.observation_space.width(), dataset.action_space.width());
        dataset.trajectories = dataset.trajectories.into_iter().flat_map(|trajectory| trajectory.cut_at(limit, widths)).collect();
        dataset.max_episode_steps = Some(limit);
    }
    let report = accept(&stored, &dataset, options.strictness, report)?;
    Ok(Loaded { dataset, format: Format::Minari, path: path.into(), warnings: report.warnings.clone(), report })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_paths() {
        for id in ["mujoco/hopper/medium-v0", "hopper-v12", "D4RL/door/human-v2", "a_b-c-v0", "ab/c-v0"] {
            assert!(is_id(id), "{id}");
        }
        for other in ["hopper", "hopper-v", "hopper-v1a", "/mujoco/hopper-v0", "mujoco/-v0", "../x-v0", "a b-v0", "x.hdf5", ""] {
            assert!(!is_id(other), "{other}");
        }
    }
}
