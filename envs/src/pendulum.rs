//! `Pendulum-v1`: swing a pendulum up.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task, whole};
use std::f64::consts::PI;

/// Registered name.
pub(crate) const ID: &str = "Pendulum-v1";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::number("g", 10.0, 0.0, 1000.0, "acceleration of gravity in m/s^2"),
    OptionInfo::flag("hide_velocity", false, "show the angle only, so that swinging up takes memory"),
    OptionInfo::number(
        "noise",
        0.0,
        0.0,
        100.0,
        "standard deviation of Gaussian noise on every number shown (POPGym with hide_velocity: 0.1, 0.2, 0.3)",
    ),
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
/// With `hide_velocity` the first two alone. With `noise` each number is that of the true state with Gaussian noise of that
/// standard deviation, clipped to the range; rewards and dynamics are those of the true state. Both together show what POPGym's
/// noisy position-only pendulum shows (Morad et al. 2023, arXiv:2303.01859; its `easy`, `medium` and `hard` are 0.1, 0.2 and 0.3),
/// which besides scales a step's reward to `(reward / 8.1368022 + 1) / 200`.
/// # Rewards
/// `-(angle^2 + 0.1 velocity^2 + 0.001 torque^2)` of the state before the step, the angle taken between -pi and pi.
/// # First state
/// Angle uniform in [-pi, pi), velocity uniform in [-1, 1).
/// # Episode end
/// Never terminates; truncated after 200 steps.
/// # State
/// Angle (never wrapped) and angular velocity; with `noise` also the seed of the episode's noise, and the steps so far.
/// # Version history
/// v1 as in Gymnasium 1.4: states and observations bit-equal. NumPy squares through `pow`, we multiply: an occasional
/// reward differs by less than 1e-11.
#[derive(Clone, Debug)]
pub(crate) struct Pendulum {
    gravity: f64,
    hide_velocity: bool,
    /// Standard deviation.
    noise: f64,
    angle: f64,
    velocity: f64,
    /// The noise of a step is a function of the seed and the steps, so that a state determines the future. The seed has
    /// [`NOISE_SEED_BITS`], which a double holds exactly.
    noise_seed: u64,
    steps: u64,
}

const NOISE_SEED_BITS: u32 = 48;

const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f64 = 2.0;
/// Seconds a step.
pub(crate) const DT: f64 = 0.05;

