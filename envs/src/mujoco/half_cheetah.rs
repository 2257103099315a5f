//! `HalfCheetah-v5`: two legs that run forward.

use mujoco_rs::prelude::MjData;

use super::{Model, Robot, Simulation, VelocityNoise, control_cost};
use crate::{
    EnvError,
    env::Action,
    options::{OptionDefault, OptionInfo, Options},
    task::Outcome,
};

/// Scaling the mass after compilation gives the bits of the compiler's own `settotalmass`, which MuJoCo has deprecated.
pub(super) static MODEL: Model =
    Model::adjusted("HalfCheetah-v5", include_str!("half_cheetah.xml"), "half_cheetah.xml", |mut model| {
        model.set_totalmass(TOTAL_MASS);
        let mut data = MjData::try_new(Box::new(model))?;
        data.set_const();
        Ok(data.model().clone())
    });

pub(super) const FRAME_SKIP: usize = 5;

/// In kg.
const TOTAL_MASS: f64 = 14.0;

/// Options of the task, named as in Gymnasium.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        key: "forward_reward_weight",
        default: OptionDefault::Number(1.0, -1e6, 1e6),
        help: "reward for each m/s forward",
    },
    OptionInfo {
        key: "ctrl_cost_weight",
        default: OptionDefault::Number(0.1, 0.0, 1e6),
        help: "cost of the sum of squared actions",
    },
    OptionInfo {
        key: "reset_noise_scale",
        default: OptionDefault::Number(0.1, 0.0, 1e3),
        help: "half width of the uniform noise on the first positions, standard deviation of the normal noise on the velocities",
    },
    OptionInfo {
        key: "exclude_current_positions_from_observation",
        default: OptionDefault::Bool(true),
        help: "whether the x position is left out of the observation",
    },
];

/// The cheetah of Gymnasium's `HalfCheetah-v5`.
///
/// # Task
/// A torso with a head, a back and a front leg, each of thigh, shin and foot, in a plane. Run forward.
/// # Actions
/// `Box(-1, 1, float32)` of width 6: torques of back thigh, shin and foot, then the front ones, in units of 120, 90, 60, 120, 60 and
/// 30 N m. The simulator clamps larger ones; their cost is not clamped.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | height of the torso in m, 0 at the start | unbounded |
/// | 1..8 | angles in rad: torso, back thigh, shin, foot, front thigh, shin, foot | unbounded |
/// | 8..10 | velocity of the torso in m/s: x, z | unbounded |
/// | 10..17 | angular velocities in rad/s, in the order of the angles | unbounded |
///
/// With `exclude_current_positions_from_observation` false, the x position comes first (18 numbers).
/// # Rewards
/// `forward_reward_weight * x_velocity - ctrl_cost_weight * sum(action^2)`.
/// # First state
/// All zero, each position with uniform and each velocity with normal noise.
/// # Episode end
/// Never terminates. Truncated after 1000 steps.
/// # State
/// `qpos` (x, z, torso, back thigh, shin, foot, front thigh, shin, foot), then `qvel` in the same order.
/// # Version history
/// v5 as in Gymnasium 1.4 on MuJoCo 3.17.0: bit-equal. D4RL's older task has the same observations and rewards.
pub(crate) struct HalfCheetah {
    simulation: Simulation,
    settings: Settings,
    /// What the last step's reward was made of; absent after a reset.
    terms: Option<Terms>,
}

struct Settings {
    forward_reward_weight: f64,
    ctrl_cost_weight: f64,
    reset_noise_scale: f64,
    exclude_current_positions: bool,
}

#[derive(Clone, Copy)]
struct Terms {
    x_velocity: f64,
    forward: f64,
    control: f64,
}

impl HalfCheetah {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let settings = Settings {
            forward_reward_weight: options.number("forward_reward_weight")?,
            ctrl_cost_weight: options.number("ctrl_cost_weight")?,
            reset_noise_scale: options.number("reset_noise_scale")?,
            exclude_current_positions: options.bool("exclude_current_positions_from_observation")?,
        };
        Ok(Self { simulation: Simulation::new(&MODEL, FRAME_SKIP)?, settings, terms: None })
    }

    fn observe(&self, observation: &mut [f64]) {
        self.simulation.observe(usize::from(self.settings.exclude_current_positions), f64::INFINITY, observation);
    }
}

impl Robot for HalfCheetah {
    const MOTORS: usize = 6;
    const VELOCITY_NOISE: VelocityNoise = VelocityNoise::Normal;

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
        let terms = Terms {
            x_velocity,
            forward: self.settings.forward_reward_weight * x_velocity,
            control: control_cost(action, self.settings.ctrl_cost_weight),
        };
        self.terms = Some(terms);
        self.observe(observation);
        Ok(Outcome { reward: terms.forward - terms.control, terminated: false })
    }

    fn info(&self, visit: &mut dyn FnMut(&'static str, f64)) {
        visit("x_position", self.simulation.qpos()[0]);
        if let Some(terms) = self.terms {
            visit("x_velocity", terms.x_velocity);
            visit("reward_forward", terms.forward);
            visit("reward_ctrl", -terms.control);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mujoco::facts;

    #[test]
    fn the_compiled_model_is_gymnasiums() {
        facts::compare("gymnasium/halfcheetah", &MODEL, FRAME_SKIP);
    }
}
