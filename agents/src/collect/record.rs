//! Actor threads that record what they see: whole episodes, each from its own seed, for a dataset.
//!
//! An episode is a function of its number: its seed is derived from it for the environment and again for the draws of actions, and
//! the batch in which a policy computes always has the same shape. So which thread plays it, and when, changes no bit of it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use aaren_data::{Actions, Episode, StepInfos, Trajectory};
use aaren_envs::{Action, Autoreset, Generator, Space, Spec, StepEnd, VectorEnv, derive_seed};
use anyhow::{Context, Result, anyhow, bail};
use crossbeam::channel::Sender;
use serde_json::{Map, Value};

use super::behaviour::{Behaviour, Choices, Chooser};
use crate::{play::episodes::panic_message, run::interrupt};

/// What actors are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Rollout<'a> {
    /// Registered name of the task.
    pub env_id: &'a str,
    /// Its options.
    pub env_options: &'a Map<String, Value>,
    /// Root of the episodes' seeds.
    pub seed: u64,
    /// Threads.
    pub actors: usize,
    /// Environments of each thread: the shape of the batch in which a policy computes.
    pub envs_per_actor: usize,
}

/// Plays the episodes that `next` names until it names no more, and hands each to `finished` in this thread as it ends.
///
/// `finished` says whether to go on. When it says no, or fails, episodes under way are given up. `next` is called by the actors.
///
/// # Errors
/// The first actor that failed, what `finished` returned, or [`interrupt::Interrupted`].
pub fn record(
    behaviour: &Behaviour,
    rollout: &Rollout,
    next: impl FnMut() -> Option<u64> + Send,
    mut finished: impl FnMut(u64, Episode) -> Result<bool>,
) -> Result<()> {
    let (next, stop) = (Mutex::new(next), AtomicBool::new(false));
    let next = || (next.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))();
    // Bounded, so that a slow disk holds the actors back and not the memory.
    let (sender, episodes) = crossbeam::channel::bounded(2 * rollout.actors);
    let failures: Vec<anyhow::Error> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..rollout.actors)
            .map(|actor| {
                let (behaviour, sender, next, stop) = (behaviour.clone(), sender.clone(), &next, &stop);
                scope.spawn(move || {
                    let play = || Recorder::new(behaviour, rollout)?.run(next, stop, &sender);
                    let outcome = catch_unwind(AssertUnwindSafe(play));
                    let outcome = outcome.unwrap_or_else(|panic| bail!("panicked: {}", panic_message(&*panic)));
                    if outcome.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    outcome.with_context(|| format!("actor {actor}, {}", rollout.env_id))
                })
            })
            .collect();
        drop(sender);
        let mut failure = None;
        for (index, episode) in episodes {
            if failure.is_some() {
                continue; // the actors must not wait for a place in the channel
            }
            match finished(index, episode) {
                Ok(true) => {}
                Ok(false) => stop.store(true, Ordering::Relaxed),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    failure = Some(error);
                }
            }
        }
        let outcomes =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("an actor ended without a word"))));
        failure.into_iter().chain(outcomes.filter_map(Result::err)).collect()
    });
    match failures.into_iter().next() {
        Some(failure) => Err(failure),
        None => Ok(interrupt::check()?),
    }
}

/// The seed of an episode's environment, which the dataset stores.
pub fn episode_seed(root: u64, index: u64) -> u64 {
    derive_seed(root, &[index, 0])
}

/// The seed of an episode's draws of actions.
fn action_seed(root: u64, index: u64) -> u64 {
    derive_seed(root, &[index, 1])
}

/// One actor.
struct Recorder<'a> {
    rollout: &'a Rollout<'a>,
    chooser: Box<dyn Chooser>,
    envs: VectorEnv,
    spec: Spec,
    /// The episode in each row, if there is one.
    rows: Vec<Option<(u64, Episode)>>,
    /// Positions in a state of the simulator, where it has one.
    qpos_width: Option<usize>,
    state: Vec<f64>,
}

impl<'a> Recorder<'a> {
    fn new(behaviour: Behaviour, rollout: &'a Rollout<'a>) -> Result<Self> {
        let copies = rollout.envs_per_actor;
        let envs = VectorEnv::make(rollout.env_id, rollout.env_options, copies, Autoreset::Disabled)?;
        let (spec, qpos_width) = (envs.spec().clone(), envs.env(0).qpos_width());
        let chooser = behaviour.chooser(&spec, copies);
        Ok(Self { rollout, chooser, rows: (0..copies).map(|_| None).collect(), spec, qpos_width, envs, state: Vec::new() })
    }

