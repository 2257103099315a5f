//! `Walker2d-v5`: two legs that walk forward.

use mujoco_rs::prelude::MjtObjBase;

use super::{Model, Robot, Simulation, VARIANT, VelocityNoise, control_cost};
use crate::{
    EnvError,
    env::Action,
    options::{OptionDefault, OptionInfo, Options},
    task::Outcome,
};

pub(super) static MODEL: Model = Model::new(ID, include_str!("walker2d.xml"), "walker2d_v5.xml");

/// The model of D4RL, whose right foot has less than half of the left one's friction.
static D4RL_MODEL: Model = Model::adjusted(ID, include_str!("walker2d.xml"), "walker2d.xml", |mut model| {
    let foot = model.name_to_id(MjtObjBase::mjOBJ_GEOM, "foot_geom").expect("the model has a right foot");
    model.geom_friction_mut()[foot][0] = 0.9;
    Ok(model)
});

const ID: &str = "Walker2d-v5";

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
        key: "healthy_z_range",
        default: OptionDefault::Interval(0.8, 2.0),
        help: "open range of the torso's height in m in a healthy state",
    },
    OptionInfo {
        key: "healthy_angle_range",
        default: OptionDefault::Interval(-1.0, 1.0),
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

/// The walker of Gymnasium's `Walker2d-v5`.
///
/// # Task
/// A torso on two legs, each of thigh, leg and foot, in a plane. Walk forward without falling.
/// # Actions
/// `Box(-1, 1, float32)` of width 6: torques of right thigh, leg and foot joint, then the left ones, in units of 100 N m. The
/// simulator clamps larger ones; their cost is not clamped.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | height of the torso in m | unbounded |
/// | 1..8 | angles in rad: torso, right thigh, leg, foot, left thigh, leg, foot | unbounded |
/// | 8..10 | velocity of the torso in m/s: x, z | clipped to -10 to 10 |
/// | 10..17 | angular velocities in rad/s, in the order of the angles | clipped to -10 to 10 |
///
/// With `exclude_current_positions_from_observation` false, the x position comes first (18 numbers).
/// # Rewards
/// `forward_reward_weight * x_velocity + healthy_reward - ctrl_cost_weight * sum(action^2)`, the second only where the step ends
/// healthy.
/// # First state
/// The upright pose, each position and velocity with uniform noise.
/// # Episode end
/// Terminates when unhealthy: torso outside of 0.8 m to 2 m, or tilted by 1 rad or more. Truncated after 1000 steps.
/// # State
/// `qpos` (x, z, torso, right thigh, leg, foot, left thigh, leg, foot), then `qvel` in the same order.
/// # Version history
/// v5 as in Gymnasium 1.4 on MuJoCo 3.17.0: bit-equal. With `variant` `d4rl`, as in the older task that D4RL's data were made in:
/// the right foot's friction is 0.9 instead of 1.9, and every step has the healthy reward.
pub(crate) struct Walker2d {
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

impl Walker2d {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let settings = Settings {
            forward_reward_weight: options.number("forward_reward_weight")?,
            ctrl_cost_weight: options.number("ctrl_cost_weight")?,
            healthy_reward: options.number("healthy_reward")?,
            terminate_when_unhealthy: options.bool("terminate_when_unhealthy")?,
            healthy_z_range: options.interval("healthy_z_range")?,
            healthy_angle_range: options.interval("healthy_angle_range")?,
            reset_noise_scale: options.number("reset_noise_scale")?,
            exclude_current_positions: options.bool("exclude_current_positions_from_observation")?,
            is_d4rl: options.choice("variant")? == "d4rl",
        };
        let model = if settings.is_d4rl { &D4RL_MODEL } else { &MODEL };
        Ok(Self { simulation: Simulation::new(model, FRAME_SKIP)?, settings, terms: None })
    }

    fn observe(&self, observation: &mut [f64]) {
        self.simulation.observe(usize::from(self.settings.exclude_current_positions), 10.0, observation);
    }

    fn is_healthy(&self) -> bool {
        let inside = |value: f64, (low, high): (f64, f64)| low < value && value < high;
        let qpos = self.simulation.qpos();
        inside(qpos[1], self.settings.healthy_z_range) && inside(qpos[2], self.settings.healthy_angle_range)
    }
}

impl Robot for Walker2d {
    const MOTORS: usize = 6;
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
        facts::compare("gymnasium/walker2d", &MODEL, FRAME_SKIP);
    }

    #[test]
    fn d4rls_right_foot_is_more_slippery_and_nothing_else_differs() {
        let (ours, theirs) = (MODEL.get().unwrap(), D4RL_MODEL.get().unwrap());
        let differ: Vec<usize> =
            (0..ours.geom_friction().len()).filter(|&i| ours.geom_friction()[i] != theirs.geom_friction()[i]).collect();
        let foot = ours.name_to_id(MjtObjBase::mjOBJ_GEOM, "foot_geom").unwrap();
        assert_eq!(differ, [foot]);
        assert_eq!((ours.geom_friction()[foot], theirs.geom_friction()[foot]), ([1.9, 0.1, 0.1], [0.9, 0.1, 0.1]));
        assert_eq!(ours.body_mass(), theirs.body_mass());
    }
}
