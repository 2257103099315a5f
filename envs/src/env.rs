//! The environment contract: Gymnasium's semantics without allocation in `step`.

use crate::{error::EnvError, space::Space};

/// The description of a task, independent of any running instance of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spec {
    /// Registered name with version, for example `Hopper-v5`.
    pub id: String,
    /// Observations: a `Box`, `observation_space.width()` numbers each.
    pub observation_space: Space,
    /// Actions: a `Box` (continuous) or `Discrete`.
    pub action_space: Space,
    /// Registered time limit in environment steps, if there is one.
    pub max_episode_steps: Option<usize>,
    /// Whether [`Env::state`] and [`Env::set_state`] store and restore an episode. Where not, a training that is resumed begins new
    /// episodes. Absent in what earlier versions wrote, where all could.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub restorable: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

impl Spec {
    /// [`EnvError::Shape`] unless a buffer is as long as an observation.
    pub(crate) fn check_observation(&self, observation: &[f64]) -> Result<(), EnvError> {
        EnvError::check_length(&self.id, "observation", observation.len(), self.observation_space.width())
    }

    /// [`EnvError::Action`] unless an action is of the action space's kind and width; `step` counts the episode's steps from 1.
    ///
    /// # Errors
    /// As it says.
    pub fn check_action(&self, action: Action<'_>, step: usize) -> Result<(), EnvError> {
        let wrong = |found| self.wrong_action(found, step);
        let (width, bad_component) = match (&self.action_space, action) {
            (Space::Discrete { n, start }, Action::Discrete(index)) => {
                let is_inside = index.checked_sub(*start).is_some_and(|choice| (0..*n as i64).contains(&choice));
                return if is_inside { Ok(()) } else { Err(wrong(index.to_string())) };
            }
            (Space::Box { .. }, Action::Discrete(index)) => return Err(wrong(format!("index {index}"))),
            (_, Action::F32(values)) => (values.len(), values.iter().position(|value| !value.is_finite())),
            (_, Action::F64(values)) => (values.len(), values.iter().position(|value| !value.is_finite())),
        };
        match bad_component {
            _ if self.action_space.is_discrete() || width != self.action_space.width() => {
                Err(wrong(format!("of {width} floats")))
            }
            None => Ok(()),
            Some(component) => Err(wrong(format!("with a NaN or infinity at component {component}"))),
        }
    }

    fn wrong_action(&self, found: String, step: usize) -> EnvError {
        let expected = match &self.action_space {
            Space::Discrete { n, start } => format!("an index from {start} to {}", start + *n as i64 - 1),
            Space::Box { low, .. } => format!("{} finite floats", low.len()),
        };
        EnvError::Action { env: self.id.clone(), step, found, expected }
    }
}

/// An action. The float width decides the arithmetic of a control cost, as it does in NumPy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// The index of a discrete action, counted from the space's `start`.
    Discrete(i64),
    /// A continuous action of `action_space.width()` components.
    F32(&'a [f32]),
    /// The same in double precision.
    F64(&'a [f64]),
}

impl Action<'_> {
    /// One component of a continuous action, in double precision. Tasks may rely on the kind of their actions.
    pub(crate) fn component(self, index: usize) -> f64 {
        match self {
            Self::F32(values) => f64::from(values[index]),
            Self::F64(values) => values[index],
            Self::Discrete(_) => unreachable!("actions are checked before the task sees them"),
        }
    }
}

/// How a step ended its episode, if it did. Neither flag hides the other; a learner treats both as terminated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepEnd {
    /// The task itself ended: the value of what follows is zero.
    pub terminated: bool,
    /// The episode was cut off (by a time limit): the value of what follows is unknown.
    pub truncated: bool,
}

impl StepEnd {
    /// Whether the caller must `reset` before the next step.
    pub fn is_end(self) -> bool {
        self.terminated || self.truncated
    }
}

/// The result of one step, besides the observation, which is written into the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Raw reward of this transition.
    pub reward: f64,
    /// Whether the episode ended, and how.
    pub end: StepEnd,
}

impl Step {
    /// What a step counts as in which the simulation diverged: nothing was earned, and the episode was cut off where it was before,
    /// for the task itself did not end.
    pub const DIVERGED: Step = Step { reward: 0.0, end: StepEnd { terminated: false, truncated: true } };
}

/// A task to act in, with the semantics of Gymnasium's `Env`.
///
/// `reset` starts an episode; after a step with either flag the caller resets. Stepping before the first reset or after an
/// end is [`EnvError::ResetNeeded`]. `step` allocates nothing, outside of Python; observations go into the caller's buffer.
pub trait Env: Send {
    /// The task's spaces and limits.
    fn spec(&self) -> &Spec;

    /// Starts an episode and writes its first observation.
    ///
    /// With `Some(seed)` the generator is replaced by one made from the seed; with `None` it continues (seeded by the operating
    /// system if there never was a seed).
    ///
    /// # Shapes
    /// - `observation`: `[observation_space.width()]`
    /// # Errors
    /// [`EnvError::Shape`] if the buffer has another length.
    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError>;

    /// Advances by one action and writes the next observation.
    ///
    /// # Errors
    /// [`EnvError::ResetNeeded`] before the first reset or after an end, [`EnvError::Action`] for an action that is not of
    /// the action space's kind and width, [`EnvError::Shape`] for a buffer of another length, and
    /// [`EnvError::Simulation`] when the simulator reports a blow-up: the episode is over and the observation as it was; those who
    /// play episodes go on with the next one, see [`Step::DIVERGED`].
    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvError>;

    /// Announces the action of the next step. Environments that take their steps together take all that were announced when the first
    /// of them is stepped; the others do nothing with it. A step must follow with the same action, or a reset.
    fn announce(&mut self, action: Action<'_>) {
        let _ = action;
    }

    /// More environments of this kind, `count` of them, that take their steps together with this one; `None` where every environment
    /// is made on its own. [`make_copies`](crate::make_copies) asks. What takes long to start may start now.
    ///
    /// # Errors
    /// Those of making it.
    fn siblings(&mut self, count: usize) -> Result<Option<Vec<Box<dyn Env>>>, EnvError> {
        let _ = count;
        Ok(None)
    }

    /// Visits the diagnostics of the last step by name (Gymnasium's `info`). A policy needs none of them.
    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        let _ = visit;
    }

    /// Appends the full simulation state to `state`; its layout is documented by each task (MuJoCo: `qpos`, then `qvel`).
    ///
    /// # Errors
    /// [`EnvError::Unsupported`] where a task has no such state.
    fn state(&self, state: &mut Vec<f64>) -> Result<(), EnvError> {
        let _ = state;
        Err(EnvError::Unsupported { env: self.spec().id.clone(), what: "reading its state" })
    }

    /// How many numbers at the front of the state are generalised positions (`qpos`), with the velocities (`qvel`) behind them;
    /// `None` where the state is something else, or there is none.
    fn qpos_width(&self) -> Option<usize> {
        None
    }

    /// Starts an episode in a given state (the layout of [`Env::state`]) and writes its observation. No random number is drawn.
    ///
    /// # Errors
    /// [`EnvError::Unsupported`] where a task has no such state, [`EnvError::Shape`] for a state of another length.
    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let _ = (state, observation);
        Err(EnvError::Unsupported { env: self.spec().id.clone(), what: "setting its state" })
    }
}
