//! Datasets made by policies that are written down, not learned.
//!
//! Every episode has its own seed, derived from the collection's seed and the episode's index, so the same configuration
//! gives the same bits, and a longer collection begins with a shorter one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    dataset::{Actions, Dataset, Trajectory},
    env::{Action, Env, StepEnd},
    error::EnvError,
    options::Options,
    point_maze::{self, layout::Layout, rules, waypoint::WaypointController},
    registry::make,
    rng::{Generator, derive_seed},
    score,
    space::Space,
    tmaze,
};

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
    /// T-maze: the probability, 0 to 1, of taking the right arm; 1 if absent.
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
    /// The script of the task (T-maze: walks and turns; point maze: follows waypoints).
    #[default]
    Scripted,
    /// Uniform in the action space.
    Random,
}

/// Collects whole episodes.
///
/// Observations have one row more than there are actions: the last one is what the last action led to. The stored actions
/// are the executed ones, noise and clipping included.
///
/// # Errors
/// Those of [`make`]; [`EnvError::Option`] for a value out of range or without meaning for this task and collector;
/// [`EnvError::Unsupported`] for a task without a script; those of the task's steps.
pub fn collect(config: &ScriptedConfig) -> Result<Dataset, EnvError> {
    let mut env = make(&config.env, &config.options)?;
    let spec = env.spec().clone();
    if config.episodes == 0 {
        return Err(wrong(config, "episodes", "0, expected at least 1".into()));
    }
    if spec.max_episode_steps.is_none() {
        return Err(wrong(config, "max_episode_steps", "null: episodes of a collection must end".into()));
    }
    let mut policy = Policy::new(config, &spec.action_space)?;
    let trajectories = (0..config.episodes as u64)
        .map(|episode| {
            let mut generator = Generator::from_seed(derive_seed(config.seed, &[episode, 1]));
            rollout(&mut *env, &mut policy, derive_seed(config.seed, &[episode, 0]), &mut generator)
        })
        .collect::<Result<_, _>>()?;
    let mut metadata = Map::new();
    metadata.insert("algorithm_name".into(), policy.name().into());
    metadata.insert("collection".into(), serde_json::to_value(config).unwrap_or_default());
    Ok(Dataset {
        id: format!("scripted/{}", config.env),
        env_id: Some(spec.id),
        observation_space: spec.observation_space,
        action_space: spec.action_space,
        max_episode_steps: spec.max_episode_steps,
        reference_scores: score::of_env(&config.env, &config.options).map(|reference| (reference.min, reference.max)),
        metadata,
        trajectories,
    })
}

fn wrong(config: &ScriptedConfig, key: &str, problem: String) -> EnvError {
    EnvError::Option { env: config.env.clone(), key: key.into(), problem }
}

/// One episode.
fn rollout(env: &mut dyn Env, policy: &mut Policy, seed: u64, generator: &mut Generator) -> Result<Trajectory, EnvError> {
    let width = env.spec().observation_space.width();
    let mut observation = vec![0.0; width];
    env.reset(Some(seed), &mut observation)?;
    policy.begin(&observation, generator);
    let mut trajectory = Trajectory {
        observations: observation.clone(),
        actions: if env.spec().action_space.is_discrete() { Actions::Discrete(vec![]) } else { Actions::Continuous(vec![]) },
        rewards: vec![],
        end: StepEnd::default(),
        seed: Some(seed),
    };
    let mut continuous = vec![0.0_f32; env.spec().action_space.width()];
    while !trajectory.end.is_end() {
        let action = match &mut trajectory.actions {
            Actions::Discrete(indices) => {
                let index = policy.index(&observation, generator);
                indices.push(index);
                Action::Discrete(index)
            }
            Actions::Continuous(values) => {
                policy.vector(&observation, generator, &mut continuous);
                values.extend_from_slice(&continuous);
                Action::F32(&continuous)
            }
        };
        let step = env.step(action, &mut observation)?;
        trajectory.observations.extend_from_slice(&observation);
        trajectory.rewards.push(step.reward);
        trajectory.end = step.end;
    }
    Ok(trajectory)
}

/// A policy with what it remembers of the episode.
enum Policy {
    Random(Space),
    /// Walks to the junction; takes the arm that the cue named with probability `quality`, else the other.
    TMaze {
        quality: f64,
        turn: i64,
    },
    /// Drives to the goal along waypoints, each action component with Gaussian noise.
    PointMaze {
        layout: Layout,
        noise: f64,
        controller: WaypointController,
    },
}

