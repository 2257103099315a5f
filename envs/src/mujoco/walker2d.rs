//! `Walker2d-v5`: two legs that walk forward.

use mujoco_rs::prelude::MjtObjBase;

use super::model::Model;
use super::robot::{
    FORWARD_REWARD, HEALTHY_REWARD, HIDE_VELOCITY, HIDE_X, TERMINATE, VARIANT, VelocityNoise, ctrl_cost, uniform_noise,
};
use super::runner::{Health, Runner};
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};

const ID: &str = "Walker2d-v5";

pub(super) static MODEL: Model = Model::new(ID, 4, include_str!("walker2d.xml"), "walker2d_v5.xml");

/// The model of D4RL, whose right foot has less than half of the left one's friction.
static D4RL_MODEL: Model = Model::new(ID, 4, include_str!("walker2d.xml"), "walker2d.xml").adjusted(|mut model| {
    let foot = model.name_to_id(MjtObjBase::mjOBJ_GEOM, "foot_geom").expect("the model has a right foot");
    model.geom_friction_mut()[foot][0] = 0.9;
    Ok(model)
});

/// Options of the task, named as in Gymnasium.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    FORWARD_REWARD,
    ctrl_cost(1e-3),
    HEALTHY_REWARD,
    TERMINATE,
    OptionInfo::interval("healthy_z_range", 0.8, 2.0, "open range of the torso's height in m in a healthy state"),
    OptionInfo::interval("healthy_angle_range", -1.0, 1.0, "open range of the torso's angle in rad in a healthy state"),
    uniform_noise(5e-3),
    HIDE_X,
    HIDE_VELOCITY,
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
/// With `exclude_current_positions_from_observation` false, the x position comes first (18 numbers); with `hide_velocity`,
/// numbers 8..17 are absent (8 numbers).
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
pub(crate) fn walker2d(options: &Options) -> Result<Runner, EnvError> {
    let health = Health::from_options(options, None)?;
    let model = if health.is_d4rl { &D4RL_MODEL } else { &MODEL };
    Runner::new(model, options, VelocityNoise::Uniform, Some(health))
}

#[cfg(test)]
mod tests {
    use super::*;

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
