//! Policies that need no learning: uniform random actions, and a script for each task that is easily solved by hand.
//!
//! ```
//! use aaren_envs::{Generator, make, scripted::ScriptedPolicy};
//!
//! let mut env = make("CartPole-v1", &Default::default())?;
//! let mut policy = ScriptedPolicy::of_task("CartPole-v1", &Default::default(), None, None)?;
//! let (mut generator, mut observation) = (Generator::from_seed(0), vec![0.0; 4]);
//! env.reset(Some(0), &mut observation)?;
//! policy.begin(&observation, &mut generator);
//! for _ in 0..500 {
//!     let mut state = vec![];
//!     env.state(&mut state)?;
//!     let step = env.step(policy.act(&observation, &state, &mut generator), &mut observation)?;
//!     assert!(!step.end.terminated);
//! }
//! # Ok::<(), aaren_envs::EnvError>(())
//! ```

use crate::env::Action;
use crate::error::EnvError;
use crate::options::Options;
use crate::point_maze::layout::Layout;
use crate::point_maze::rules;
use crate::point_maze::waypoint::WaypointController;
use crate::rng::Generator;
use crate::space::Space;
use crate::{cartpole, pendulum, point_maze, repeat_previous, tmaze};
use serde_json::{Map, Value};
use std::f64::consts::PI;

/// A policy that needs no learning, with what it remembers of the episode.
pub struct ScriptedPolicy {
    script: Script,
    /// A continuous action, lent to the caller.
    action: Vec<f32>,
}

enum Script {
    /// The space, and a draw from it in double precision.
    Random(Space, Vec<f64>),
    /// Walks to the junction; takes the arm that the cue named with probability `quality`, else the other.
    TMaze { quality: f64, turn: i64 },
    /// Answers right with probability `quality`, else with one of the other suits; with suit 0 before the k-th card.
    RepeatPrevious { quality: f64, k: usize, seen: Vec<i64> },
    /// Pushes the cart as a linear controller of the true state would with probability `quality`, else the other way.
    CartPole { quality: f64 },
    /// Swings up by the energy of the true state and holds it by a linear controller; the torque with Gaussian noise.
    Pendulum { gravity: f64, noise: f64 },
    /// Drives to the goal along waypoints, each action component with Gaussian noise.
    PointMaze { layout: Layout, noise: f64, controller: WaypointController },
}

/// Most steps of an episode for which seen cards are given room at once.
const USUAL_STEPS: usize = 256;

impl ScriptedPolicy {
    /// Uniform random actions.
    pub fn random(action_space: &Space) -> Self {
        let width = if action_space.is_discrete() { 0 } else { action_space.width() };
        Self { script: Script::Random(action_space.clone(), vec![0.0; width]), action: vec![0.0; width] }
    }

    /// The script of a task that was made with `options`.
    ///
    /// `quality`, for the scripts that decide: the probability, 0 to 1, of doing the right thing; 1 if absent. `noise`, for the
    /// continuous scripts: standard deviation of the Gaussian noise on each action component, before clipping; 0 if absent.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a value out of range or without meaning for this task; [`EnvError::Unsupported`] for a task
    /// without a script.
    pub fn of_task(
        env_id: &str,
        options: &Map<String, Value>,
        quality: Option<f64>,
        noise: Option<f64>,
    ) -> Result<Self, EnvError> {
        let wrong = |key: &str, problem| EnvError::Option { env: env_id.into(), key: key.into(), problem };
        let meaningless = |key: &str, given: Option<f64>| match given {
            Some(value) => Err(wrong(key, format!("{value} has no meaning for this task and collector; leave it out"))),
            None => Ok(()),
        };
        let quality_of_decisions = || {
            meaningless("noise", noise)?;
            let quality = quality.unwrap_or(1.0);
            let problem = || format!("{quality}, expected a probability from 0 to 1");
            if (0.0..=1.0).contains(&quality) { Ok(quality) } else { Err(wrong("quality", problem())) }
        };
        let noise_of_actions = || {
            meaningless("quality", quality)?;
            let noise = noise.unwrap_or(0.0);
            let problem = || format!("{noise}, expected a standard deviation from 0 to 100");
            if (0.0..=100.0).contains(&noise) { Ok(noise) } else { Err(wrong("noise", problem())) }
        };
        let (script, width) = match env_id {
            tmaze::ID => (Script::TMaze { quality: quality_of_decisions()?, turn: tmaze::FORWARD }, 0),
            repeat_previous::ID => {
                let k = Options::new(env_id, repeat_previous::OPTIONS, options)?.count("k")? as usize;
                (Script::RepeatPrevious { quality: quality_of_decisions()?, k, seen: Vec::with_capacity(USUAL_STEPS) }, 0)
            }
            cartpole::ID => (Script::CartPole { quality: quality_of_decisions()? }, 0),
            pendulum::ID => {
                let gravity = Options::new(env_id, pendulum::OPTIONS, options)?.number("g")?;
                (Script::Pendulum { gravity, noise: noise_of_actions()? }, 1)
            }
            point_maze::ID | "Maze2D-v1" => {
                let noise = noise_of_actions()?;
                let layout = rules::layout(&Options::new(env_id, rules::OPTIONS, options)?)?;
                (Script::PointMaze { layout, noise, controller: WaypointController::new(layout) }, 2)
            }
            _ => {
                let what = "a scripted collector; use \"collector\": \"random\"";
                return Err(EnvError::Unsupported { env: env_id.into(), what });
            }
        };
        Ok(Self { script, action: vec![0.0; width] })
    }

