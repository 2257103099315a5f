//! Whether the numbers of a dataset can be trained on. The loaders run the same checks.

use super::{Actions, Dataset, DatasetError, LoadOptions, Trajectory, load_with};
use aaren_envs::Space;
use serde::Serialize;
use std::fmt;

/// How far an action may lie outside its bounds: rounding to single precision, with room.
pub const ACTION_TOLERANCE: f64 = 1e-5;

/// What to do about what is suspicious, but not wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Also accept versions that nobody has checked.
    Lenient,
    /// Warn.
    #[default]
    Normal,
    /// Refuse.
    Strict,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// The file's structure: whatever a [`DatasetError`] says.
    Structure,
    /// NaN or infinity in observations, actions or rewards.
    Finite,
    /// Array sizes against the spaces.
    Width,
    /// Continuous actions against the action space.
    ActionBounds,
    /// Discrete actions against the action space.
    ActionIndex,
    /// `next_observations[i]` against `observations[i + 1]`.
    NextObservations,
    /// Rows after the last end of an episode.
    UnfinishedTail,
    /// Episodes whose last step carries no flag.
    OpenEnd,
    /// Whether anything is there.
    Empty,
    /// A version outside the supported list.
    Version,
    /// Metadata that cannot be used.
    Metadata,
}

/// One thing that was found, however often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// How many numbers, rows or episodes are affected.
    pub count: usize,
    /// What is wrong and where it is first seen. Rows, columns, steps and episodes count from 0.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All that was found in one dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Episodes looked at.
    pub episodes: usize,
    /// Transitions looked at.
    pub steps: usize,
    /// What makes the dataset unusable.
    pub errors: Vec<Finding>,
    /// What the user should know.
    pub warnings: Vec<Finding>,
}

impl Report {
    /// Whether the dataset can be used.
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn error(&mut self, check: Check, count: usize, text: String) {
        self.errors.push(Finding { check, count, text });
    }

    pub(super) fn warn(&mut self, check: Check, count: usize, text: String) {
        self.warnings.push(Finding { check, count, text });
    }

    /// A warning, or an error in strict mode.
    pub(super) fn suspect(&mut self, strictness: Strictness, check: Check, count: usize, text: String) {
        if strictness == Strictness::Strict { self.error(check, count, text) } else { self.warn(check, count, text) }
    }

    fn absorb(&mut self, mut other: Report) {
        self.errors.append(&mut other.errors);
        self.warnings.append(&mut other.warnings);
    }
}

/// The first of some offending numbers, and how many there are.
#[derive(Default)]
struct Tally {
    count: usize,
    first: Option<Place>,
}

struct Place {
    episode: usize,
    step: usize,
    row: usize,
    column: usize,
    value: f64,
}

impl Tally {
    fn add(&mut self, place: impl FnOnce() -> Place) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some(place());
        }
    }

    fn describe(&self, what: &str) -> Option<String> {
        let Place { episode, step, row, column, value } = self.first.as_ref()?;
        let count = self.count;
        Some(format!("{what}: {count} in total, first at row {row}, column {column} (episode {episode}, step {step}): {value}"))
    }
}

/// Checks a dataset in memory: sizes, finite numbers, actions within the space.
pub fn verify(dataset: &Dataset, strictness: Strictness) -> Report {
    let mut report = Report { episodes: dataset.trajectories.len(), ..Report::default() };
    report.steps = dataset.trajectories.iter().map(Trajectory::len).sum();
    if report.steps == 0 {
        let text = format!("{} episodes with {} steps: nothing can be trained on", report.episodes, report.steps);
        report.error(Check::Empty, 0, text);
    }
    check_sizes(dataset, &mut report);
    if report.is_ok() {
        check_finite(dataset, &mut report);
        check_actions(dataset, strictness, &mut report);
    }
    report
}

/// Checks a file: reads it and reports what the loader finds, whether or not it can be used.
pub fn verify_source(source: &str, options: &LoadOptions) -> Report {
    match load_with(source, options) {
        Ok(loaded) => loaded.report,
        Err(DatasetError::Content { report, .. }) => *report,
        Err(error) => {
            let mut report = Report::default();
            report.error(Check::Structure, 1, with_causes(&error));
            report
        }
    }
}

