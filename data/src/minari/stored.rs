//! One stored episode as a trajectory, the same whatever it is stored in.

use super::layout::{ActionLayout, Layout, joint_choice};
use super::metadata::Spaces;
use crate::error::DatasetError;
use crate::loaded::Incomplete;
use crate::report::{Check, Report};
use crate::trajectory::{Actions, Trajectory};
use aaren_envs::StepEnd;
use std::path::Path;

/// Bytes of all observations once choices are one-hot, at most. Anything else takes the memory that its file takes.
const MOST_FLATTENED: u64 = 1 << 32;

/// An array of an episode, a row a step.
pub(super) trait Rows {
    /// Its path in the storage, for messages.
    fn name(&self) -> &str;

    fn rows(&self) -> u64;

    /// Checks for rows of a shape; rows of one number may have none.
    ///
    /// - `who`: what says so
    fn expect_shape(&self, shape: &[usize], who: &str) -> Result<(), DatasetError>;

    /// Everything, row-major; flags are 0 and 1.
    fn f64s(&self) -> Result<Vec<f64>, DatasetError>;

    /// The same in single precision: exact for what was stored so.
    fn f32s(&self) -> Result<Vec<f32>, DatasetError>;

    /// The same of integers.
    fn i64s(&self) -> Result<Vec<i64>, DatasetError>;

    /// The same of flags.
    fn flags(&self) -> Result<Vec<bool>, DatasetError>;
}

/// The arrays of an episode: of a space of several spaces, one a leaf.
pub(super) struct Stored<R> {
    pub(super) observations: Vec<R>,
    pub(super) actions: Vec<R>,
    pub(super) rewards: R,
    pub(super) terminations: R,
    pub(super) truncations: R,
    pub(super) seed: Option<u64>,
}

/// Makes trajectories of stored episodes, and counts those that are left out.
pub(super) struct Episodes<'a> {
    path: &'a Path,
    spaces: &'a Spaces,
    incomplete: Incomplete,
    skipped: usize,
    /// Why the first of them was left out.
    first_skipped: Option<String>,
    open_ends: usize,
    flattened: u64,
    pub(super) trajectories: Vec<Trajectory>,
}

impl<'a> Episodes<'a> {
    /// - `path`: in messages
    pub(super) fn new(path: &'a Path, spaces: &'a Spaces, incomplete: Incomplete) -> Self {
        Self { path, spaces, incomplete, skipped: 0, first_skipped: None, open_ends: 0, flattened: 0, trajectories: Vec::new() }
    }