impl Pendulum {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let (gravity, hide_velocity, noise) = (options.number("g")?, options.bool("hide_velocity")?, options.number("noise")?);
        Ok(Self { gravity, hide_velocity, noise, angle: 0.0, velocity: 0.0, noise_seed: 0, steps: 0 })
    }

    fn observe(&self, observation: &mut [f64]) {
        // Gymnasium declares and rounds to float32.
        let values = [self.angle.cos(), self.angle.sin(), self.velocity].map(|value| f64::from(value as f32));
        let shown = observation.len();
        observation.copy_from_slice(&values[..shown]);
        if self.noise > 0.0 {
            let mut generator = Generator::from_seed(self.noise_seed.wrapping_add(self.steps << NOISE_SEED_BITS));
            for (shown, bound) in observation.iter_mut().zip([1.0, 1.0, MAX_SPEED]) {
                let noise = f64::from((self.noise * generator.normal()) as f32);
                *shown = f64::from((*shown + noise).clamp(-bound, bound) as f32);
            }
        }
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
        if self.noise > 0.0 {
            // Drawn last and only where it is used: the start states stay Gymnasium's.
            self.noise_seed = generator.next_u64() >> (64 - NOISE_SEED_BITS);
        }
        self.steps = 0;
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
        self.steps += 1;
        self.observe(observation);
        Ok(Outcome { reward: -cost, terminated: false })
    }

    fn state_width(&self) -> Option<usize> {
        Some(if self.noise > 0.0 { 4 } else { 2 })
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend([self.angle, self.velocity]);
        if self.noise > 0.0 {
            state.extend([self.noise_seed as f64, self.steps as f64]);
        }
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        if let &[_, _, seed, steps] = state {
            let whole = whole(seed, 0, (1 << NOISE_SEED_BITS) - 1).zip(whole(steps, 0, u64::from(u32::MAX) - 1));
            (self.noise_seed, self.steps) = whole.ok_or_else(|| {
                let bits = NOISE_SEED_BITS;
                EnvError::state(ID, format!("has noise seed {seed} and step {steps}, expected integers of {bits} and 32 bits"))
            })?;
        }
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

    #[test]
    fn noise_is_on_what_is_shown_and_nowhere_else() {
        for (hide_velocity, width, sigma) in [(true, 2, 0.15), (false, 3, 0.1)] {
            let given =
                Map::from_iter([("noise".to_string(), sigma.into()), ("hide_velocity".to_string(), hide_velocity.into())]);
            let (mut clean, mut noisy) = (make(ID, &Map::new()).unwrap(), make(ID, &given).unwrap());
            let (mut truth, mut shown) = ([0.0; 3], vec![0.0; width]);
            let (mut squares, mut sum, mut count, mut clipped) = (0.0, 0.0, 0.0, 0);
            for seed in 0..30 {
                clean.reset(Some(seed), &mut truth).unwrap();
                noisy.reset(Some(seed), &mut shown).unwrap();
                for step in 0..200 {
                    for (i, &shown) in shown.iter().enumerate() {
                        let bound = if i < 2 { 1.0 } else { MAX_SPEED };
                        assert!(shown.abs() <= bound);
                        clipped += usize::from(shown.abs() == bound);
                        // Where clipping is far away, the error is the noise.
                        if truth[i].abs() < bound - 4.0 * sigma {
                            let error = shown - truth[i];
                            (squares, sum, count) = (squares + error * error, sum + error, count + 1.0);
                        }
                    }
                    let action = [1.5 - 0.02 * step as f32];
                    let (left, right) =
                        (clean.step(Action::F32(&action), &mut truth), noisy.step(Action::F32(&action), &mut shown));
                    assert_eq!(left.unwrap(), right.unwrap());
                }
            }
            let (mean, variance): (f64, f64) = (sum / count, squares / count);
            // Four standard errors of each, and something to count.
            assert!(count > 1000.0 && clipped > 100, "{count}, {clipped}");
            assert!(mean.abs() < 4.0 * sigma / count.sqrt(), "mean {mean}");
            assert!((variance / (sigma * sigma) - 1.0).abs() < 4.0 * (2.0 / count).sqrt(), "variance {variance}");
        }
    }

    #[test]
    fn a_noisy_state_says_what_will_be_shown() {
        let noisy = Map::from_iter([("noise".to_string(), 0.3.into())]);
        let (mut env, mut copy) = (make(ID, &noisy).unwrap(), make(ID, &noisy).unwrap());
        let (mut observation, mut seen) = ([0.0; 3], [0.0; 3]);
        let mut first = vec![];
        for seed in [Some(3), None, Some(3)] {
            env.reset(seed, &mut observation).unwrap();
            first.push(observation);
        }
        assert_eq!(first[0], first[2]);
        assert_ne!(first[0], first[1]);
        for _ in 0..5 {
            env.step(Action::F32(&[1.0]), &mut observation).unwrap();
        }
        let mut state = vec![];
        env.state(&mut state).unwrap();
        copy.set_state(&state, &mut seen).unwrap();
        for _ in 0..4 {
            assert_eq!(seen, observation);
            let left = env.step(Action::F32(&[-1.0]), &mut observation).unwrap();
            assert_eq!(left, copy.step(Action::F32(&[-1.0]), &mut seen).unwrap());
        }
        for wrong in [[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, -1.0, 1.0], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 2e15, 1.0]] {
            assert!(matches!(copy.set_state(&wrong, &mut seen), Err(EnvError::State { .. })), "{wrong:?}");
        }
    }
}
