//! `CartPole-v1`: balance a pole, the classic with discrete actions.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task};

/// Registered name.
pub(crate) const ID: &str = "CartPole-v1";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] =
    &[OptionInfo::flag("hide_velocity", false, "show the two positions only, so that balancing takes memory")];

/// The cart and pole of Gymnasium's `CartPole-v1`.
///
/// # Task
/// A pole stands on a cart that runs on a rail. Keep it upright by pushing the cart.
/// # Actions
/// `Discrete(2)`: 0 pushes left, 1 pushes right, with 10 N.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | position of the cart in m | -4.8 to 4.8 |
/// | 1 | its velocity in m/s | unbounded |
/// | 2 | angle of the pole in rad | -0.418 to 0.418 |
/// | 3 | its velocity in rad/s | unbounded |
///
/// With `hide_velocity` numbers 0 and 2 alone, in this order.
/// # Rewards
/// 1 for every step, the terminating one included.
/// # First state
/// All four numbers uniform in [-0.05, 0.05).
/// # Episode end
/// Terminates beyond 2.4 m or 12 degrees; truncated after 500 steps.
/// # State
/// The four numbers in double precision.
/// # Version history
/// v1 as in Gymnasium 1.4: bit-equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct CartPole {
    /// Position, velocity, angle, angular velocity.
    state: [f64; 4],
    hide_velocity: bool,
}

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = 1.0 + POLE_MASS;
/// Half of the pole's length in m.
const LENGTH: f64 = 0.5;
const FORCE: f64 = 10.0;
/// Seconds a step.
pub(crate) const DT: f64 = 0.02;
pub(crate) const MAX_POSITION: f64 = 2.4;
const MAX_ANGLE: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;

impl CartPole {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        Ok(Self { state: [0.0; 4], hide_velocity: options.bool("hide_velocity")? })
    }

    /// Of the four numbers, how many from one shown to the next.
    fn stride(&self) -> usize {
        if self.hide_velocity { 2 } else { 1 }
    }

    fn observe(&self, observation: &mut [f64]) {
        let shown = self.state.iter().step_by(self.stride());
        observation.iter_mut().zip(shown).for_each(|(shown, &value)| *shown = f64::from(value as f32));
    }
}

impl Task for CartPole {
    fn observation_space(&self) -> Space {
        // Twice the limits, rounded to float32 as declared.
        let high = [2.0 * MAX_POSITION, f64::INFINITY, 2.0 * MAX_ANGLE, f64::INFINITY].map(|bound| f64::from(bound as f32));
        let high: Vec<f64> = high.into_iter().step_by(self.stride()).collect();
        Space::Box { low: high.iter().map(|bound| -bound).collect(), high, dtype: Dtype::Float32 }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 2, start: 0 }
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(500)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.state = std::array::from_fn(|_| generator.uniform(-0.05, 0.05));
        self.observe(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let force = if action == Action::Discrete(1) { FORCE } else { -FORCE };
        let [position, velocity, angle, angular] = self.state;
        let (sin, cos) = (angle.sin(), angle.cos());
        let pole = POLE_MASS * LENGTH;
        let push = (force + pole * (angular * angular) * sin) / TOTAL_MASS;
        let angular_acceleration = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS));
        let acceleration = push - pole * angular_acceleration * cos / TOTAL_MASS;
        self.state =
            [position + DT * velocity, velocity + DT * acceleration, angle + DT * angular, angular + DT * angular_acceleration];
        self.observe(observation);
        let terminated = self.state[0].abs() > MAX_POSITION || self.state[2].abs() > MAX_ANGLE;
        Ok(Outcome { reward: 1.0, terminated })
    }

    fn state_width(&self) -> Option<usize> {
        Some(4)
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend(self.state);
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        self.state.copy_from_slice(state);
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
    fn hidden_velocities_leave_the_task_as_it_is() {
        let hidden = Map::from_iter([("hide_velocity".to_string(), true.into())]);
        let (mut whole, mut positions) = (make(ID, &Map::new()).unwrap(), make(ID, &hidden).unwrap());
        assert_eq!(positions.spec().observation_space.width(), 2);
        let (mut all, mut shown) = ([0.0; 4], [0.0; 2]);
        whole.reset(Some(5), &mut all).unwrap();
        positions.reset(Some(5), &mut shown).unwrap();
        for step in 0.. {
            assert_eq!(shown, [all[0], all[2]], "step {step}");
            let action = Action::Discrete(step / 2 % 2);
            let (left, right) = (whole.step(action, &mut all).unwrap(), positions.step(action, &mut shown).unwrap());
            assert_eq!(left, right);
            if left.end.is_end() {
                break;
            }
        }
    }
}