    /// Adds an episode, if it can be read.
    ///
    /// # Errors
    /// What is wrong with it, unless it is incomplete and such episodes are left out.
    pub(super) fn push<R: Rows>(&mut self, episode: u64, stored: Result<Stored<R>, DatasetError>) -> Result<(), DatasetError> {
        let read = stored.and_then(|stored| self.trajectory(episode, stored));
        match read {
            Ok(mut trajectory) => {
                if !trajectory.end.is_end() {
                    trajectory.end.truncated = true;
                    self.open_ends += 1;
                }
                self.trajectories.push(trajectory);
                Ok(())
            }
            Err(DatasetError::Incomplete { episode, problem, .. }) if self.incomplete == Incomplete::Skip => {
                self.skipped += 1;
                self.first_skipped.get_or_insert_with(|| format!("episode {episode}: {problem}"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// An episode that is not there whole.
    pub(super) fn incomplete(&self, episode: u64, problem: impl Into<String>) -> DatasetError {
        DatasetError::Incomplete { path: self.path.into(), episode, problem: problem.into() }
    }

    /// Notes what was left out and what was taken as truncated.
    ///
    /// # Errors
    /// If nothing is left, or the totals of `metadata.json` are others.
    pub(super) fn finish(
        self,
        (metadata_path, totals): (&Path, &super::metadata::Totals),
        report: &mut Report,
    ) -> Result<Vec<Trajectory>, DatasetError> {
        let found = (self.trajectories.len() + self.skipped) as u64;
        let steps = self.trajectories.iter().map(|trajectory| trajectory.len() as u64).sum();
        if let Some(first) = &self.first_skipped {
            let text = format!("{} incomplete episodes of {found} are left out, first {first}", self.skipped);
            if self.trajectories.is_empty() {
                return Err(DatasetError::invalid(self.path, format!("nothing can be trained on: {text}")));
            }
            report.warn(Check::Incomplete, self.skipped, text);
        }
        let counts = [("total_episodes", totals.episodes, found), ("total_steps", totals.steps, steps)];
        for (key, metadata, file) in counts.into_iter().filter(|(_, metadata, file)| metadata != file) {
            // A recording that was cut off counts what it did not write, or not what it did.
            if self.incomplete == Incomplete::Refuse {
                let problem = format!(
                    "{key} is {metadata} in metadata.json, but the file holds {file}; if the recording was cut off, \
                     data.incomplete=skip (`--incomplete skip` of `aaren dataset`) takes what is there"
                );
                return Err(DatasetError::invalid(metadata_path, problem));
            } else if self.skipped == 0 {
                report.warn(Check::Incomplete, 1, format!("{key} is {metadata} in metadata.json, but the file holds {file}"));
            }
        }
        if self.open_ends > 0 {
            let text = format!("{} episodes end without a flag and are treated as truncated", self.open_ends);
            report.warn(Check::OpenEnd, self.open_ends, text);
        }
        Ok(self.trajectories)
    }

    fn trajectory<R: Rows>(&mut self, episode: u64, stored: Stored<R>) -> Result<Trajectory, DatasetError> {
        let Stored { observations, actions, rewards, terminations, truncations, seed } = stored;
        let columns = [&rewards, &terminations, &truncations];
        columns.iter().try_for_each(|column| column.expect_shape(&[], "a number a step"))?;
        let of_steps: Vec<&R> = actions.iter().chain(columns).collect();
        let steps = rewards.rows();
        if of_steps.iter().any(|array| array.rows() != steps) {
            let lengths: Vec<String> = of_steps.iter().map(|array| format!("{} {}", array.name(), array.rows())).collect();
            return Err(self.incomplete(episode, format!("lengths differ: {}", lengths.join(", "))));
        }
        let spaces = self.spaces;
        for (array, (_, leaf)) in observations.iter().zip(spaces.observations.leaves()) {
            array.expect_shape(&leaf.stored_shape(), "observation_space")?;
            if array.rows() != steps + 1 {
                let found = array.rows();
                let problem =
                    format!("it has {found} observations and {steps} actions, expected one observation more than actions");
                return Err(self.incomplete(episode, problem));
            }
        }
        for (array, (_, leaf)) in actions.iter().zip(spaces.actions.leaves()) {
            array.expect_shape(&leaf.stored_shape(), "action_space")?;
        }
        if steps == 0 {
            return Err(self.incomplete(episode, "it has no steps: nothing can be trained on"));
        }
        let terminated = self.read_end(episode, &terminations, "terminations")?;
        let truncated = self.read_end(episode, &truncations, "truncations")?;
        Ok(Trajectory {
            actions: self.actions(episode, &actions)?,
            observations: self.observations(episode, &observations)?,
            rewards: rewards.f64s()?,
            end: StepEnd { terminated, truncated },
            seed,
        })
    }

    fn observations<R: Rows>(&mut self, episode: u64, arrays: &[R]) -> Result<Vec<f64>, DatasetError> {
        let space = &self.spaces.observations;
        if let ([array], Layout::Box { .. }) = (arrays, space) {
            return array.f64s();
        }
        let (rows, width) = (arrays.first().map_or(0, R::rows), space.width());
        self.flattened = self.flattened.saturating_add(rows.saturating_mul(width as u64).saturating_mul(8));
        if self.flattened > MOST_FLATTENED {
            let problem = format!(
                "the observations are {width} numbers a step once their choices are flags, {} GiB up to episode {episode} and more than \
                 {} GiB; train on fewer episodes",
                self.flattened >> 30,
                MOST_FLATTENED >> 30
            );
            return Err(DatasetError::invalid(self.path, problem));
        }
        let mut flat = vec![0.0; rows as usize * width];
        let mut column = 0;
        for (array, (_, leaf)) in arrays.iter().zip(space.leaves()) {
            let numbers = array.f64s()?;
            leaf.place(&numbers, &mut flat, width, column)
                .map_err(|(row, number)| self.no_choice(episode, array.name(), row, number))?;
            column += leaf.width();
        }
        Ok(flat)
    }

    fn actions<R: Rows>(&self, episode: u64, arrays: &[R]) -> Result<Actions, DatasetError> {
        match (&self.spaces.action_layout, arrays) {
            (ActionLayout::Choice, [array]) => Ok(Actions::Discrete(array.i64s()?)),
            (ActionLayout::Numbers, [array]) => Ok(Actions::Continuous(array.f32s()?)),
            (ActionLayout::Numbers, arrays) => Ok(Actions::Continuous(interleave(arrays, R::f32s)?)),
            (ActionLayout::Joint(choices), arrays) => {
                let numbers = interleave(arrays, R::f64s)?;
                let joint = numbers.chunks_exact(choices.len()).enumerate().map(|(row, numbers)| {
                    joint_choice(numbers, choices).map_err(|number| self.no_choice(episode, "actions", row, number))
                });
                Ok(Actions::Discrete(joint.collect::<Result<_, _>>()?))
            }
            (ActionLayout::Choice, _) => unreachable!("a space of one choice has one array"),
        }
    }

    fn no_choice(&self, episode: u64, array: &str, row: usize, number: f64) -> DatasetError {
        let problem =
            format!("episode {episode}: {array} holds {number} at row {row}, which is none of the choices of its space");
        DatasetError::invalid(self.path, problem)
    }

    /// The flag of the last step, after checking that no earlier step has it.
    fn read_end<R: Rows>(&self, episode: u64, flags: &R, array: &str) -> Result<bool, DatasetError> {
        let flags = flags.flags()?;
        let last = flags.len().saturating_sub(1);
        match flags.iter().position(|&flag| flag) {
            Some(step) if step < last => {
                let problem = format!("episode {episode}: {array} is true at step {step}, before the last step {last}");
                Err(DatasetError::invalid(self.path, problem))
            }
            first => Ok(first.is_some()),
        }
    }
}

/// Rows of several arrays side by side.
fn interleave<R: Rows, T: Copy>(arrays: &[R], read: impl Fn(&R) -> Result<Vec<T>, DatasetError>) -> Result<Vec<T>, DatasetError> {
    let parts = arrays.iter().map(&read).collect::<Result<Vec<_>, _>>()?;
    let rows = arrays.first().map_or(0, |array| array.rows() as usize);
    if let [part] = &parts[..] {
        return Ok(part.clone());
    }
    let width = |part: &Vec<T>| part.len() / rows.max(1);
    Ok((0..rows)
        .flat_map(|row| parts.iter().flat_map(move |part| &part[row * width(part)..(row + 1) * width(part)]))
        .copied()
        .collect())
}
