//! The policies that are written down: what each does where, and what it remembers.

use crate::{
    cartpole,
    error::EnvError,
    options::Options,
    pendulum,
    point_maze::{self, layout::Layout, rules, waypoint::WaypointController},
    repeat_previous,
    rng::Generator,
    space::Space,
    tmaze,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::f64::consts::PI;

/// What to collect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedConfig {
    /// The task's registered name.
    pub env: String,
    /// Its options.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// Which policy acts.
    #[serde(default)]
    pub collector: Collector,
    /// How many episodes, at least 1.
    pub episodes: usize,
    /// Scripts that decide: the probability, 0 to 1, of doing the right thing; 1 if absent. T-maze: takes the right arm. Repeat
    /// previous: gives the right answer, else a wrong one. Cart-pole: pushes as the controller would, else the other way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    /// Continuous scripts: standard deviation of the Gaussian noise on each action component, before clipping; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// Seed of the collection.
    pub seed: u64,
}

/// The policies that need no learning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Collector {
    /// The script of the task, which acts on the true state where the task hides it.
    #[default]
    Scripted,
    /// Uniform in the action space.
    Random,
}

impl ScriptedConfig {
    /// The error of a key whose value has no sense.
    pub fn wrong(&self, key: &str, problem: String) -> EnvError {
        EnvError::Option { env: self.env.clone(), key: key.into(), problem }
    }
}

/// A policy that needs no learning, with what it remembers of the episode.
pub struct ScriptedPolicy(Policy);

enum Policy {
    Random(Space),
    /// Walks to the junction; takes the arm that the cue named with probability `quality`, else the other.
    TMaze {
        quality: f64,
        turn: i64,
    },
    /// Answers right with probability `quality`, else with one of the other suits; with suit 0 where nothing is asked for yet.
    RepeatPrevious {
        quality: f64,
        k: usize,
        seen: Vec<i64>,
    },
    /// Pushes the cart as a linear controller of the true state would with probability `quality`, else the other way.
    CartPole {
        quality: f64,
    },
    /// Swings up by the energy of the true state and holds it by a linear controller; the torque with Gaussian noise.
    Pendulum {
        gravity: f64,
        noise: f64,
    },
    /// Drives to the goal along waypoints, each action component with Gaussian noise.
    PointMaze {
        layout: Layout,
        noise: f64,
        controller: WaypointController,
    },
}

/// Most steps of an episode for which seen cards are given room at once.
const USUAL_STEPS: usize = 256;

impl ScriptedPolicy {
    /// The policy that a configuration names.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a value out of range or without meaning for this task; [`EnvError::Unsupported`] for a task without a script.
    pub fn new(config: &ScriptedConfig, action_space: &Space) -> Result<Self, EnvError> {
        let meaningless = |key: &str, given: Option<f64>| match given {
            Some(value) => Err(config.wrong(key, format!("{value} has no meaning for this task and collector; leave it out"))),
            None => Ok(()),
        };
        let quality = || {
            let quality = config.quality.unwrap_or(1.0);
            meaningless("noise", config.noise)?;
            match (0.0..=1.0).contains(&quality) {
                true => Ok(quality),
                false => Err(config.wrong("quality", format!("{quality}, expected a probability from 0 to 1"))),
            }
        };
        let noise = || {
            let noise = config.noise.unwrap_or(0.0);
            meaningless("quality", config.quality)?;
            match (0.0..=100.0).contains(&noise) {
                true => Ok(noise),
                false => Err(config.wrong("noise", format!("{noise}, expected a standard deviation from 0 to 100"))),
            }
        };
        let policy = match (config.collector, config.env.as_str()) {
            (Collector::Random, _) => {
                meaningless("quality", config.quality)?;
                meaningless("noise", config.noise)?;
                Ok(Policy::Random(action_space.clone()))
            }
            (Collector::Scripted, tmaze::ID) => Ok(Policy::TMaze { quality: quality()?, turn: tmaze::FORWARD }),
            (Collector::Scripted, repeat_previous::ID) => {
                let k = Options::new(repeat_previous::ID, repeat_previous::OPTIONS, &config.options)?.count("k")?;
                Ok(Policy::RepeatPrevious { quality: quality()?, k: k as usize, seen: Vec::with_capacity(USUAL_STEPS) })
            }
            (Collector::Scripted, cartpole::ID) => Ok(Policy::CartPole { quality: quality()? }),
            (Collector::Scripted, pendulum::ID) => {
                let gravity = Options::new(pendulum::ID, pendulum::OPTIONS, &config.options)?.number("g")?;
                Ok(Policy::Pendulum { gravity, noise: noise()? })
            }
            (Collector::Scripted, point_maze::ID | "Maze2D-v1") => {
                let noise = noise()?;
                let layout = rules::layout(&Options::new(point_maze::ID, rules::OPTIONS, &config.options)?)?;
                Ok(Policy::PointMaze { layout, noise, controller: WaypointController::new(layout) })
            }
            (Collector::Scripted, env) => {
                Err(EnvError::Unsupported { env: env.into(), what: "a scripted collector; use \"collector\": \"random\"" })
            }
        };
        policy.map(Self)
    }

