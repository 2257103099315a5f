//! D4RL's flat HDF5 files: one row per transition, one episode after the other.
//!
//! An episode ends at a row with `terminals` or `timeouts` (with both: terminated); without `timeouts` also after as many rows
//! as the task's time limit, and with [`LoadOptions::max_episode_steps`] in any case after as many. Rows after the last end are dropped unless [`LoadOptions::keep_unfinished`] is set. The file name
//! gives the task (`hopper_medium-v2.hdf5`), unless the file has our own attributes; actions of an unknown task are assumed to be
//! bounded by -1 and 1, as all of D4RL's are. Infos are not read; those of recorded episodes are written.
//!
//! Numbers are stored in single precision, so observations and rewards of a double-precision dataset are rounded by saving;
//! actions are single precision in memory already. Seeds are not stored.
//!
//! ```
//! use aaren_data::{LoadOptions, d4rl};
//!
//! let loaded = d4rl::read("tests/fixtures/d4rl/hopper_medium-v2.hdf5".as_ref(), &LoadOptions::default())?;
//! assert_eq!(loaded.dataset.trajectories.len(), 3);
//! assert_eq!(loaded.dataset.env_id.as_deref(), Some("Hopper-v5"));
//! # Ok::<(), aaren_data::DatasetError>(())
//! ```

mod about;
mod task;
pub(crate) mod write;

use crate::error::DatasetError;
use crate::format::Format;
use crate::hdf5::{Array, Hdf5};
use crate::loaded::{LoadOptions, Loaded};
use crate::report::{Check, Report};
use crate::trajectory::{Actions, Trajectory};
use crate::verify::accept;
use aaren_envs::{Dtype, StepEnd};
use std::{ops::Range, path::Path};

/// Largest difference between `next_observations[i]` and `observations[i + 1]`, relative to 1 plus the size of the number:
/// one is often the other rounded to single precision.
const NEXT_TOLERANCE: f64 = 1e-5;

/// Rows of one episode.
struct Segment {
    rows: Range<usize>,
    end: StepEnd,
}

/// Reads a D4RL file.
///
/// # Errors
/// A [`DatasetError`] that names the file and the fault. No input makes this panic.
pub fn read(path: &Path, options: &LoadOptions) -> Result<Loaded, DatasetError> {
    let hdf5 = Hdf5::open(path)?;
    let root = hdf5.root()?;
    let groups: Vec<String> = root.groups()?.into_iter().map(|(name, _)| name).collect();
    refuse_other_layouts(path, &groups)?;
    let mut arrays = root.arrays()?;
    arrays.found.extend(groups.into_iter().map(|name| format!("{name}/")));
    let (observations, actions) = (arrays.take("observations")?, arrays.take("actions")?);
    let (rewards, terminals) = (arrays.take("rewards")?, arrays.take("terminals")?);
    let timeouts = arrays.take_optional("timeouts")?;
    let next_observations = arrays.take_optional("next_observations")?;

    let width = |array: &Array| match array.shape[..] {
        [_, width] if width > 0 => Ok(width as usize),
        _ => Err(array.shape_error("[rows, width]")),
    };
    let widths = (width(&observations)?, width(&actions)?);
    let columns = [Some(&rewards), Some(&terminals), timeouts.as_ref()];
    columns.into_iter().flatten().try_for_each(Array::expect_column)?;
    let matrices = [Some(&observations), Some(&actions), next_observations.as_ref()];
    hdf5.expect_same_rows(&matrices.into_iter().chain(columns).flatten().collect::<Vec<_>>())?;
    if observations.rows() == 0 {
        return Err(DatasetError::invalid(path, "zero rows: nothing can be trained on"));
    }
    let dtype = if observations.is_double() { Dtype::Float64 } else { Dtype::Float32 };
    let mut report = Report::default();
    let (mut dataset, widths_from) = about::read(path, &root, widths, dtype, &mut report)?;
    observations.expect_matrix(dataset.observation_space.width(), &widths_from)?;
    actions.expect_matrix(dataset.action_space.width(), &widths_from)?;
    if let Some(next) = &next_observations {
        next.expect_matrix(widths.0, "as observations")?;
    }

    dataset.max_episode_steps = options.max_episode_steps.or(dataset.max_episode_steps);
    if timeouts.is_none() && dataset.max_episode_steps.is_none() {
        dataset.max_episode_steps = options.task_limit;
        if let Some(limit) = options.task_limit {
            let text = format!(
                "there is no timeouts array, and the data do not say their task: episodes are cut after {limit} steps, the limit of the \
                 job's task; --max-episode-steps N (the key data.max_episode_steps) cuts elsewhere"
            );
            report.warn(Check::EpisodeLength, 1, text);
        }
    }
    let terminals = terminals.flags()?;
    let timeouts = timeouts.map(|timeouts| timeouts.flags()).transpose()?;
    let segments = segments(path, &terminals, timeouts.as_deref(), dataset.max_episode_steps, options, &mut report)?;
    let mut trajectories = slice(&segments, widths, actions.f32s()?, rewards.f64s()?);
    visit_episodes(&observations, &segments, widths.0, |episode, _, observation| {
        trajectories[episode].observations.extend_from_slice(observation);
    })?;
    if let Some(next) = &next_observations {
        read_next_observations(next, &segments, widths.0, &mut trajectories, options, &mut report)?;
    }
    dataset.trajectories = trajectories;
    let report = accept(path, &dataset, options.strictness, report)?;
    Ok(Loaded { dataset, format: Format::D4rl, path: path.into(), warnings: report.warnings.clone(), report })
}

