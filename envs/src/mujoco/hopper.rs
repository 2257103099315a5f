//! `Hopper-v5`: one leg that hops forward.

use super::model::Model;
use super::robot::{
    FORWARD_REWARD, HEALTHY_REWARD, HIDE_VELOCITY, HIDE_X, TERMINATE, VARIANT, VelocityNoise, ctrl_cost, uniform_noise,
};
use super::runner::{Health, Runner};
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};

pub(super) static MODEL: Model = Model::new("Hopper-v5", 4, include_str!("hopper.xml"), "hopper.xml");

/// Options of the task, named as in Gymnasium.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    FORWARD_REWARD,
    ctrl_cost(1e-3),
    HEALTHY_REWARD,
    TERMINATE,
    OptionInfo::interval(
        "healthy_state_range",
        -100.0,
        100.0,
        "open range of all angles (rad) and velocities of a healthy state",
    ),
    OptionInfo::interval("healthy_z_range", 0.7, f64::INFINITY, "open range of the torso's height in m in a healthy state"),
    OptionInfo::interval("healthy_angle_range", -0.2, 0.2, "open range of the torso's angle in rad in a healthy state"),
    uniform_noise(5e-3),
    HIDE_X,
    HIDE_VELOCITY,
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
/// With `exclude_current_positions_from_observation` false, the x position comes first (12 numbers); with `hide_velocity`,
/// numbers 5..11 are absent (5 numbers).
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
pub(crate) fn hopper(options: &Options) -> Result<Runner, EnvError> {
    let health = Health::from_options(options, Some(options.interval("healthy_state_range")?))?;
    Runner::new(&MODEL, options, VelocityNoise::Uniform, Some(health))
}
