//! Checks of the numbers of a dataset. The loaders run the same.

use crate::error::DatasetError;
use crate::report::{Check, Report, Strictness};
use crate::trajectory::{Actions, Dataset, Trajectory};
use aaren_envs::Space;
use std::path::Path;

/// How far an action may lie outside its bounds: rounding to single precision, with room.
pub const ACTION_TOLERANCE: f64 = 1e-5;

/// The first of some offending numbers, and how many there are.
#[derive(Default)]
struct Tally {
    count: usize,
    /// Where it is, and the number.
    first: Option<String>,
}

impl Tally {
    /// Adds a number at a step of an episode that begins at a row.
    fn add(&mut self, episode: usize, first_row: usize, step: usize, column: usize, value: f64) {
        self.count += 1;
        let place = || format!("row {}, column {column} (episode {episode}, step {step}): {value}", first_row + step);
        self.first.get_or_insert_with(place);
    }

    fn describe(&self, what: &str) -> Option<String> {
        self.first.as_ref().map(|first| format!("{what}: {} in total, first at {first}", self.count))
    }
}

/// Checks a dataset in memory: sizes, finite numbers, actions within the space, lengths within the time limit.
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
        check_observations(dataset, strictness, &mut report);
        check_actions(dataset, strictness, &mut report);
        if let Some((count, text)) = dataset.max_episode_steps.and_then(|limit| too_long(dataset, limit)) {
            report.suspect(strictness, Check::EpisodeLength, count, text);
        }
    }
    report
}

/// How many episodes are longer than a time limit, and what to say of them.
pub(crate) fn too_long(dataset: &Dataset, limit: usize) -> Option<(usize, String)> {
    let mut long = dataset.trajectories.iter().map(Trajectory::len).enumerate().filter(|&(_, steps)| steps > limit);
    let (first, steps) = long.next()?;
    let count = 1 + long.count();
    let text = format!(
        "{count} episodes of {} are longer than the time limit of {limit} steps, first episode {first} with {steps}: they may be several \
         in one; --max-episode-steps {limit} (the key data.max_episode_steps) cuts them there",
        dataset.id
    );
    Some((count, text))
}

/// The report of a loader: the checks of [`verify`], then the loader's own findings.
pub(crate) fn accept(path: &Path, dataset: &Dataset, strictness: Strictness, noticed: Report) -> Result<Report, DatasetError> {
    let mut report = verify(dataset, strictness);
    report.absorb(noticed);
    DatasetError::unless_ok(path, report)
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
            tally.add(episode, first_row, index / width.max(1), index % width.max(1), value);
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

fn check_observations(dataset: &Dataset, strictness: Strictness, report: &mut Report) {
    let Space::Box { low, high, .. } = &dataset.observation_space else { return }; // refused by `check_sizes`
    let (mut outside, mut row) = (Tally::default(), 0);
    for (episode, trajectory) in dataset.trajectories.iter().enumerate() {
        for (index, &value) in trajectory.observations.iter().enumerate() {
            let (step, column) = (index / low.len(), index % low.len());
            // Bounds are rounded to the type of the observations too.
            let room = |bound: f64| ACTION_TOLERANCE * bound.abs().max(1.0);
            let (low, high) = (low[column], high[column]);
            if value < low - room(low) || value > high + room(high) {
                outside.add(episode, row, step, column, value);
            }
        }
        row += trajectory.len();
    }
    if let Some(text) = outside.describe("observations outside the bounds of the observation space") {
        report.suspect(strictness, Check::ObservationBounds, outside.count, text);
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
                        outside.add(episode, row, step, column, value);
                    }
                }
            }
            (Actions::Discrete(actions), &Space::Discrete { n, start }) => {
                for (step, &action) in actions.iter().enumerate() {
                    let index = action.checked_sub(start).and_then(|index| usize::try_from(index).ok());
                    if index.is_none_or(|index| index >= n) {
                        outside.add(episode, row, step, 0, action as f64);
                    }
                }
            }
            _ => {} // refused by `check_sizes`
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted;

    #[test]
    fn observations_outside_of_their_bounds_are_said_on_either_side() {
        let config = serde_json::json!({ "env": "Pendulum-v1", "collector": "random", "episodes": 1, "seed": 3 });
        let mut dataset = scripted::collect(&serde_json::from_value(config).unwrap()).unwrap();
        let found = |dataset: &Dataset, strictness| {
            let report = verify(dataset, strictness);
            let is = |finding: &&crate::report::Finding| finding.check == Check::ObservationBounds;
            (report.warnings.iter().filter(is).map(|finding| finding.count).sum::<usize>(), report.is_ok())
        };
        assert_eq!(found(&dataset, Strictness::Strict), (0, true));
        dataset.trajectories[0].observations[3] = -1.001; // cosine of the second step
        dataset.trajectories[0].observations[8] = 8.1; // velocity of the third
        assert_eq!(found(&dataset, Strictness::Normal), (2, true));
        assert_eq!(found(&dataset, Strictness::Strict), (0, false));
        // What has no lower bound has an upper one all the same.
        dataset.observation_space =
            Space::Box { low: vec![f64::NEG_INFINITY; 3], high: vec![1.0, 1.0, 8.0], dtype: aaren_envs::Dtype::Float32 };
        assert_eq!(found(&dataset, Strictness::Normal), (1, true));
    }
}