impl Policy {
    fn new(config: &ScriptedConfig, action_space: &Space) -> Result<Self, EnvError> {
        let meaningless = |key: &str, given: Option<f64>| match given {
            Some(value) => Err(wrong(config, key, format!("{value} has no meaning for this task and collector; leave it out"))),
            None => Ok(()),
        };
        match (config.collector, config.env.as_str()) {
            (Collector::Random, _) => {
                meaningless("quality", config.quality)?;
                meaningless("noise", config.noise)?;
                Ok(Self::Random(action_space.clone()))
            }
            (Collector::Scripted, tmaze::ID) => {
                meaningless("noise", config.noise)?;
                let quality = config.quality.unwrap_or(1.0);
                if !(0.0..=1.0).contains(&quality) {
                    return Err(wrong(config, "quality", format!("{quality}, expected a probability from 0 to 1")));
                }
                Ok(Self::TMaze { quality, turn: tmaze::FORWARD })
            }
            (Collector::Scripted, point_maze::ID | "Maze2D-v1") => {
                meaningless("quality", config.quality)?;
                let noise = config.noise.unwrap_or(0.0);
                if !(0.0..=100.0).contains(&noise) {
                    return Err(wrong(config, "noise", format!("{noise}, expected a standard deviation from 0 to 100")));
                }
                let layout = rules::layout(&Options::new(point_maze::ID, rules::OPTIONS, &config.options)?)?;
                Ok(Self::PointMaze { layout, noise, controller: WaypointController::new(layout) })
            }
            (Collector::Scripted, env) => {
                Err(EnvError::Unsupported { env: env.into(), what: "a scripted collector; use \"collector\": \"random\"" })
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Random(_) => "uniform random actions",
            Self::TMaze { .. } => "scripted walk that remembers the cue",
            Self::PointMaze { .. } => "waypoint controller",
        }
    }

    /// Sees an episode's first observation.
    fn begin(&mut self, observation: &[f64], generator: &mut Generator) {
        match self {
            Self::Random(_) => {}
            Self::PointMaze { layout, controller, .. } => *controller = WaypointController::new(*layout),
            Self::TMaze { quality, turn } => {
                let cue_is_right = observation[0] > 0.0;
                let takes_cue = generator.double() < *quality;
                *turn = if cue_is_right == takes_cue { tmaze::RIGHT } else { tmaze::LEFT };
            }
        }
    }

    /// Chooses a discrete action.
    fn index(&mut self, observation: &[f64], generator: &mut Generator) -> i64 {
        match self {
            Self::Random(space) => space.sample_index(generator),
            Self::PointMaze { .. } => unreachable!("the point maze has continuous actions"),
            Self::TMaze { turn, .. } => {
                if observation[2] == 1.0 {
                    *turn
                } else {
                    tmaze::FORWARD
                }
            }
        }
    }

    /// Chooses a continuous action.
    fn vector(&mut self, observation: &[f64], generator: &mut Generator, action: &mut [f32]) {
        match self {
            Self::Random(space) => {
                let mut sample = vec![0.0; action.len()];
                space.sample(generator, &mut sample);
                action.iter_mut().zip(sample).for_each(|(action, sample)| *action = sample as f32);
            }
            Self::PointMaze { layout, noise, controller } => {
                let (position, velocity) = ([observation[0], observation[1]], [observation[2], observation[3]]);
                let target = layout.goal().map(|coordinate| coordinate as f64);
                let (wanted, _) = controller.act(position, velocity, target, generator);
                for (action, wanted) in action.iter_mut().zip(wanted) {
                    *action = (wanted + *noise * generator.normal()).clamp(-1.0, 1.0) as f32;
                }
            }
            Self::TMaze { .. } => unreachable!("the T-maze has discrete actions"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: Value) -> ScriptedConfig {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_quality_is_the_rate_of_right_turns() {
        for quality in [0.0, 0.7, 1.0] {
            let config = config(serde_json::json!({
                "env": "TMaze-v0", "options": {"corridor": 3}, "episodes": 500, "quality": quality, "seed": 5
            }));
            let data = collect(&config).unwrap();
            let mean = data.trajectories.iter().map(Trajectory::episode_return).sum::<f64>() / 500.0;
            // Four standard errors.
            assert!((mean - quality).abs() <= 4.0 * (quality * (1.0 - quality) / 500.0).sqrt(), "quality {quality}, mean {mean}");
            let first = &data.trajectories[0];
            assert_eq!((first.len(), first.observations.len(), first.end.terminated), (4, 15, true));
            assert_eq!(first.observations[3..12], [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_a_longer_collection_begins_with_a_shorter() {
        for json in [
            serde_json::json!({"env": "TMaze-v0", "episodes": 9, "quality": 0.5, "seed": 3}),
            serde_json::json!({"env": "Pendulum-v1", "collector": "random", "episodes": 3, "seed": 3}),
            serde_json::json!({"env": "PointMaze-v0", "episodes": 3, "noise": 0.5, "seed": 3}),
        ] {
            let mut config = config(json);
            let data = collect(&config).unwrap();
            assert_eq!(data, collect(&config).unwrap());
            config.episodes -= 1;
            assert_eq!(collect(&config).unwrap().trajectories, data.trajectories[..config.episodes]);
            config.seed += 1;
            assert_ne!(collect(&config).unwrap().trajectories[0], data.trajectories[0]);
        }
    }

    #[test]
    fn a_stored_episode_replays_from_its_seed() {
        let config = config(serde_json::json!({"env": "Pendulum-v1", "collector": "random", "episodes": 2, "seed": 8}));
        let data = collect(&config).unwrap();
        let mut env = make("Pendulum-v1", &Map::new()).unwrap();
        for trajectory in &data.trajectories {
            let Actions::Continuous(actions) = &trajectory.actions else { unreachable!() };
            let mut observation = [0.0; 3];
            env.reset(trajectory.seed, &mut observation).unwrap();
            assert_eq!((trajectory.len(), trajectory.end.truncated), (200, true));
            for (t, &action) in actions.iter().enumerate() {
                assert_eq!(observation, trajectory.observations[3 * t..][..3]);
                assert_eq!(env.step(Action::F32(&[action]), &mut observation).unwrap().reward, trajectory.rewards[t]);
            }
        }
    }

    #[test]
    fn the_waypoint_controller_scores_better_than_d4rls_reference_and_noise_is_stored() {
        let mazes = ["PointMaze-v0", "Maze2D-v1"].into_iter().filter(|&id| cfg!(feature = "mujoco") || id == point_maze::ID);
        for (id, noise) in mazes.flat_map(|id| [(id, 0.0), (id, 0.5)]) {
            let config = config(serde_json::json!({
                "env": id, "options": {"layout": "medium"}, "episodes": 20, "noise": noise, "seed": 2
            }));
            let data = collect(&config).unwrap();
            let mean = data.trajectories.iter().map(Trajectory::episode_return).sum::<f64>() / 20.0;
            println!("{id}, noise {noise}: mean return {mean}");
            assert!(mean > 277.39, "{id}: mean return {mean}, D4RL's controller scored 277.39");
            assert_eq!(data.reference_scores, Some((13.13, 277.39)));
            // Clipped to the bounds, and with noise almost never equal to the step before.
            let repeats = data.trajectories.iter().map(|trajectory| {
                let Actions::Continuous(actions) = &trajectory.actions else { unreachable!() };
                assert!(actions.iter().all(|action| action.abs() <= 1.0));
                actions.windows(4).filter(|window| window[0] == window[2] && window[1] == window[3]).count()
            });
            let (repeats, steps) = (repeats.sum::<usize>(), data.trajectories.iter().map(Trajectory::len).sum::<usize>());
            assert_eq!(steps, 20 * 600);
            assert!((repeats > steps / 10) == (noise == 0.0), "{id}, noise {noise}: {repeats} repeats");
        }
    }

    #[test]
    fn settings_out_of_range_or_without_meaning_are_refused() {
        for (json, key) in [
            (serde_json::json!({"env": "TMaze-v0", "episodes": 0, "seed": 1}), "episodes"),
            (serde_json::json!({"env": "TMaze-v0", "episodes": 2, "seed": 1, "quality": 1.1}), "quality"),
            (serde_json::json!({"env": "TMaze-v0", "episodes": 2, "seed": 1, "noise": 0.1}), "noise"),
            (serde_json::json!({"env": "TMaze-v0", "collector": "random", "episodes": 2, "seed": 1, "quality": 0.1}), "quality"),
            (serde_json::json!({"env": "PointMaze-v0", "episodes": 2, "seed": 1, "noise": -0.1}), "noise"),
            (serde_json::json!({"env": "PointMaze-v0", "episodes": 2, "seed": 1, "quality": 0.5}), "quality"),
            (
                serde_json::json!({"env": "Pendulum-v1", "options": {"max_episode_steps": null}, "episodes": 2, "seed": 1}),
                "max_episode_steps",
            ),
        ] {
            let error = collect(&config(json)).unwrap_err();
            assert!(matches!(&error, EnvError::Option { key: found, .. } if found == key), "{error}");
        }
        let error = collect(&config(serde_json::json!({"env": "Pendulum-v1", "episodes": 2, "seed": 1}))).unwrap_err();
        assert!(matches!(error, EnvError::Unsupported { .. }), "{error}");
    }
}