    /// What it does, in a few words.
    pub fn name(&self) -> &'static str {
        match &self.script {
            Script::Random(..) => "uniform random actions",
            Script::TMaze { .. } => "scripted walk that remembers the cue",
            Script::RepeatPrevious { .. } => "scripted answers that remember the cards",
            Script::CartPole { .. } => "linear controller of the true state",
            Script::Pendulum { .. } => "swing-up controller of the true state",
            Script::PointMaze { .. } => "waypoint controller",
        }
    }

    /// Whether [`ScriptedPolicy::act`] reads the state.
    pub fn acts_on_the_state(&self) -> bool {
        matches!(self.script, Script::CartPole { .. } | Script::Pendulum { .. })
    }

    /// Begins an episode with its first observation.
    pub fn begin(&mut self, observation: &[f64], generator: &mut Generator) {
        match &mut self.script {
            Script::Random(..) | Script::CartPole { .. } | Script::Pendulum { .. } => {}
            Script::RepeatPrevious { seen, .. } => seen.clear(),
            Script::PointMaze { layout, controller, .. } => *controller = WaypointController::new(*layout),
            Script::TMaze { quality, turn } => {
                let cue_is_right = observation[0] > 0.0;
                let takes_cue = generator.double() < *quality;
                *turn = if cue_is_right == takes_cue { tmaze::RIGHT } else { tmaze::LEFT };
            }
        }
    }

    /// Chooses an action. `state` is that of [`Env::state`](crate::Env::state), and may be empty unless
    /// [`ScriptedPolicy::acts_on_the_state`].
    pub fn act(&mut self, observation: &[f64], state: &[f64], generator: &mut Generator) -> Action<'_> {
        match &mut self.script {
            Script::Random(space, _) if space.is_discrete() => return Action::Discrete(space.sample_index(generator)),
            Script::Random(space, sample) => {
                space.sample(generator, sample);
                self.action.iter_mut().zip(sample).for_each(|(action, sample)| *action = *sample as f32);
            }
            Script::TMaze { turn, .. } => {
                return Action::Discrete(if observation[2] == 1.0 { *turn } else { tmaze::FORWARD });
            }
            Script::RepeatPrevious { quality, k, seen } => {
                seen.extend(observation.iter().position(|&shown| shown == 1.0).map(|suit| suit as i64));
                let Some(card) = seen.len().checked_sub(*k) else { return Action::Discrete(0) };
                let suits = repeat_previous::SUITS as i64;
                let error = if generator.double() < *quality { 0 } else { 1 + i64::from(generator.below(suits as u32 - 1)) };
                return Action::Discrete((seen[card] + error) % suits);
            }
            Script::CartPole { quality } => {
                let push = state[0] + 2.0 * state[1] + 30.0 * state[2] + 6.0 * state[3];
                return Action::Discrete(i64::from((push > 0.0) == (generator.double() < *quality)));
            }
            Script::PointMaze { layout, noise, controller } => {
                let (position, velocity) = ([observation[0], observation[1]], [observation[2], observation[3]]);
                let target = layout.goal().map(|coordinate| coordinate as f64);
                let (wanted, _) = controller.act(position, velocity, target, generator);
                for (action, wanted) in self.action.iter_mut().zip(wanted) {
                    *action = (wanted + *noise * generator.normal()).clamp(-1.0, 1.0) as f32;
                }
            }
            Script::Pendulum { gravity, noise } => {
                let torque = swing_up(state[0], state[1], *gravity) + *noise * generator.normal();
                self.action[0] = torque.clamp(-2.0, 2.0) as f32;
            }
        }
        Action::F32(&self.action)
    }
}

/// Torque for the pendulum: adds the energy that is missing for the top, takes away what is too much, and near the top, where the
/// motor is strong enough, holds it there.
fn swing_up(angle: f64, velocity: f64, gravity: f64) -> f64 {
    let pull = 1.5 * gravity; // the angular acceleration is `pull sin(angle) + 3 torque`
    let angle = (angle + PI).rem_euclid(2.0 * PI) - PI;
    let hold = -((pull + 16.0) * angle + 6.0 * velocity) / 3.0;
    if angle.abs() < 0.5 && hold.abs() < 6.0 {
        return hold;
    }
    // Per moment of inertia, 0 at rest upright.
    let energy = 0.5 * velocity * velocity + pull * (angle.cos() - 1.0);
    let along = if velocity < 0.0 { -1.0 } else { 1.0 };
    (-2.0 * energy).clamp(-2.0, 2.0) * along
}
