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

mod memory;

use crate::env::Action;
use crate::error::EnvError;
use crate::options::Options;
use crate::pile::{RANKS, SUITS};
use crate::point_maze::layout::Layout;
use crate::point_maze::rules;
use crate::point_maze::waypoint::WaypointController;
use crate::rng::Generator;
use crate::space::Space;
use crate::{
    cartpole, count_recall, higher_lower, last_cue, multiarmed_bandit, passive_tmaze, pendulum, point_maze, repeat_first,
    repeat_previous, tmaze,
};
use memory::{BanditRecord, Counter};
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
    /// Walks to the junction; takes the arm that the last cue seen named with probability `quality`, else the other.
    TMaze { quality: f64, takes_cue: bool, cue: f64 },
    /// The same in the passive T-maze.
    PassiveTMaze { quality: f64, takes_cue: bool, cue: f64 },
    /// Answers right with probability `quality`, else with one of the other suits; with suit 0 before the k-th card.
    RepeatPrevious { quality: f64, k: usize, seen: Vec<i64> },
    /// Answers right with probability `quality`, else with one of the other suits.
    RepeatFirst { quality: f64, first: i64 },
    /// Answers right with probability `quality`, else with one of the other counts.
    CountRecall { quality: f64, counter: Counter },
    /// Names the side on which more cards are left with probability `quality`, else the other.
    HigherLower { quality: f64, counter: Counter },
    /// Pulls the most promising arm with probability `quality`, else one of the others.
    MultiarmedBandit { quality: f64, record: BanditRecord },
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
            tmaze::ID | last_cue::ID => (Script::TMaze { quality: quality_of_decisions()?, takes_cue: true, cue: 0.0 }, 0),
            passive_tmaze::ID => (Script::PassiveTMaze { quality: quality_of_decisions()?, takes_cue: true, cue: 0.0 }, 0),
            repeat_previous::ID => {
                let k = Options::new(env_id, repeat_previous::OPTIONS, options)?.count("k")? as usize;
                (Script::RepeatPrevious { quality: quality_of_decisions()?, k, seen: Vec::with_capacity(USUAL_STEPS) }, 0)
            }
            repeat_first::ID => (Script::RepeatFirst { quality: quality_of_decisions()?, first: 0 }, 0),
            count_recall::ID => {
                let options = Options::new(env_id, count_recall::OPTIONS, options)?;
                let counter = Counter::new(count_recall::kinds(&options)?, options.count("decks")?);
                (Script::CountRecall { quality: quality_of_decisions()?, counter }, 0)
            }
            higher_lower::ID => {
                let decks = Options::new(env_id, higher_lower::OPTIONS, options)?.count("decks")?;
                (Script::HigherLower { quality: quality_of_decisions()?, counter: Counter::new(RANKS, decks) }, 0)
            }
            multiarmed_bandit::ID => {
                let arms = Options::new(env_id, multiarmed_bandit::OPTIONS, options)?.count("arms")? as usize;
                (Script::MultiarmedBandit { quality: quality_of_decisions()?, record: BanditRecord::new(arms) }, 0)
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
            Script::TMaze { .. } | Script::PassiveTMaze { .. } => "scripted walk that remembers the cue",
            Script::RepeatPrevious { .. } => "scripted answers that remember the cards",
            Script::RepeatFirst { .. } => "scripted answers that remember the first card",
            Script::CountRecall { .. } | Script::HigherLower { .. } => "scripted answers that count the cards",
            Script::MultiarmedBandit { .. } => "pulls by the upper bounds of what the arms have paid",
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
            Script::RepeatFirst { first, .. } => *first = shown(observation),
            Script::CountRecall { counter, .. } | Script::HigherLower { counter, .. } => counter.begin(),
            Script::MultiarmedBandit { record, .. } => record.begin(),
            Script::PointMaze { layout, controller, .. } => *controller = WaypointController::new(*layout),
            Script::TMaze { quality, takes_cue, .. } => *takes_cue = generator.double() < *quality,
            Script::PassiveTMaze { quality, takes_cue, cue } => {
                (*takes_cue, *cue) = (generator.double() < *quality, observation[1]);
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
            Script::TMaze { takes_cue, cue, .. } => {
                if observation[0] != 0.0 {
                    *cue = observation[0];
                }
                let turn = if (*cue > 0.0) == *takes_cue { tmaze::RIGHT } else { tmaze::LEFT };
                return Action::Discrete(if observation[2] == 1.0 { turn } else { tmaze::FORWARD });
            }
            Script::PassiveTMaze { takes_cue, cue, .. } => {
                let turn = if (*cue > 0.0) == *takes_cue { passive_tmaze::UP } else { passive_tmaze::DOWN };
                return Action::Discrete(if observation[0] == 1.0 { turn } else { passive_tmaze::FORWARD });
            }
            Script::RepeatPrevious { quality, k, seen } => {
                seen.push(shown(observation));
                let Some(card) = seen.len().checked_sub(*k) else { return Action::Discrete(0) };
                return decide(seen[card], SUITS, *quality, generator);
            }
            Script::RepeatFirst { quality, first } => return decide(*first, SUITS, *quality, generator),
            Script::CountRecall { quality, counter } => {
                let (value, query) = observation.split_at(counter.counts.len());
                counter.count(shown(value));
                return decide(counter.counts[shown(query) as usize], counter.each as usize + 1, *quality, generator);
            }
            Script::HigherLower { quality, counter } => {
                let present = shown(observation);
                counter.count(present);
                let is_higher = counter.left(present + 1..RANKS as i64) >= counter.left(0..present);
                let likelier = if is_higher { higher_lower::HIGHER } else { higher_lower::LOWER };
                return decide(likelier, 2, *quality, generator);
            }
            Script::MultiarmedBandit { quality, record } => {
                record.learn(observation[0] == 1.0);
                let decision = decide(record.most_promising(), record.pulls.len(), *quality, generator);
                if let Action::Discrete(arm) = decision {
                    record.last = Some(arm as usize);
                }
                return decision;
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

/// The index of the number that is 1.
fn shown(one_hot: &[f64]) -> i64 {
    one_hot.iter().position(|&shown| shown == 1.0).unwrap_or(0) as i64
}

/// The right one of some actions with probability `quality`, else one of the others.
fn decide(right: i64, actions: usize, quality: f64, generator: &mut Generator) -> Action<'static> {
    let error = if generator.double() < quality { 0 } else { 1 + i64::from(generator.below(actions as u32 - 1)) };
    Action::Discrete((right + error) % actions as i64)
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