    /// What it does, in a few words.
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Policy::Random(_) => "uniform random actions",
            Policy::TMaze { .. } => "scripted walk that remembers the cue",
            Policy::RepeatPrevious { .. } => "scripted answers that remember the cards",
            Policy::CartPole { .. } => "linear controller of the true state",
            Policy::Pendulum { .. } => "swing-up controller of the true state",
            Policy::PointMaze { .. } => "waypoint controller",
        }
    }

    /// Whether [`ScriptedPolicy::index`] and [`ScriptedPolicy::vector`] look at the state.
    pub fn acts_on_the_state(&self) -> bool {
        matches!(self.0, Policy::CartPole { .. } | Policy::Pendulum { .. })
    }

    /// Sees an episode's first observation.
    pub fn begin(&mut self, observation: &[f64], generator: &mut Generator) {
        match &mut self.0 {
            Policy::Random(_) | Policy::CartPole { .. } | Policy::Pendulum { .. } => {}
            Policy::RepeatPrevious { seen, .. } => seen.clear(),
            Policy::PointMaze { layout, controller, .. } => *controller = WaypointController::new(*layout),
            Policy::TMaze { quality, turn } => {
                let cue_is_right = observation[0] > 0.0;
                let takes_cue = generator.double() < *quality;
                *turn = if cue_is_right == takes_cue { tmaze::RIGHT } else { tmaze::LEFT };
            }
        }
    }

    /// Chooses a discrete action.
    pub fn index(&mut self, observation: &[f64], state: &[f64], generator: &mut Generator) -> i64 {
        match &mut self.0 {
            Policy::Random(space) => space.sample_index(generator),
            Policy::PointMaze { .. } | Policy::Pendulum { .. } => unreachable!("the task has continuous actions"),
            Policy::TMaze { turn, .. } => {
                if observation[2] == 1.0 {
                    *turn
                } else {
                    tmaze::FORWARD
                }
            }
            Policy::RepeatPrevious { quality, k, seen } => {
                seen.extend(observation.iter().position(|&shown| shown == 1.0).map(|suit| suit as i64));
                let Some(card) = seen.len().checked_sub(*k) else { return 0 };
                let suits = repeat_previous::SUITS as i64;
                let error = if generator.double() < *quality { 0 } else { 1 + i64::from(generator.below(suits as u32 - 1)) };
                (seen[card] + error) % suits
            }
            Policy::CartPole { quality } => {
                let push = state[0] + 2.0 * state[1] + 30.0 * state[2] + 6.0 * state[3];
                i64::from((push > 0.0) == (generator.double() < *quality))
            }
        }
    }

    /// Chooses a continuous action.
    pub fn vector(&mut self, observation: &[f64], state: &[f64], generator: &mut Generator, action: &mut [f32]) {
        match &mut self.0 {
            Policy::Random(space) => {
                let mut sample = vec![0.0; action.len()];
                space.sample(generator, &mut sample);
                action.iter_mut().zip(sample).for_each(|(action, sample)| *action = sample as f32);
            }
            Policy::PointMaze { layout, noise, controller } => {
                let (position, velocity) = ([observation[0], observation[1]], [observation[2], observation[3]]);
                let target = layout.goal().map(|coordinate| coordinate as f64);
                let (wanted, _) = controller.act(position, velocity, target, generator);
                for (action, wanted) in action.iter_mut().zip(wanted) {
                    *action = (wanted + *noise * generator.normal()).clamp(-1.0, 1.0) as f32;
                }
            }
            Policy::Pendulum { gravity, noise } => {
                let torque = swing_up(state[0], state[1], *gravity) + *noise * generator.normal();
                action[0] = torque.clamp(-2.0, 2.0) as f32;
            }
            Policy::TMaze { .. } | Policy::RepeatPrevious { .. } | Policy::CartPole { .. } => {
                unreachable!("the task has discrete actions")
            }
        }
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
