//! Several copies of a task, stepped together into batched buffers.

use serde_json::{Map, Value};

use crate::env::{Action, Env, Spec, StepEnd};
use crate::error::EnvError;
use crate::registry::{make, make_copies};

/// When a copy whose episode ended begins the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autoreset {
    /// In the following step: that copy's action is ignored, its observation is the start state, its reward 0, its flags false.
    /// That step is not a transition. Gymnasium's default.
    NextStep,
    /// In the same step: the observation is the next episode's first, the true last one is in
    /// [`VectorEnv::final_observation`].
    SameStep,
    /// Never: the caller resets, each copy with its own seed ([`VectorEnv::reset_row`]). Stepping an ended copy is an error.
    Disabled,
}

/// The actions of all copies, row-major. Rows that are not stepped must be there, but are not read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ActionBatch<'a> {
    /// `[copies]`, counted from the space's `start`.
    Discrete(&'a [i64]),
    /// `[copies, action width]`.
    F32(&'a [f32]),
    /// The same in double precision.
    F64(&'a [f64]),
}

impl<'a> ActionBatch<'a> {
    fn len(&self) -> usize {
        match self {
            Self::Discrete(indices) => indices.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// The action of one row; `width` numbers a row unless discrete.
    fn row(&self, row: usize, width: usize) -> Action<'a> {
        let range = row * width..(row + 1) * width;
        match self {
            Self::Discrete(indices) => Action::Discrete(indices[row]),
            Self::F32(values) => Action::F32(&values[range]),
            Self::F64(values) => Action::F64(&values[range]),
        }
    }
}

/// Copies of one task with batched results, which it owns; a step allocates nothing, outside of Python.
///
/// After an error the rows before the failing one have been stepped and the others have not; [`EnvError::Row`] says which one
/// failed. A reset of that row alone makes the batch usable again.
pub struct VectorEnv {
    envs: Vec<Box<dyn Env>>,
    autoreset: Autoreset,
    observation_width: usize,
    /// Numbers of a row of actions: 1 for an index.
    action_width: usize,
    /// `[copies, observation width]`
    observations: Vec<f64>,
    /// `[copies, observation width]`; meaningful where `has_final`.
    final_observations: Vec<f64>,
    has_final: Vec<bool>,
    /// Diagnostics of the step that ended an episode, a row each; meaningful where `has_final`.
    final_infos: Vec<Vec<(&'static str, f64)>>,
    rewards: Vec<f64>,
    ends: Vec<StepEnd>,
    /// Rows whose observation is the first of an episode.
    started: Vec<bool>,
    /// Rows whose episode ended and that next-step mode has to reset.
    over: Vec<bool>,
}

impl VectorEnv {
    /// Takes copies of one task, which must have equal specs.
    ///
    /// # Errors
    /// [`EnvError::Vector`] for no copy or for different specs.
    pub fn new(envs: Vec<Box<dyn Env>>, autoreset: Autoreset) -> Result<Self, EnvError> {
        let Some(first) = envs.first() else {
            return Err(EnvError::Vector { expected: "at least one copy", found: "none".into() });
        };
        let spec = first.spec();
        if let Some(row) = envs.iter().position(|env| env.spec() != spec) {
            let found = format!("{} in copy 0 and {} with another spec in copy {row}", spec.id, envs[row].spec().id);
            return Err(EnvError::Vector { expected: "copies with equal specs", found });
        }
        let (copies, observation_width) = (envs.len(), spec.observation_space.width());
        let action_width = if spec.action_space.is_discrete() { 1 } else { spec.action_space.width() };
        Ok(Self {
            autoreset,
            observation_width,
            action_width,
            observations: vec![0.0; copies * observation_width],
            final_observations: vec![0.0; copies * observation_width],
            has_final: vec![false; copies],
            final_infos: vec![Vec::new(); copies],
            rewards: vec![0.0; copies],
            ends: vec![StepEnd::default(); copies],
            started: vec![false; copies],
            over: vec![false; copies],
            envs,
        })
    }

    /// Makes `copies` of a registered task.
    ///
    /// # Errors
    /// Those of [`make`] and of [`VectorEnv::new`].
    pub fn make(id: &str, options: &Map<String, Value>, copies: usize, autoreset: Autoreset) -> Result<Self, EnvError> {
        Self::new(make_copies(&|| make(id, options), copies)?, autoreset)
    }

    /// The spec that all copies share.
    pub fn spec(&self) -> &Spec {
        self.envs[0].spec()
    }

    /// Number of copies.
    pub fn copies(&self) -> usize {
        self.envs.len()
    }

    /// Starts an episode in every copy. With a seed, copy `i` gets `seed + i`; without one, every generator continues.
    ///
    /// # Errors
    /// [`EnvError::Row`] with the first copy's error.
    pub fn reset(&mut self, seed: Option<u64>) -> Result<(), EnvError> {
        (0..self.copies()).try_for_each(|row| self.reset_row(row, seed.map(|seed| seed.wrapping_add(row as u64))))
    }

    /// Starts an episode in one copy: its observation is the first of the episode, its reward 0, its flags false.
    ///
    /// # Errors
    /// [`EnvError::Row`] with the copy's error.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn reset_row(&mut self, row: usize, seed: Option<u64>) -> Result<(), EnvError> {
        let observation = row_mut(&mut self.observations, row, self.observation_width);
        self.envs[row].reset(seed, observation).map_err(|source| EnvError::Row { row, source: Box::new(source) })?;
        self.rewards[row] = 0.0;
        self.ends[row] = StepEnd::default();
        (self.has_final[row], self.started[row], self.over[row]) = (false, true, false);
        Ok(())
    }

    /// Steps the copies that `active` marks, or all. A copy that is not stepped keeps its observation; its reward is 0 and its
    /// flags are false.
    ///
    /// # Shapes
    /// - `actions`: `[copies, action width]`, or `[copies]` indices
    /// - `active`: `[copies]`
    /// # Errors
    /// [`EnvError::Shape`] for a batch of another length; [`EnvError::Row`] with a copy's error, which is
    /// [`EnvError::ResetNeeded`] for an ended copy with [`Autoreset::Disabled`] and for a copy that was never reset.
    pub fn step(&mut self, actions: ActionBatch<'_>, active: Option<&[bool]>) -> Result<(), EnvError> {
        let width = if matches!(actions, ActionBatch::Discrete(_)) { 1 } else { self.action_width };
        EnvError::check_length(&self.spec().id, "action batch", actions.len(), self.copies() * width)?;
        if let Some(active) = active {
            EnvError::check_length(&self.spec().id, "active mask", active.len(), self.copies())?;
        }
        let is_active = |row: usize| active.is_none_or(|active| active[row]);
        (0..self.copies()).filter(|&row| is_active(row)).for_each(|row| self.announce_row(row, actions.row(row, width)));
        for row in 0..self.copies() {
            if is_active(row) {
                self.step_row(row, actions.row(row, width))?;
            } else {
                self.rewards[row] = 0.0;
                self.ends[row] = StepEnd::default();
                (self.has_final[row], self.started[row]) = (false, false);
            }
        }
        Ok(())
    }

    /// Announces the action that one copy is stepped with next, so that copies which take their steps together can; see
    /// [`Env::announce`].
    ///
    /// # Panics
    /// If there is no such row.
    pub fn announce_row(&mut self, row: usize, action: Action<'_>) {
        // A copy that is over is reset, whatever its action.
        if !(self.over[row] && self.autoreset == Autoreset::NextStep) {
            self.envs[row].announce(action);
        }
    }

    /// Steps one copy and leaves the others as they are, so that a caller can use its result before the next one fails.
    ///
    /// # Errors
    /// [`EnvError::Row`], as [`VectorEnv::step`].
    ///
    /// # Panics
    /// If there is no such row.
    pub fn step_row(&mut self, row: usize, action: Action<'_>) -> Result<(), EnvError> {
        self.advance(row, action).map_err(|source| match source {
            EnvError::Row { .. } => source,
            source => EnvError::Row { row, source: Box::new(source) },
        })
    }

    fn advance(&mut self, row: usize, action: Action<'_>) -> Result<(), EnvError> {
        if self.over[row] && self.autoreset == Autoreset::NextStep {
            return self.reset_row(row, None);
        }
        let observation = row_mut(&mut self.observations, row, self.observation_width);
        let step = self.envs[row].step(action, observation)?;
        let ended = step.end.is_end();
        let same_step = ended && self.autoreset == Autoreset::SameStep;
        if same_step {
            row_mut(&mut self.final_observations, row, self.observation_width).copy_from_slice(observation);
            let infos = &mut self.final_infos[row];
            infos.clear(); // and keeps its memory
            self.envs[row].info(&mut |name, value| infos.push((name, value)));
            self.envs[row].reset(None, observation)?;
        }
        self.rewards[row] = step.reward;
        self.ends[row] = step.end;
        (self.has_final[row], self.started[row], self.over[row]) = (same_step, same_step, ended && !same_step);
        Ok(())
    }

    /// `[copies, observation width]`: the current observations.
    pub fn observations(&self) -> &[f64] {
        &self.observations
    }

    /// `[observation width]`: the current observation of one copy.
    pub fn observation(&self, row: usize) -> &[f64] {
        &self.observations[row * self.observation_width..][..self.observation_width]
    }

    /// `[copies]`: the rewards of the last step.
    pub fn rewards(&self) -> &[f64] {
        &self.rewards
    }

    /// `[copies]`: how the last step ended an episode, if it did.
    pub fn ends(&self) -> &[StepEnd] {
        &self.ends
    }

    /// `[copies]`: whether the observation is the first of an episode. In next-step mode such a step is not a transition.
    pub fn started(&self) -> &[bool] {
        &self.started
    }

    /// The true last observation of an episode that ended in the last step of same-step mode.
    pub fn final_observation(&self, row: usize) -> Option<&[f64]> {
        self.has_final[row].then(|| &self.final_observations[row * self.observation_width..][..self.observation_width])
    }

    /// The diagnostics of the step that ended an episode in the last step of same-step mode; [`Env::info`] is of the next episode.
    pub fn final_info(&self, row: usize) -> Option<&[(&'static str, f64)]> {
        self.has_final[row].then(|| &self.final_infos[row][..])
    }

    /// One copy, to read its state or diagnostics.
    pub fn env(&self, row: usize) -> &dyn Env {
        &*self.envs[row]
    }
}

/// One row of a row-major batch.
fn row_mut(batch: &mut [f64], row: usize, width: usize) -> &mut [f64] {
    &mut batch[row * width..][..width]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// Three mazes that each need two steps: the middle one walks ahead of the others.
    fn mazes(autoreset: Autoreset) -> VectorEnv {
        let mut mazes =
            VectorEnv::make("TMaze-v0", &fixtures::options(serde_json::json!({"corridor": 1})), 3, autoreset).unwrap();
        mazes.reset(Some(7)).unwrap();
        mazes.step(ActionBatch::Discrete(&[1, 0, 1]), None).unwrap();
        mazes
    }

    const END: StepEnd = StepEnd { terminated: true, truncated: false };
    const ON: StepEnd = StepEnd { terminated: false, truncated: false };

    #[test]
    fn next_step_mode_ignores_the_action_and_resets() {
        let mut mazes = mazes(Autoreset::NextStep);
        mazes.step(ActionBatch::Discrete(&[1, 1, 1]), None).unwrap();
        assert_eq!(mazes.ends(), [ON, END, ON]);
        assert_eq!(mazes.observation(1), [0.0, 0.0, 0.0], "the true last observation");
        assert!(mazes.final_observation(1).is_none());
        // Index 9 is no action of the maze, but the reset does not look at it.
        mazes.step(ActionBatch::Discrete(&[1, 9, 1]), None).unwrap();
        assert_eq!(mazes.ends(), [ON; 3]);
        assert_eq!((mazes.rewards()[1], mazes.observation(1)[0].abs()), (0.0, 1.0));
        assert_eq!(mazes.started(), [false, true, false]);
    }

    #[test]
    fn same_step_mode_keeps_the_true_last_observation() {
        let mut mazes = mazes(Autoreset::SameStep);
        mazes.step(ActionBatch::Discrete(&[1, 2, 1]), None).unwrap();
        assert_eq!(mazes.ends(), [ON, END, ON]);
        assert_eq!(mazes.observation(1)[0].abs(), 1.0, "the next episode's first observation");
        assert_eq!(mazes.final_observation(1).unwrap(), [0.0, 0.0, 0.0]);
        assert!(mazes.final_observation(0).is_none() && mazes.final_observation(2).is_none());
        assert_eq!(mazes.started(), [false, true, false]);
        assert!(mazes.final_info(1).is_some());
        assert!(mazes.final_info(0).is_none());
        mazes.step(ActionBatch::Discrete(&[1, 0, 1]), None).unwrap();
        assert!(mazes.final_observation(1).is_none() && !mazes.started()[1]);
    }

    #[test]
    fn disabled_mode_leaves_resets_to_the_caller_and_steps_only_active_rows() {
        let mut mazes = mazes(Autoreset::Disabled);
        mazes.step(ActionBatch::Discrete(&[1, 1, 1]), None).unwrap();
        let error = mazes.step(ActionBatch::Discrete(&[1, 1, 1]), None).unwrap_err();
        assert!(
            matches!(&error, EnvError::Row { row: 1, source } if matches!(**source, EnvError::ResetNeeded { .. })),
            "{error}"
        );
        let before = mazes.observation(1).to_vec();
        mazes.step(ActionBatch::Discrete(&[0, 9, 1]), Some(&[true, false, true])).unwrap();
        assert_eq!(mazes.observation(1), before);
        assert_eq!((mazes.rewards()[1], mazes.ends()[1]), (0.0, ON));
        mazes.reset_row(1, Some(11)).unwrap();
        let mut alone = mazes_of_one();
        alone.reset(Some(11)).unwrap();
        assert_eq!(mazes.observation(1), alone.observation(0));
        assert_eq!(mazes.observation(0), [0.0, 0.0, 1.0], "the other rows go on");
    }

    fn mazes_of_one() -> VectorEnv {
        VectorEnv::make("TMaze-v0", &fixtures::options(serde_json::json!({"corridor": 1})), 1, Autoreset::Disabled).unwrap()
    }

    #[test]
    fn wrong_batches_are_refused_with_both_lengths() {
        let mut mazes = mazes(Autoreset::NextStep);
        let error = mazes.step(ActionBatch::Discrete(&[1, 1]), None).unwrap_err();
        assert_eq!(error.to_string(), "TMaze-v0: action batch has 2 numbers, expected 3");
        assert!(matches!(mazes.step(ActionBatch::Discrete(&[1; 3]), Some(&[true; 4])), Err(EnvError::Shape { found: 4, .. })));
        assert!(matches!(mazes.step(ActionBatch::F32(&[1.0; 3]), None), Err(EnvError::Row { row: 0, .. })));
        assert!(matches!(VectorEnv::new(vec![], Autoreset::NextStep), Err(EnvError::Vector { .. })));
        let two = ["TMaze-v0", "Pendulum-v1"].map(|id| make(id, &Map::new()).unwrap());
        assert!(matches!(VectorEnv::new(two.into(), Autoreset::NextStep), Err(EnvError::Vector { .. })));
    }

    #[test]
    fn a_batch_that_was_never_reset_says_so() {
        let error = mazes_of_one().step(ActionBatch::Discrete(&[0]), None).unwrap_err();
        assert!(matches!(error, EnvError::Row { row: 0, source } if matches!(*source, EnvError::ResetNeeded { .. })));
    }
}
