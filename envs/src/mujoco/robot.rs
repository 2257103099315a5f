//! What the robots have in common: their state is the simulation's, motors take -1 to 1, first states are drawn, an episode has
//! a limit. A robot defines its observation and its reward.

use super::simulation::Simulation;
use crate::env::Action;
use crate::error::EnvError;
use crate::options::OptionInfo;
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task};

// Options that several robots have.

pub(super) const FORWARD_REWARD: OptionInfo =
    OptionInfo::number("forward_reward_weight", 1.0, -1e6, 1e6, "reward for each m/s forward");
pub(super) const HEALTHY_REWARD: OptionInfo =
    OptionInfo::number("healthy_reward", 1.0, -1e6, 1e6, "reward for a step that ends healthy");
pub(super) const TERMINATE: OptionInfo =
    OptionInfo::flag("terminate_when_unhealthy", true, "whether an unhealthy state ends the episode");
pub(super) const HIDE_X: OptionInfo =
    OptionInfo::flag("exclude_current_positions_from_observation", true, "whether the x position is left out of the observation");
/// Not among the options of Gymnasium.
pub(super) const HIDE_VELOCITY: OptionInfo =
    OptionInfo::flag("hide_velocity", false, "leave the velocities out of the observation, so that moving takes memory");
/// Which rewards, observations and model: Gymnasium's v5, or those that D4RL's data were made with.
pub(super) const VARIANT: OptionInfo = OptionInfo::choice(
    "variant",
    &["gymnasium", "d4rl"],
    "gymnasium: as in v5; d4rl: as in the older task that D4RL's data come from",
);

pub(super) const fn ctrl_cost(weight: f64) -> OptionInfo {
    OptionInfo::number("ctrl_cost_weight", weight, 0.0, 1e6, "cost of the sum of squared actions")
}

pub(super) const fn uniform_noise(scale: f64) -> OptionInfo {
    let help = "half width of the uniform noise on the first positions and velocities";
    OptionInfo::number("reset_noise_scale", scale, 0.0, 1e3, help)
}

pub(super) const fn normal_noise(scale: f64) -> OptionInfo {
    let help = "half width of the uniform noise on the first positions, standard deviation of the normal noise on the velocities";
    OptionInfo::number("reset_noise_scale", scale, 0.0, 1e3, help)
}

/// How the velocities of a first state are drawn. Positions are always uniform in plus and minus the noise scale.
#[derive(Clone, Copy, Debug)]
pub(super) enum VelocityNoise {
    /// Uniform in plus and minus the noise scale.
    Uniform,
    /// A standard normal times the noise scale.
    Normal,
}

/// Starts from the initial pose at rest with noise of a scale on it.
pub(super) fn start_noisily(
    simulation: &mut Simulation,
    (noise, velocity_noise): (f64, VelocityNoise),
    generator: &mut Generator,
) {
    simulation.start(|qpos, qvel| {
        qpos.iter_mut().for_each(|value| *value += generator.uniform(-noise, noise));
        qvel.iter_mut().for_each(|value| {
            *value += match velocity_noise {
                VelocityNoise::Uniform => generator.uniform(-noise, noise),
                VelocityNoise::Normal => noise * generator.normal(),
            }
        });
    });
}

/// One robot; [`Task`] follows from it.
pub(super) trait Robot: Send {
    fn simulation(&self) -> &Simulation;

    fn simulation_mut(&mut self) -> &mut Simulation;

    /// Numbers in an observation.
    fn observation_width(&self) -> usize;

    /// The time limit in steps.
    fn max_episode_steps(&self) -> usize {
        1000
    }

    /// Draws a first state; for most robots by [`start_noisily`].
    fn start(&mut self, generator: &mut Generator);

    /// Observes a state that no step led to: forgets the last step.
    fn begin(&mut self, observation: &mut [f64]);

    /// As [`Task::step`].
    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError>;

    /// As [`Task::info`].
    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        let _ = visit;
    }
}

impl<R: Robot> Task for R {
    fn observation_space(&self) -> Space {
        Space::uniform_box(self.observation_width(), f64::NEG_INFINITY, f64::INFINITY, Dtype::Float64)
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(self.simulation().motors(), -1.0, 1.0, Dtype::Float32)
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(Robot::max_episode_steps(self))
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.start(generator);
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
        self.simulation_mut().set_state(state);
        self.begin(observation);
        Ok(())
    }
}
