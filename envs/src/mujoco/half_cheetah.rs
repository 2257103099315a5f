//! `HalfCheetah-v5`: two legs that run forward.

use mujoco_rs::prelude::MjData;

use super::model::Model;
use super::robot::{FORWARD_REWARD, HIDE_VELOCITY, HIDE_X, VelocityNoise, ctrl_cost, normal_noise};
use super::runner::Runner;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};

/// Scaling the mass after compilation gives the bits of the compiler's own `settotalmass`, which MuJoCo has deprecated.
pub(super) static MODEL: Model =
    Model::new("HalfCheetah-v5", 5, include_str!("half_cheetah.xml"), "half_cheetah.xml").adjusted(|mut model| {
        model.set_totalmass(TOTAL_MASS);
        let mut data = MjData::try_new(Box::new(model))?;
        data.set_const();
        Ok(data.model().clone())
    });

/// In kg.
const TOTAL_MASS: f64 = 14.0;

/// Options of the task, named as in Gymnasium.
pub(crate) const OPTIONS: &[OptionInfo] = &[FORWARD_REWARD, ctrl_cost(0.1), normal_noise(0.1), HIDE_X, HIDE_VELOCITY];

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
/// With `exclude_current_positions_from_observation` false, the x position comes first (18 numbers); with `hide_velocity`,
/// numbers 8..17 are absent (8 numbers).
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
pub(crate) fn half_cheetah(options: &Options) -> Result<Runner, EnvError> {
    Runner::new(&MODEL, options, VelocityNoise::Normal, None)
}
