//! `Pendulum-v1`: swing a pendulum up.

use crate::{
    Dtype, EnvError, Space,
    env::Action,
    options::{OptionDefault, OptionInfo, Options},
    rng::Generator,
    task::{Outcome, Task},
};
use std::f64::consts::PI;

/// Registered name.
pub(crate) const ID: &str = "Pendulum-v1";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo { key: "g", default: OptionDefault::Number(10.0, 0.0, 1000.0), help: "acceleration of gravity in m/s^2" },
    OptionInfo {
        key: "hide_velocity",
        default: OptionDefault::Bool(false),
        help: "show the angle only, so that swinging up takes memory",
    },
];

/// The pendulum of Gymnasium's `Pendulum-v1`.
///
/// # Task
/// A rod of 1 m and 1 kg hangs on a motor too weak to lift it at once. Swing it up and hold it there.
/// # Actions
/// `Box(-2, 2, float32)` of width 1: torque in N m. Larger ones are clipped.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | cosine of the angle, 1 upright | -1 to 1 |
/// | 1 | sine of the angle | -1 to 1 |
/// | 2 | angular velocity in rad/s | -8 to 8 |
///
/// With `hide_velocity` the first two alone.
/// # Rewards
/// `-(angle^2 + 0.1 velocity^2 + 0.001 torque^2)` of the state before the step, the angle taken between -pi and pi.
/// # First state
/// Angle uniform in [-pi, pi), velocity uniform in [-1, 1).
/// # Episode end
/// Never terminates; truncated after 200 steps.
/// # State
/// Angle (never wrapped) and angular velocity.
/// # Version history
/// v1 as in Gymnasium 1.4: states and observations bit-equal. NumPy squares through `pow`, we multiply: an occasional
/// reward differs by less than 1e-11.
#[derive(Clone, Debug)]
pub(crate) struct Pendulum {
    gravity: f64,
    hide_velocity: bool,
    angle: f64,
    velocity: f64,
}

const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f64 = 2.0;
/// Seconds a step.
const DT: f64 = 0.05;

impl Pendulum {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let (gravity, hide_velocity) = (options.number("g")?, options.bool("hide_velocity")?);
        Ok(Self { gravity, hide_velocity, angle: 0.0, velocity: 0.0 })
    }

    fn observe(&self, observation: &mut [f64]) {
        // Gymnasium declares and rounds to float32.
        let values = [self.angle.cos(), self.angle.sin(), self.velocity].map(|value| f64::from(value as f32));
        let shown = observation.len();
        observation.copy_from_slice(&values[..shown]);
    }
}

impl Task for Pendulum {
    fn observation_space(&self) -> Space {
        let mut high = vec![1.0, 1.0, MAX_SPEED];
        high.truncate(if self.hide_velocity { 2 } else { 3 });
        Space::Box { low: high.iter().map(|bound| -bound).collect(), high, dtype: Dtype::Float32 }
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(1, -MAX_TORQUE, MAX_TORQUE, Dtype::Float32)
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(200)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.angle = generator.uniform(-PI, PI);
        self.velocity = generator.uniform(-1.0, 1.0);
        self.observe(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        // A float32 action stays float32 until it meets a double, as in NumPy.
        let (torque_cost, push) = match action {
            Action::F32(values) => {
                let torque = values[0].clamp(-MAX_TORQUE as f32, MAX_TORQUE as f32);
                (f64::from(0.001 * (torque * torque)), f64::from(3.0 * torque))
            }
            Action::F64(values) => {
                let torque = values[0].clamp(-MAX_TORQUE, MAX_TORQUE);
                (0.001 * (torque * torque), 3.0 * torque)
            }
            Action::Discrete(_) => unreachable!("actions are checked before the task sees them"),
        };
        let angle = (self.angle + PI).rem_euclid(2.0 * PI) - PI;
        let cost = angle * angle + 0.1 * (self.velocity * self.velocity) + torque_cost;
        let velocity = self.velocity + (3.0 * self.gravity / 2.0 * self.angle.sin() + push) * DT;
        self.velocity = velocity.clamp(-MAX_SPEED, MAX_SPEED);
        self.angle += self.velocity * DT;
        self.observe(observation);
        Ok(Outcome { reward: -cost, terminated: false })
    }

    fn state_width(&self) -> Option<usize> {
        Some(2)
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend([self.angle, self.velocity]);
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        (self.angle, self.velocity) = (state[0], state[1]);
        self.observe(observation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make;
    use serde_json::Map;

    #[test]
    fn a_hidden_velocity_leaves_the_task_as_it_is() {
        let hidden = Map::from_iter([("hide_velocity".to_string(), true.into())]);
        let (mut whole, mut angle) = (make(ID, &Map::new()).unwrap(), make(ID, &hidden).unwrap());
        assert_eq!(angle.spec().observation_space.width(), 2);
        let (mut all, mut shown) = ([0.0; 3], [0.0; 2]);
        whole.reset(Some(5), &mut all).unwrap();
        angle.reset(Some(5), &mut shown).unwrap();
        for step in 0..200 {
            assert_eq!(shown, all[..2], "step {step}");
            let action = [1.5 - 0.02 * step as f32];
            let left = whole.step(Action::F32(&action), &mut all).unwrap();
            assert_eq!(left, angle.step(Action::F32(&action), &mut shown).unwrap());
        }
    }
}
