//! Datasets of policies that need no learning: those of [`aaren_envs::scripted`].
//!
//! Every episode has its own seed, derived from the collection's seed and the episode's index, so the same configuration
//! gives the same bits, and a longer collection begins with a shorter one.
//!
//! ```
//! use aaren_data::scripted::{ScriptedConfig, collect};
//!
//! let config = serde_json::json!({"env": "Pendulum-v1", "collector": "random", "episodes": 2, "seed": 8});
//! let config: ScriptedConfig = serde_json::from_value(config)?;
//! let dataset = collect(&config)?;
//! assert_eq!(dataset.trajectories[1].len(), 200);
//! assert_eq!(dataset, collect(&config)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::score;
use crate::trajectory::{Actions, Dataset, Trajectory};
use aaren_envs::{Action, Env, EnvError, Generator, Space, Step, StepEnd, derive_seed, make, scripted::ScriptedPolicy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What to collect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedConfig {
    /// The task's registered name.
    pub env: String,
    /// Its options.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// The policy.
    #[serde(default)]
    pub collector: Collector,
    /// How many episodes, at least 1.
    pub episodes: usize,
    /// For the scripts that decide: the probability, 0 to 1, of the right decision; 1 if absent. T-maze: take the right arm. Repeat
    /// previous: give the right answer, else a wrong one. Cart-pole: push as the controller does, else the other way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    /// For the continuous scripts: standard deviation of the Gaussian noise on each action component, before clipping; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// Seed of the collection.
    pub seed: u64,
}

/// A kind of policy that needs no learning.
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
    fn wrong(&self, key: &str, problem: String) -> EnvError {
        EnvError::Option { env: self.env.clone(), key: key.into(), problem }
    }

    fn policy(&self, action_space: &Space) -> Result<ScriptedPolicy, EnvError> {
        if self.collector == Collector::Scripted {
            return ScriptedPolicy::of_task(&self.env, &self.options, self.quality, self.noise);
        }
        match [("quality", self.quality), ("noise", self.noise)].into_iter().find_map(|(key, given)| Some((key, given?))) {
            Some((key, value)) => {
                Err(self.wrong(key, format!("{value} has no meaning for this task and collector; leave it out")))
            }
            None => Ok(ScriptedPolicy::random(action_space)),
        }
    }
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
    collect_checked(config, || Ok(()))
}

/// [`collect`] that may be stopped: `check` is asked before every episode.
///
/// # Errors
/// As [`collect`], and that of `check`.
pub fn collect_checked<E: From<EnvError>>(
    config: &ScriptedConfig,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<Dataset, E> {
    let mut env = make(&config.env, &config.options)?;
    let spec = env.spec().clone();
    if config.episodes == 0 {
        return Err(config.wrong("episodes", "0, expected at least 1".into()).into());
    }
    if spec.max_episode_steps.is_none() {
        return Err(config.wrong("max_episode_steps", "null: episodes of a collection must end".into()).into());
    }
    let mut policy = config.policy(&spec.action_space)?;
    let trajectories = (0..config.episodes as u64)
        .map(|episode| {
            check()?;
            let mut generator = Generator::from_seed(derive_seed(config.seed, &[episode, 1]));
            Ok(rollout(&mut *env, &mut policy, derive_seed(config.seed, &[episode, 0]), &mut generator)?)
        })
        .collect::<Result<_, E>>()?;
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

/// One episode.
fn rollout(env: &mut dyn Env, policy: &mut ScriptedPolicy, seed: u64, generator: &mut Generator) -> Result<Trajectory, EnvError> {
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
    let mut state = Vec::new();
    while !trajectory.end.is_end() {
        if policy.acts_on_the_state() {
            state.clear();
            env.state(&mut state)?;
        }
        let action = policy.act(&observation, &state, generator);
        match (action, &mut trajectory.actions) {
            (Action::Discrete(index), Actions::Discrete(indices)) => indices.push(index),
            (Action::F32(components), Actions::Continuous(values)) => values.extend_from_slice(components),
            _ => unreachable!("a scripted policy acts in its task's action space"),
        }
        let step = match env.step(action, &mut observation) {
            Err(error) if error.is_divergence() => Step::DIVERGED,
            step => step?,
        };
        trajectory.observations.extend_from_slice(&observation);
        trajectory.rewards.push(step.reward);
        trajectory.end = step.end;
    }
    Ok(trajectory)
}
