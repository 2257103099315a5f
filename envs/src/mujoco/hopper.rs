//! `Hopper-v5`: one leg that hops forward.

use super::{Model, Robot, Simulation, VARIANT, VelocityNoise, control_cost};
use crate::{
    EnvError,
    env::Action,
    options::{OptionDefault, OptionInfo, Options},
    task::Outcome,
};

pub(super) static MODEL: Model = Model::new("Hopper-v5", include_str!("hopper.xml"), "hopper.xml");

pub(super) const FRAME_SKIP: usize = 4;

/// Options of the task, named as in Gymnasium.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        key: "forward_reward_weight",
        default: OptionDefault::Number(1.0, -1e6, 1e6),
        help: "reward for each m/s forward",
    },
    OptionInfo {
        key: "ctrl_cost_weight",
        default: OptionDefault::Number(1e-3, 0.0, 1e6),
        help: "cost of the sum of squared actions",
    },
    OptionInfo {
        key: "healthy_reward",
        default: OptionDefault::Number(1.0, -1e6, 1e6),
        help: "reward for a step that ends healthy",
    },
    OptionInfo {
        key: "terminate_when_unhealthy",
        default: OptionDefault::Bool(true),
        help: "whether an unhealthy state ends the episode",
    },
    OptionInfo {
        key: "healthy_state_range",
        default: OptionDefault::Interval(-100.0, 100.0),
        help: "open range of all angles (rad) and velocities of a healthy state",
    },
    OptionInfo {
        key: "healthy_z_range",
        default: OptionDefault::Interval(0.7, f64::INFINITY),
        help: "open range of the torso's height in m in a healthy state",
    },
    OptionInfo {
        key: "healthy_angle_range",
        default: OptionDefault::Interval(-0.2, 0.2),
        help: "open range of the torso's angle in rad in a healthy state",
    },
    OptionInfo {
        key: "reset_noise_scale",
        default: OptionDefault::Number(5e-3, 0.0, 1e3),
        help: "half width of the uniform noise on the first positions and velocities",
    },
    OptionInfo {
        key: "exclude_current_positions_from_observation",
        default: OptionDefault::Bool(true),
        help: "whether the x position is left out of the observation",
    },
    VARIANT,
];

/// The hopper of Gymnasium's `Hopper-v5`.
///
/// # Task
/// A torso, a thigh, a leg and a foot in a plane. Hop forward without falling.
/// # Actions
/// `Box(-1, 1, float32)` of width 3: torques of thigh, leg and foot joint, in units of 200 N m. The simulator clamps larger
/// ones; their cost is not clamped.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | height of the torso in m | unbounded |
/// | 1..5 | angles in rad: torso, thigh, leg, foot | unbounded |
/// | 5..7 | velocity of the torso in m/s: x, z | clipped to -10 to 10 |
/// | 7..11 | angular velocities in rad/s: torso, thigh, leg, foot | clipped to -10 to 10 |
///
/// With `exclude_current_positions_from_observation` false, the x position comes first (12 numbers).
/// # Rewards
/// `forward_reward_weight * x_velocity + healthy_reward - ctrl_cost_weight * sum(action^2)`, the second only where the step ends
/// healthy. With `variant` `d4rl` every step has it, as in the task that D4RL's data were made in.
/// # First state
/// The upright pose, each position and velocity with uniform noise.
/// # Episode end
/// Terminates when unhealthy: torso at or below 0.7 m, tilted by 0.2 rad or more, or any number at or beyond 100. Truncated after
/// 1000 steps.
/// # State
/// `qpos` (x, z, torso, thigh, leg, foot), then `qvel` in the same order.
/// # Version history
/// v5 as in Gymnasium 1.4 on MuJoCo 3.17.0: bit-equal.
pub(crate) struct Hopper {
    simulation: Simulation,
    settings: Settings,
    /// What the last step's reward was made of; absent after a reset.
    terms: Option<Terms>,
}

