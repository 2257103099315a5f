//! Minari datasets, version 0.5, in HDF5 storage.
//!
//! ```text
//! <root>/mujoco/hopper/medium-v0/data/metadata.json     counts, spaces, provenance
//! <root>/mujoco/hopper/medium-v0/data/main_data.hdf5    one group an episode: episode_0, episode_1, ...
//! ```
//!
//! An episode of `T` steps has `T + 1` observations. Infos are neither read nor written.
//!
//! ```
//! use aaren_data::minari;
//!
//! assert!(minari::is_id("mujoco/hopper/medium-v0") && !minari::is_id("hopper.hdf5"));
//! assert!(minari::find("mujoco/hopper/medium-v0", &["/nowhere".into()]).is_err());
//! ```

pub(crate) mod metadata;
pub(crate) mod write;

use crate::error::DatasetError;
use crate::format::Format;
use crate::hdf5::{Array, Hdf5, Node};
use crate::loaded::{LoadOptions, Loaded};
use crate::report::{Check, Report};
use crate::trajectory::{Actions, Dataset, Trajectory};
use crate::verify::accept;
use aaren_envs::{Space, StepEnd};
use hdf5_pure::AttrValue;
use std::path::{Path, PathBuf};

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

/// Reads a dataset from its directory (or its `data`, or its main file).
///
/// # Errors
/// A [`DatasetError`] that names the file and the fault. No input makes this panic.
pub fn read(path: &Path, options: &LoadOptions) -> Result<Loaded, DatasetError> {
    let data = data_dir(path).ok_or_else(|| {
        let found = if path.is_file() { "a file" } else { "a directory without a dataset" };
        DatasetError::wrong_kind(path, found, "a Minari dataset directory (with data/metadata.json and data/main_data.hdf5)")
    })?;
    let mut report = Report::default();
    let metadata_path = data.join("metadata.json");
    let (mut dataset, totals) = metadata::read(&metadata_path, options, &mut report)?;
    let hdf5 = Hdf5::open(&data.join(MAIN_FILE))?;
    dataset.trajectories = read_episodes(&hdf5, &dataset, &totals, &metadata_path, &mut report)?;
    if let Some(limit) = options.max_episode_steps {
        let widths = (dataset.observation_space.width(), dataset.action_space.width());
        dataset.trajectories = dataset.trajectories.into_iter().flat_map(|trajectory| trajectory.cut_at(limit, widths)).collect();
        dataset.max_episode_steps = Some(limit);
    }
    let report = accept(hdf5.path(), &dataset, options.strictness, report)?;
    Ok(Loaded { dataset, format: Format::Minari, path: path.into(), warnings: report.warnings.clone(), report })
}

fn read_episodes(
    hdf5: &Hdf5,
    about: &Dataset,
    totals: &metadata::Totals,
    metadata_path: &Path,
    report: &mut Report,
) -> Result<Vec<Trajectory>, DatasetError> {
    // The file lists groups alphabetically, episode_10 before episode_2: order them by number.
    let number = |name: &str| name.strip_prefix("episode_").and_then(|digits| digits.parse::<u64>().ok());
    let groups = hdf5.root()?.groups()?;
    let mut episodes: Vec<(u64, Node)> = groups.into_iter().filter_map(|(name, node)| Some((number(&name)?, node))).collect();
    episodes.sort_by_key(|&(number, _)| number);
    let found = episodes.len() as u64;
    if found == 0 {
        return Err(DatasetError::invalid(hdf5.path(), "no episodes: nothing can be trained on"));
    }
    if let Some(missing) = (0..found).find(|&k| episodes[k as usize].0 != k) {
        let problem = format!("episode_{missing} is missing: the {found} episodes must be numbered from 0 without gaps");
        return Err(DatasetError::invalid(hdf5.path(), problem));
    }
    let count = |key: &str, metadata: u64, file: u64| {
        let problem = || format!("{key} is {metadata} in metadata.json, but the file holds {file}");
        if metadata == file { Ok(()) } else { Err(DatasetError::invalid(metadata_path, problem())) }
    };
    count("total_episodes", totals.episodes, found)?;

    let mut open_ends = 0;
    let mut trajectories = Vec::with_capacity(episodes.len());
    for (episode, node) in &episodes {
        let mut trajectory = read_episode(hdf5, *episode, node, about)?;
        if !trajectory.end.is_end() {
            trajectory.end.truncated = true;
            open_ends += 1;
        }
        trajectories.push(trajectory);
    }
    count("total_steps", totals.steps, trajectories.iter().map(|trajectory| trajectory.len() as u64).sum())?;
    if open_ends > 0 {
        let text = format!("{open_ends} episodes end without a flag and are treated as truncated");
        report.warn(Check::OpenEnd, open_ends, text);
    }
    Ok(trajectories)
}

fn read_episode(hdf5: &Hdf5, episode: u64, node: &Node, about: &Dataset) -> Result<Trajectory, DatasetError> {
    let mut arrays = node.arrays()?;
    let mut take = |name| arrays.take(name);
    let (observations, actions) = (take("observations")?, take("actions")?);
    let [rewards, terminations, truncations] = [take("rewards")?, take("terminations")?, take("truncations")?];

    let columns = [&rewards, &terminations, &truncations];
    columns.iter().try_for_each(|column| column.expect_column())?;
    hdf5.expect_same_rows(&[&actions, &rewards, &terminations, &truncations])?;
    observations.expect_matrix(about.observation_space.width(), "observation_space")?;
    if observations.rows() != actions.rows() + 1 {
        let problem = format!(
            "episode {episode} has {} observations and {} actions, expected one observation more than actions",
            observations.rows(),
            actions.rows()
        );
        return Err(DatasetError::invalid(hdf5.path(), problem));
    }
    if actions.rows() == 0 {
        let problem = format!("episode {episode} has no steps: nothing can be trained on");
        return Err(DatasetError::invalid(hdf5.path(), problem));
    }
    let terminated = read_end(hdf5, episode, &terminations, "terminations")?;
    let truncated = read_end(hdf5, episode, &truncations, "truncations")?;
    let actions = match &about.action_space {
        Space::Discrete { .. } => {
            actions.expect_column()?;
            Actions::Discrete(actions.i64s()?)
        }
        Space::Box { low, .. } => {
            actions.expect_matrix(low.len(), "action_space")?;
            Actions::Continuous(actions.f32s()?)
        }
    };
    let seed = match node.attributes().get("seed") {
        Some(&AttrValue::I64(seed)) => u64::try_from(seed).ok(),
        Some(&AttrValue::U64(seed)) => Some(seed),
        _ => None,
    };
    Ok(Trajectory {
        observations: observations.f64s()?,
        actions,
        rewards: rewards.f64s()?,
        end: StepEnd { terminated, truncated },
        seed,
    })
}

/// The flag of the last step, after checking that no earlier step has it.
fn read_end(hdf5: &Hdf5, episode: u64, flags: &Array, array: &str) -> Result<bool, DatasetError> {
    let flags = flags.flags()?;
    let last = flags.len().saturating_sub(1);
    match flags.iter().position(|&flag| flag) {
        Some(step) if step < last => {
            let problem = format!("episode {episode}: {array} is true at step {step}, before the last step {last}");
            Err(DatasetError::invalid(hdf5.path(), problem))
        }
        first => Ok(first.is_some()),
    }
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
