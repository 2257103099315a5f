//! What the robots have in common: the simulation's state is theirs, motors take -1 to 1, first states are noisy, 1,000 steps are an
//! episode. A robot says how it moves, is seen and is rewarded.

use super::Simulation;
use crate::{
    Dtype, EnvError, Space,
    env::Action,
    rng::Generator,
    task::{Outcome, Task},
};

/// How the velocities of a first state are drawn. Positions are always uniform in plus and minus the noise scale.
#[derive(Clone, Copy, Debug)]
pub(super) enum VelocityNoise {
    /// Uniform in plus and minus the noise scale.
    Uniform,
    /// A standard normal times the noise scale.
    Normal,
}

/// One robot; [`Task`] follows from it.
pub(super) trait Robot: Send {
    /// Components of an action.
    const MOTORS: usize;
    /// How first velocities are drawn.
    const VELOCITY_NOISE: VelocityNoise;

    fn simulation(&self) -> &Simulation;

    fn simulation_mut(&mut self) -> &mut Simulation;

    /// Numbers in an observation.
    fn observation_width(&self) -> usize;

    /// Scale of the noise on first states.
    fn reset_noise_scale(&self) -> f64;

    /// Forgets the last step, for the simulation is in another state now, and observes that.
    fn begin(&mut self, observation: &mut [f64]);

    /// As [`Task::step`].
    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError>;

    /// As [`Task::info`].
    fn info(&self, visit: &mut dyn FnMut(&'static str, f64));
}

impl<R: Robot> Task for R {
    fn observation_space(&self) -> Space {
        Space::uniform_box(self.observation_width(), f64::NEG_INFINITY, f64::INFINITY, Dtype::Float64)
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(R::MOTORS, -1.0, 1.0, Dtype::Float32)
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(1000)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        let noise = self.reset_noise_scale();
        self.simulation_mut().start(|qpos, qvel| {
            qpos.iter_mut().for_each(|value| *value += generator.uniform(-noise, noise));
            qvel.iter_mut().for_each(|value| {
                *value += match R::VELOCITY_NOISE {
                    VelocityNoise::Uniform => generator.uniform(-noise, noise),
                    VelocityNoise::Normal => noise * generator.normal(),
                }
            });
        })?;
        self.begin(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        Robot::step(self, action, observation)
    }

    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        Robot::info(self, visit);
    }

    fn state_width(&self) -> Option<usize> {
        Some(self.simulation().state_width())
    }

    fn qpos_width(&self) -> Option<usize> {
        Some(self.simulation().qpos().len())
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend_from_slice(self.simulation().qpos());
        state.extend_from_slice(self.simulation().qvel());
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        self.simulation_mut().set_state(state)?;
        self.begin(observation);
        Ok(())
    }
}