struct Settings {
    forward_reward_weight: f64,
    ctrl_cost_weight: f64,
    healthy_reward: f64,
    terminate_when_unhealthy: bool,
    healthy_state_range: (f64, f64),
    healthy_z_range: (f64, f64),
    healthy_angle_range: (f64, f64),
    reset_noise_scale: f64,
    exclude_current_positions: bool,
    /// The older task rewards the step that ends unhealthy like any other.
    is_d4rl: bool,
}

#[derive(Clone, Copy)]
struct Terms {
    x_velocity: f64,
    forward: f64,
    control: f64,
    survive: f64,
}

impl Hopper {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let settings = Settings {
            forward_reward_weight: options.number("forward_reward_weight")?,
            ctrl_cost_weight: options.number("ctrl_cost_weight")?,
            healthy_reward: options.number("healthy_reward")?,
            terminate_when_unhealthy: options.bool("terminate_when_unhealthy")?,
            healthy_state_range: options.interval("healthy_state_range")?,
            healthy_z_range: options.interval("healthy_z_range")?,
            healthy_angle_range: options.interval("healthy_angle_range")?,
            reset_noise_scale: options.number("reset_noise_scale")?,
            exclude_current_positions: options.bool("exclude_current_positions_from_observation")?,
            is_d4rl: options.choice("variant")? == "d4rl",
        };
        Ok(Self { simulation: Simulation::new(&MODEL, FRAME_SKIP)?, settings, terms: None })
    }

    fn observe(&self, observation: &mut [f64]) {
        self.simulation.observe(usize::from(self.settings.exclude_current_positions), 10.0, observation);
    }

    fn is_healthy(&self) -> bool {
        let inside = |value: f64, (low, high): (f64, f64)| low < value && value < high;
        let (qpos, qvel) = (self.simulation.qpos(), self.simulation.qvel());
        qpos[2..].iter().chain(qvel).all(|&value| inside(value, self.settings.healthy_state_range))
            && inside(qpos[1], self.settings.healthy_z_range)
            && inside(qpos[2], self.settings.healthy_angle_range)
    }
}

impl Robot for Hopper {
    const MOTORS: usize = 3;
    const VELOCITY_NOISE: VelocityNoise = VelocityNoise::Uniform;

    fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    fn simulation_mut(&mut self) -> &mut Simulation {
        &mut self.simulation
    }

    fn observation_width(&self) -> usize {
        self.simulation.state_width() - usize::from(self.settings.exclude_current_positions)
    }

    fn reset_noise_scale(&self) -> f64 {
        self.settings.reset_noise_scale
    }

    fn begin(&mut self, observation: &mut [f64]) {
        self.terms = None;
        self.observe(observation);
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let before = self.simulation.qpos()[0];
        self.simulation.act(action)?;
        let x_velocity = (self.simulation.qpos()[0] - before) / self.simulation.seconds();
        let healthy = self.is_healthy();
        let terms = Terms {
            x_velocity,
            forward: self.settings.forward_reward_weight * x_velocity,
            control: control_cost(action, self.settings.ctrl_cost_weight),
            survive: if healthy || self.settings.is_d4rl { self.settings.healthy_reward } else { 0.0 },
        };
        self.terms = Some(terms);
        self.observe(observation);
        Ok(Outcome {
            reward: (terms.forward + terms.survive) - terms.control,
            terminated: self.settings.terminate_when_unhealthy && !healthy,
        })
    }

    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        let qpos = self.simulation.qpos();
        visit("x_position", qpos[0]);
        visit("z_distance_from_origin", qpos[1] - self.simulation.qpos0()[1]);
        if let Some(terms) = self.terms {
            visit("x_velocity", terms.x_velocity);
            visit("reward_forward", terms.forward);
            visit("reward_ctrl", -terms.control);
            visit("reward_survive", terms.survive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mujoco::facts;

    #[test]
    fn the_compiled_model_is_gymnasiums() {
        facts::compare("gymnasium/hopper", &MODEL, FRAME_SKIP);
    }
}
