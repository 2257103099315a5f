//! The dynamics of an environment, of which [`TimeLimit`](crate::TimeLimit) makes an [`Env`](crate::Env).

use crate::{env::Action, error::EnvError, rng::Generator, space::Space};

/// The result of one step of a task, before any time limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Raw reward of this transition.
    pub reward: f64,
    /// The task itself ended.
    pub terminated: bool,
}

/// A number of a state as an integer from `low` to `high`; `None` if it is none.
pub(crate) fn whole(number: f64, low: u64, high: u64) -> Option<u64> {
    (number.fract() == 0.0 && (low as f64..=high as f64).contains(&number)).then_some(number as u64)
}

/// The dynamics of one environment, and nothing else.
///
/// Generator, order of calls, time limit and the checks of buffers, actions and states live once, in
/// [`TimeLimit`](crate::TimeLimit). So an implementation may rely on: buffers of the right length, finite actions of the right
/// kind and width (a discrete one inside its space), finite states of the right width, and no `step` without an episode.
pub trait Task: Send {
    /// The observations: a box.
    fn observation_space(&self) -> Space;

    /// The actions.
    fn action_space(&self) -> Space;

    /// The limit under which the task is registered, in environment steps.
    fn max_episode_steps(&self) -> Option<usize>;

    /// Draws a start state and writes its observation.
    ///
    /// # Errors
    /// [`EnvError::Simulation`] if the simulator refuses the state.
    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError>;

    /// Advances by one action and writes the next observation. Allocates nothing.
    ///
    /// # Errors
    /// [`EnvError::Simulation`] when the simulator reports a blow-up.
    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError>;

    /// Visits the diagnostics of the last step by name.
    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        let _ = visit;
    }

    /// How many numbers [`Task::state`] appends; `None` where the state cannot be read or set.
    fn state_width(&self) -> Option<usize> {
        None
    }

    /// How many numbers at the front of the state are generalised positions (`qpos`), with the velocities (`qvel`) behind them;
    /// `None` where the state is something else.
    fn qpos_width(&self) -> Option<usize> {
        None
    }

    /// Appends the full simulation state.
    fn state(&self, state: &mut Vec<f64>) {
        let _ = state;
    }

    /// Sets the state and writes its observation. No random number is drawn.
    ///
    /// # Errors
    /// [`EnvError::State`] for a state that this task cannot be in, [`EnvError::Simulation`] if the simulator refuses it.
    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let _ = (state, observation);
        Ok(())
    }
}
