//! `CartPole-v1`: balance a pole, the classic with discrete actions.

use crate::{
    Dtype, EnvError, Space,
    env::Action,
    rng::Generator,
    task::{Outcome, Task},
};

/// Registered name.
pub(crate) const ID: &str = "CartPole-v1";

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
/// # Rewards
/// 1 for every step, the terminating one included.
/// # First state
/// All four numbers uniform in [-0.05, 0.05).
/// # Episode end
/// Terminates beyond 2.4 m or 12 degrees; truncated after 500 steps.
/// # State
/// The observation in double precision.
/// # Version history
/// v1 as in Gymnasium 1.4: bit-equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct CartPole {
    /// Position, velocity, angle, angular velocity.
    state: [f64; 4],
}

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = 1.0 + POLE_MASS;
/// Half of the pole's length in m.
const LENGTH: f64 = 0.5;
const FORCE: f64 = 10.0;
/// Seconds a step.
const DT: f64 = 0.02;
const MAX_POSITION: f64 = 2.4;
const MAX_ANGLE: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;

impl CartPole {
    fn observe(&self, observation: &mut [f64]) {
        observation.copy_from_slice(&self.state.map(|value| f64::from(value as f32)));
    }
}

impl Task for CartPole {
    fn observation_space(&self) -> Space {
        // Twice the limits, rounded to float32 as declared.
        let high = [2.0 * MAX_POSITION, f64::INFINITY, 2.0 * MAX_ANGLE, f64::INFINITY].map(|bound| f64::from(bound as f32));
        Space::Box { low: high.iter().map(|bound| -bound).collect(), high: high.into(), dtype: Dtype::Float32 }
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