fn refuse_other_layouts(path: &Path, groups: &[String]) -> Result<(), DatasetError> {
    if groups.iter().any(|name| name == "virtual") {
        let problem = "data_format D4RL in virtual/ groups is not supported, expected flat arrays: observations, actions, rewards, \
                       terminals";
        return Err(DatasetError::invalid(path, problem));
    }
    if groups.iter().any(|name| name == "episode_0") {
        let expected = "a flat D4RL file, or a Minari dataset directory (with data/metadata.json and data/main_data.hdf5)";
        return Err(DatasetError::wrong_kind(path, "the main file of a Minari dataset, on its own", expected));
    }
    Ok(())
}

/// Cuts the rows into episodes.
fn segments(
    path: &Path,
    terminals: &[bool],
    timeouts: Option<&[bool]>,
    limit: Option<usize>,
    options: &LoadOptions,
    report: &mut Report,
) -> Result<Vec<Segment>, DatasetError> {
    let limit = match (timeouts, limit) {
        (Some(_), _) => options.max_episode_steps,
        (None, Some(limit)) => Some(limit),
        (None, None) => {
            let problem = "there is no timeouts array, and the task's time limit is unknown: give max_episode_steps \
                           (--max-episode-steps N, or the key data.max_episode_steps)";
            return Err(DatasetError::invalid(path, problem));
        }
    };
    let rows = terminals.len();
    let mut segments = Vec::new();
    let mut start = 0;
    for row in 0..rows {
        let terminated = terminals[row];
        let at_limit = limit == Some(row + 1 - start);
        // A terminal in the row where the rows are cut says how the episode ended; the limit is only inferred.
        let truncated = timeouts.is_some_and(|timeouts| timeouts[row]) || (at_limit && !terminated);
        let end = StepEnd { terminated, truncated };
        if end.is_end() {
            segments.push(Segment { rows: start..row + 1, end });
            start = row + 1;
        }
    }
    let tail = rows - start;
    if tail > 0 && options.keep_unfinished {
        segments.push(Segment { rows: start..rows, end: StepEnd { terminated: false, truncated: true } });
        let text = format!("the last {tail} rows belong to an unfinished episode: kept as truncated");
        report.warn(Check::UnfinishedTail, tail, text);
    } else if tail > 0 && !segments.is_empty() {
        let text = format!("the last {tail} rows belong to an unfinished episode: dropped");
        report.warn(Check::UnfinishedTail, tail, text);
    }
    if segments.is_empty() {
        let problem = format!("no finished episode in {rows} rows: nothing can be trained on");
        return Err(DatasetError::invalid(path, problem));
    }
    Ok(segments)
}

/// Trajectories with all but their observations.
fn slice(segments: &[Segment], widths: (usize, usize), actions: Vec<f32>, rewards: Vec<f64>) -> Vec<Trajectory> {
    let trajectory = |segment: &Segment| {
        let Range { start, end } = segment.rows;
        Trajectory {
            observations: Vec::with_capacity((end - start + 1) * widths.0),
            actions: Actions::Continuous(actions[start * widths.1..end * widths.1].to_vec()),
            rewards: rewards[start..end].to_vec(),
            end: segment.end,
            seed: None,
        }
    };
    segments.iter().map(trajectory).collect()
}

/// Hands over the rows that belong to an episode, in order: `visit(episode, row, numbers)`.
fn visit_episodes(
    matrix: &Array,
    segments: &[Segment],
    width: usize,
    mut visit: impl FnMut(usize, usize, &[f64]),
) -> Result<(), DatasetError> {
    let mut episode = 0;
    matrix.visit_rows(|first, numbers| {
        for (row, numbers) in (first..).zip(numbers.chunks_exact(width)) {
            while segments.get(episode).is_some_and(|segment| row >= segment.rows.end) {
                episode += 1;
            }
            if episode < segments.len() {
                visit(episode, row, numbers);
            }
        }
    })
}

/// Takes the observation after the last action of each episode, and compares the other rows with the observations they repeat.
fn read_next_observations(
    next: &Array,
    segments: &[Segment],
    width: usize,
    trajectories: &mut [Trajectory],
    options: &LoadOptions,
    report: &mut Report,
) -> Result<(), DatasetError> {
    let mut differing = 0;
    let mut first_difference = None;
    visit_episodes(next, segments, width, |episode, row, observation| {
        let (segment, trajectory) = (&segments[episode], &mut trajectories[episode]);
        if row + 1 == segment.rows.end {
            return trajectory.observations.extend_from_slice(observation);
        }
        let following = &trajectory.observations[(row + 1 - segment.rows.start) * width..][..width];
        let differs = |(a, b): (&f64, &f64)| {
            let close = (a - b).abs() <= NEXT_TOLERANCE * (1.0 + b.abs());
            !close && b.is_finite() // an observation that is not finite is reported as such
        };
        if let Some(column) = observation.iter().zip(following).position(differs) {
            differing += 1;
            first_difference.get_or_insert((row, column, observation[column], following[column]));
        }
    })?;
    if let Some((row, column, found, expected)) = first_difference {
        let text = format!(
            "next_observations differ from the observation that follows in {differing} rows, first at row {row}, column {column}: {found} and then {expected}"
        );
        report.suspect(options.strictness, Check::NextObservations, differing, text);
    }
    Ok(())
}
