//! What episodes give does not depend on who plays them: threads, order, neighbours. And a failing environment takes down its actor only.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use aaren_envs::{Action, Env, EnvError, Spec, Step};
use aaren_policy::mixer::CachePolicy;
use aaren_policy::{AnyPolicy, DecisionNetwork, DecisionPolicy, Description, Normalizer, PolicyConfig};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use serde_json::{Map, Value, json};

use super::episodes::{EpisodeStart, MakeEnv};
use super::evaluate::play_with_policy;
use super::{Evaluation, PlayedEpisode, action_spec};
use crate::config::EnvConfig;
use crate::device::{CPU, Cpu};

/// Timesteps that a window shows.
const WINDOW: usize = 4;

/// A task with short episodes. Pendulum swings: what one step rounds differently, its return shows many steps later.
const TASKS: [(&str, &str); 2] = [("TMaze-v0", r#"{"corridor": 5}"#), ("Pendulum-v1", r#"{"max_episode_steps": 60}"#)];

fn options(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

/// A policy that was never trained. Its weights are large, so that it acts on all that it sees.
fn random_policy(mixer: &str, env_id: &str, env_options: &Map<String, Value>, seed: u64) -> AnyPolicy<Cpu> {
    let spec = aaren_envs::make(env_id, env_options).unwrap().spec().clone();
    let config = PolicyConfig {
        mixer: mixer.into(),
        layers: 2,
        width: 24,
        heads: 2,
        feed_forward: 40,
        return_scale: Some(1.0),
        max_timesteps: 64,
        ..Default::default()
    };
    let description = Description {
        format: Description::FORMAT,
        config,
        normalizer: Normalizer::identity(spec.observation_space.width()),
        action: action_spec(&spec.action_space),
        environment: Value::Null,
    };
    let network = DecisionNetwork::<Cpu>::new(&description, seed, &CPU).unwrap().map(&mut Larger);
    DecisionPolicy { network, description }.into()
}

/// Makes weights several times as large.
struct Larger;

impl ModuleMapper<Cpu> for Larger {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<Cpu, D>>) -> Param<Tensor<Cpu, D>> {
        param.map(|tensor| tensor * 5.0)
    }
}

/// Episodes in a task, each with a target return of its own, which makes it unlike the others.
fn evaluation(env_id: &str, env_options: &Map<String, Value>, episodes: usize) -> Evaluation {
    Evaluation {
        env: EnvConfig { id: env_id.into(), options: env_options.clone() },
        data: String::new(),
        target_returns: vec![None],
        episodes,
        seed: 11,
        actors: 1,
        envs_per_actor: 4,
        window: None,
        cache: CachePolicy::Full,
        stochastic: false,
        latency_steps: None,
        beside: false,
    }
}

fn starts(evaluation: &Evaluation) -> Vec<EpisodeStart> {
    let start = |(episode, start): (usize, EpisodeStart)| EpisodeStart { target_return: episode as f64 - 5.0, ..start };
    evaluation.starts().into_iter().enumerate().map(start).collect()
}

fn play_in(
    policy: &AnyPolicy<Cpu>,
    evaluation: &Evaluation,
    make: &MakeEnv,
    finished: impl FnMut(&PlayedEpisode),
) -> anyhow::Result<Vec<PlayedEpisode>> {
    play_with_policy(policy, &starts(evaluation), evaluation, make, false, finished)
}

fn play(policy: &AnyPolicy<Cpu>, evaluation: &Evaluation, finished: impl FnMut(&PlayedEpisode)) -> Vec<PlayedEpisode> {
    play_in(policy, evaluation, &|| evaluation.make_env(), finished).unwrap()
}

fn bits(episodes: &[PlayedEpisode]) -> Vec<(u64, u64, usize, bool)> {
    episodes.iter().map(|e| (e.index, e.result.episode_return.to_bits(), e.result.length, e.result.terminated)).collect()
}

/// A policy whose episodes end in several ways (most turn about at the start of a maze for ever), and these episodes.
fn unlike(mixer: &str, rollout: &Evaluation) -> (AnyPolicy<Cpu>, Vec<PlayedEpisode>) {
    let tried = (1..100).map(|seed| {
        let policy = random_policy(mixer, &rollout.env.id, &rollout.env.options, seed);
        let episodes = play(&policy, rollout, |_| {});
        (policy, episodes)
    });
    let kinds = |episodes: &[PlayedEpisode]| {
        BTreeSet::from_iter(episodes.iter().map(|e| (e.result.episode_return.to_bits(), e.result.length))).len()
    };
    tried.into_iter().find(|(_, episodes)| kinds(episodes) > 2).expect("a policy whose episodes are not all alike")
}

#[test]
fn episodes_do_not_depend_on_the_number_of_actors() {
    for (env_id, env_options) in TASKS {
        let env_options = options(env_options);
        for mixer in ["aaren", "transformer"] {
            for window in [None, Some(WINDOW)] {
                // No multiple of the environments: some rows are idle at the end.
                let one = Evaluation { window, ..evaluation(env_id, &env_options, 11) };
                let (policy, alone) = unlike(mixer, &one);
                for actors in [2, 3, 16] {
                    let mut arrived = 0;
                    let together = play(&policy, &Evaluation { actors, ..one.clone() }, |_| arrived += 1);
                    assert_eq!(bits(&together), bits(&alone), "{env_id}, {mixer}, window {window:?}, {actors} actors");
                    assert_eq!(arrived, 11);
                }
            }
        }
    }
}

#[test]
fn episodes_do_not_depend_on_their_row_or_their_neighbours() {
    for (env_id, env_options) in TASKS {
        let env_options = options(env_options);
        for mixer in ["aaren", "transformer"] {
            for window in [None, Some(WINDOW)] {
                let one = Evaluation { window, ..evaluation(env_id, &env_options, 11) };
                let (policy, in_order) = unlike(mixer, &one);
                for by in [1, 6] {
                    let mut turned = starts(&one);
                    turned.rotate_left(by);
                    let mut episodes = play_with_policy(&policy, &turned, &one, &|| one.make_env(), false, |_| {}).unwrap();
                    episodes.rotate_right(by);
                    episodes.iter_mut().zip(0..).for_each(|(episode, index)| episode.index = index);
                    assert_eq!(bits(&episodes), bits(&in_order), "{env_id}, {mixer}, window {window:?}, turned by {by}");
                }
            }
        }
    }
}

#[test]
fn more_actors_than_episodes_play_each_once() {
    let (env_id, env_options) = TASKS[0];
    let env_options = options(env_options);
    let policy = random_policy("aaren", env_id, &env_options, 1);
    let few = Evaluation { actors: 3, ..evaluation(env_id, &env_options, 2) };
    let episodes = play(&policy, &few, |_| {});
    assert_eq!(episodes.iter().map(|episode| episode.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(play(&policy, &evaluation(env_id, &env_options, 0), |_| {}), []);
}

/// How an environment fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Error,
    Panic,
    Divergence,
}

/// A Pendulum that fails in one episode, at its last step: when its neighbours' episodes end in the same step.
struct Faulty {
    inner: Box<dyn Env>,
    fault: Fault,
    /// The episode's seed.
    bad_seed: u64,
    is_bad: bool,
    steps: usize,
}

const STEPS: usize = 10;

impl Env for Faulty {
    fn spec(&self) -> &Spec {
        self.inner.spec()
    }

    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError> {
        (self.is_bad, self.steps) = (seed == Some(self.bad_seed), 0);
        self.inner.reset(seed, observation)
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvError> {
        self.steps += 1;
        match self.fault {
            _ if !self.is_bad || self.steps < STEPS => self.inner.step(action, observation),
            Fault::Error => Err(EnvError::State { env: "Faulty".into(), problem: "the rod is broken".into() }),
            Fault::Divergence => {
                Err(EnvError::Simulation { env: "Faulty".into(), step: self.steps, warning: "the rod is broken".into() })
            }
            Fault::Panic => panic!("the rod is broken"),
        }
    }
}

/// Plays with a fault in an episode: the episodes that arrived, and the error. The others are as they are without it.
fn play_with_fault(fault: Fault, bad_episode: usize, actors: usize) -> (Vec<PlayedEpisode>, String) {
    let Value::Object(env_options) = json!({"max_episode_steps": STEPS}) else { unreachable!() };
    let policy = random_policy("aaren", "Pendulum-v1", &env_options, 1);
    let rollout = Evaluation { actors, envs_per_actor: 3, ..evaluation("Pendulum-v1", &env_options, 12) };
    let whole = play(&policy, &rollout, |_| {});
    let bad_seed = rollout.starts()[bad_episode].seed;
    let made = AtomicUsize::new(0);
    let make = || -> Result<Box<dyn Env>, EnvError> {
        made.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Faulty { inner: aaren_envs::make("Pendulum-v1", &env_options)?, fault, bad_seed, is_bad: false, steps: 0 }))
    };
    let mut arrived = Vec::new();
    let outcome = play_in(&policy, &rollout, &make, |episode| arrived.push(episode.clone()));
    assert_eq!(made.into_inner(), 3 * actors);
    arrived.sort_by_key(|episode| episode.index);
    for episode in arrived.iter().filter(|episode| episode.index != bad_episode as u64) {
        assert_eq!(bits(std::slice::from_ref(episode)), bits(std::slice::from_ref(&whole[episode.index as usize])));
    }
    (arrived, outcome.err().map(|error| format!("{error:#}")).unwrap_or_default())
}

#[test]
fn a_simulation_that_diverges_truncates_its_episode_and_the_others_go_on() {
    for actors in [1, 2] {
        let (arrived, error) = play_with_fault(Fault::Divergence, 4, actors);
        assert_eq!((arrived.len(), error.as_str()), (12, ""));
        for episode in &arrived {
            let is_bad = episode.index == 4;
            assert_eq!(
                (episode.result.diverged, episode.result.terminated, episode.result.length),
                (is_bad, false, STEPS),
                "{episode:?}"
            );
        }
    }
}

#[test]
fn a_failing_environment_loses_no_finished_episode() {
    for fault in [Fault::Error, Fault::Panic] {
        // One actor plays episodes 0 to 2 and fails at the end of episode 1; episode 0 has just ended, 2 has not.
        let (arrived, message) = play_with_fault(fault, 1, 1);
        assert_eq!(arrived.iter().map(|episode| episode.index).collect::<Vec<_>>(), [0], "{fault:?}");
        assert!(message.contains("1 of 12 episodes finished"), "{message}");
        assert!(message.contains("actor 0") && message.contains("Pendulum-v1"), "{message}");
        assert!(message.contains("the rod is broken"), "{message}");
        assert_eq!(message.contains("panicked"), fault == Fault::Panic, "{message}");
    }
}

#[test]
fn the_other_actors_play_on() {
    for fault in [Fault::Error, Fault::Panic] {
        let (arrived, message) = play_with_fault(fault, 4, 2);
        // The actor that failed had three episodes in hand: the one that failed, and at most two that were not over.
        assert!((9..12).contains(&arrived.len()), "{fault:?}: {} episodes", arrived.len());
        assert!(arrived.iter().all(|episode| episode.index != 4));
        assert!(message.contains(&format!("{} of 12 episodes finished: actor ", arrived.len())), "{message}");
    }
}

/// How a matrix product rounds a row depends on how many there are, a little: returns agree, but not to the bit. Over many more
/// steps of a task as unstable as this one the difference grows (200 steps in windows of 4: by a tenth).
#[test]
fn episodes_hardly_depend_on_the_number_of_environments() {
    for (env_id, env_options) in TASKS {
        let env_options = options(env_options);
        for mixer in ["aaren", "transformer"] {
            for window in [None, Some(WINDOW)] {
                let policy = unlike(mixer, &Evaluation { window, ..evaluation(env_id, &env_options, 11) }).0;
                let with = |envs_per_actor| {
                    let rollout = Evaluation { window, envs_per_actor, ..evaluation(env_id, &env_options, 11) };
                    play(&policy, &rollout, |_| {})
                };
                let (one, five) = (with(1), with(5));
                let pairs = one.iter().zip(&five);
                let difference = pairs
                    .map(|(a, b)| {
                        (a.result.episode_return - b.result.episode_return).abs() / a.result.episode_return.abs().max(1.0)
                    })
                    .fold(0.0, f64::max);
                let same = bits(&one) == bits(&five);
                println!("{env_id}, {mixer}, window {window:?}: same bits {same}, largest relative difference {difference:e}");
                assert!(difference < 1e-2, "{env_id}, {mixer}, window {window:?}: {difference:e}");
            }
        }
    }
}