/// Ends a loader: the checks of [`verify`] added to what the loader itself noticed.
pub(super) fn accept(
    path: &std::path::Path,
    dataset: &Dataset,
    strictness: Strictness,
    noticed: Report,
) -> Result<Report, DatasetError> {
    let mut report = verify(dataset, strictness);
    report.absorb(noticed);
    if report.is_ok() { Ok(report) } else { Err(DatasetError::Content { path: path.into(), report: Box::new(report) }) }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn check_sizes(dataset: &Dataset, report: &mut Report) {
    let Space::Box { low, .. } = &dataset.observation_space else {
        report.error(Check::Width, 1, "observation_space: found Discrete, expected Box".into());
        return;
    };
    let width = low.len();
    if width == 0 || dataset.action_space.width() == 0 {
        return report.error(Check::Width, 1, "observation_space or action_space has no components".into());
    }
    for (episode, trajectory) in dataset.trajectories.iter().enumerate() {
        let steps = trajectory.len();
        if steps == 0 {
            return report.error(Check::Empty, 1, format!("episode {episode} has no steps: nothing can be trained on"));
        }
        let found = trajectory.observations.len();
        if found != steps * width && found != (steps + 1) * width {
            let text =
                format!("episode {episode}: {found} numbers of observations, expected {steps} or {} rows of {width}", steps + 1);
            return report.error(Check::Width, 1, text);
        }
        let (found, expected) = match (&trajectory.actions, &dataset.action_space) {
            (Actions::Continuous(actions), Space::Box { low, .. }) => (actions.len(), steps * low.len()),
            (Actions::Discrete(actions), Space::Discrete { .. }) => (actions.len(), steps),
            (actions, space) => {
                let found = if matches!(actions, Actions::Discrete(_)) { "discrete" } else { "continuous" };
                let expected = if space.is_discrete() { "discrete" } else { "continuous" };
                let text = format!("episode {episode}: {found} actions, expected {expected} ones (action_space)");
                return report.error(Check::Width, 1, text);
            }
        };
        if found != expected {
            let text = format!("episode {episode}: {found} numbers of actions, expected {expected} ({steps} steps)");
            return report.error(Check::Width, 1, text);
        }
    }
}

/// Adds every number of a `[rows, width]` block that is not finite.
fn tally_finite(tally: &mut Tally, numbers: impl Iterator<Item = f64>, width: usize, episode: usize, first_row: usize) {
    for (index, value) in numbers.enumerate() {
        if !value.is_finite() {
            let (step, column) = (index / width.max(1), index % width.max(1));
            tally.add(|| Place { episode, step, row: first_row + step, column, value });
        }
    }
}

fn check_finite(dataset: &Dataset, report: &mut Report) {
    let mut tallies: [Tally; 3] = Default::default();
    let [observations, actions, rewards] = &mut tallies;
    let mut row = 0;
    for (episode, trajectory) in dataset.trajectories.iter().enumerate() {
        let width = dataset.observation_space.width();
        tally_finite(observations, trajectory.observations.iter().copied(), width, episode, row);
        if let Actions::Continuous(numbers) = &trajectory.actions {
            let width = dataset.action_space.width();
            tally_finite(actions, numbers.iter().map(|&number| number.into()), width, episode, row);
        }
        tally_finite(rewards, trajectory.rewards.iter().copied(), 1, episode, row);
        row += trajectory.len();
    }
    for (name, tally) in ["observations", "actions", "rewards"].into_iter().zip(&tallies) {
        if let Some(text) = tally.describe(&format!("{name} hold NaN or infinity")) {
            report.error(Check::Finite, tally.count, text);
        }
    }
}

fn check_actions(dataset: &Dataset, strictness: Strictness, report: &mut Report) {
    let mut outside = Tally::default();
    let mut row = 0;
    for (episode, trajectory) in dataset.trajectories.iter().enumerate() {
        match (&trajectory.actions, &dataset.action_space) {
            (Actions::Continuous(actions), Space::Box { low, high, .. }) => {
                for (index, &action) in actions.iter().enumerate() {
                    let (step, column) = (index / low.len(), index % low.len());
                    let value = f64::from(action);
                    if value < low[column] - ACTION_TOLERANCE || value > high[column] + ACTION_TOLERANCE {
                        outside.add(|| Place { episode, step, row: row + step, column, value });
                    }
                }
            }
            (Actions::Discrete(actions), &Space::Discrete { n, start }) => {
                for (step, &action) in actions.iter().enumerate() {
                    let index = action.checked_sub(start).and_then(|index| usize::try_from(index).ok());
                    if index.is_none_or(|index| index >= n) {
                        outside.add(|| Place { episode, step, row: row + step, column: 0, value: action as f64 });
                    }
                }
            }
            _ => {} // refused by the sizes
        }
        row += trajectory.len();
    }
    if let Space::Discrete { n, start } = dataset.action_space {
        if let Some(text) = outside.describe(&format!("actions outside {n} choices starting at {start}")) {
            report.error(Check::ActionIndex, outside.count, text);
        }
    } else if let Some(text) = outside.describe("actions outside the bounds of the action space") {
        report.suspect(strictness, Check::ActionBounds, outside.count, text);
    }
}