    fn run(
        mut self,
        next: &(dyn Fn() -> Option<u64> + Sync),
        stop: &AtomicBool,
        finished: &Sender<(u64, Episode)>,
    ) -> Result<()> {
        let copies = self.envs.copies();
        let mut choices = Choices::default();
        loop {
            if stop.load(Ordering::Relaxed) || interrupt::requested() {
                return Ok(());
            }
            for row in 0..copies {
                if self.rows[row].is_none()
                    && let Some(index) = next()
                {
                    self.begin(row, index)?;
                }
            }
            if self.rows.iter().all(Option::is_none) {
                return Ok(());
            }
            let active: Vec<bool> = self.rows.iter().map(Option::is_some).collect();
            self.chooser.choose(self.envs.observations(), &active, &mut choices);
            for row in (0..copies).filter(|&row| active[row]) {
                if let Some(episode) = self.step(row, &choices)? {
                    // Nobody listens any more only when the collection itself has ended.
                    let _ = finished.send(episode);
                }
            }
        }
    }

    fn begin(&mut self, row: usize, index: u64) -> Result<()> {
        let seed = episode_seed(self.rollout.seed, index);
        self.envs.reset_row(row, Some(seed))?;
        self.chooser.begin(row, action_seed(self.rollout.seed, index));
        let actions = match self.spec.action_space {
            Space::Discrete { .. } => Actions::Discrete(Vec::new()),
            Space::Box { .. } => Actions::Continuous(Vec::new()),
        };
        let trajectory = Trajectory {
            observations: self.envs.observation(row).to_vec(),
            actions,
            rewards: Vec::new(),
            end: StepEnd::default(),
            seed: Some(seed),
        };
        let infos = StepInfos {
            action_log_probs: self.chooser.is_random().then(Vec::new),
            qpos: self.qpos_width.map(|_| Vec::new()),
            qvel: self.qpos_width.map(|_| Vec::new()),
        };
        self.rows[row] = Some((index, Episode { trajectory, infos }));
        Ok(())
    }

    /// Takes a step in a row and gives back its episode if that ended it.
    fn step(&mut self, row: usize, choices: &Choices) -> Result<Option<(u64, Episode)>> {
        let Some((index, Episode { trajectory, infos })) = &mut self.rows[row] else { return Ok(None) };
        if let (Some(width), Some(qpos), Some(qvel)) = (self.qpos_width, &mut infos.qpos, &mut infos.qvel) {
            self.state.clear();
            self.envs.env(row).state(&mut self.state)?;
            qpos.extend_from_slice(&self.state[..width]);
            qvel.extend_from_slice(&self.state[width..]);
        }
        let width = self.spec.action_space.width();
        let action = match &mut trajectory.actions {
            Actions::Continuous(actions) => {
                let action = &choices.continuous[row * width..][..width];
                actions.extend_from_slice(action);
                Action::F32(action)
            }
            Actions::Discrete(actions) => {
                actions.push(choices.discrete[row]);
                Action::Discrete(choices.discrete[row])
            }
        };
        if let Some(log_probs) = &mut infos.action_log_probs {
            log_probs.push(choices.log_probs[row]);
        }
        let number = *index;
        self.envs.step_row(row, action).with_context(|| format!("episode {number}"))?;
        trajectory.observations.extend_from_slice(self.envs.observation(row));
        trajectory.rewards.push(self.envs.rewards()[row]);
        trajectory.end = self.envs.ends()[row];
        Ok(if trajectory.end.is_end() { self.rows[row].take() } else { None })
    }
}

/// Draws uniformly from the action space.
pub(super) struct Uniform {
    space: Space,
    generators: Vec<Generator>,
    /// The same for every action.
    log_prob: f32,
    draw: Vec<f64>,
}

impl Uniform {
    pub(super) fn new(space: &Space, rows: usize) -> Self {
        let log_prob = match space {
            Space::Discrete { n, .. } => -(*n as f64).ln(),
            Space::Box { low, high, .. } => low.iter().zip(high).map(|(low, high)| -(high - low).ln()).sum(),
        };
        Self {
            space: space.clone(),
            generators: vec![Generator::from_seed(0); rows],
            log_prob: log_prob as f32,
            draw: vec![0.0; space.width()],
        }
    }
}

impl Chooser for Uniform {
    fn begin(&mut self, row: usize, seed: u64) {
        self.generators[row] = Generator::from_seed(seed);
    }

    fn is_random(&self) -> bool {
        true
    }

    fn choose(&mut self, _: &[f64], active: &[bool], choices: &mut Choices) {
        choices.clear();
        choices.log_probs.resize(active.len(), self.log_prob);
        for (generator, &active) in self.generators.iter_mut().zip(active) {
            if self.space.is_discrete() {
                choices.discrete.push(if active { self.space.sample_index(generator) } else { 0 });
            } else {
                if active {
                    self.space.sample(generator, &mut self.draw);
                }
                choices.continuous.extend(self.draw.iter().map(|&number| number as f32));
            }
        }
    }
}
