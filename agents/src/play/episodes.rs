//! Episodes in actor threads: each owns a vector of environments and an agent.
//!
//! Episodes are numbered; an actor takes the next one whenever one of its environments is free. Every episode has seeds of its own,
//! and a row's numbers do not depend on its place in the batch or on what the other rows do, so results do not depend on the number
//! of actors, to the bit. They do depend on the number of environments of each, by rounding: matrix products of few rows sum in
//! another order than those of many.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use aaren_data::{Episode, StepInfos, Trajectory};
use aaren_envs::{Action, Autoreset, Env, EnvError, Moment, Space, Spec, Step, StepEnd, VectorEnv, make_copies};
use aaren_policy::{ActionValue, NO_CHOICE};
use anyhow::{Context, Result, anyhow, bail, ensure};
use crossbeam::channel::Sender;
use serde::{Deserialize, Serialize};

use super::agent::{Actions, Agent};
use crate::run::interrupt;
use crate::run::process::panic_message;

/// Makes an environment; called by every actor for each of its environments.
pub(crate) type MakeEnv<'a> = dyn Fn() -> Result<Box<dyn Env>, EnvError> + Sync + 'a;

/// Makes an agent for a task and a number of rows; called by every actor.
pub(crate) type MakeAgent<'a> = dyn Fn(&Spec, usize) -> Result<Box<dyn Agent>> + Sync + 'a;

/// Where an episode begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct EpisodeStart {
    /// Its number.
    pub index: u64,
    /// Seed of the environment.
    pub seed: u64,
    /// Seed of the agent's random numbers.
    pub action_seed: u64,
    /// Return to ask for, in units of reward; for agents that are told one.
    pub target_return: f64,
    /// Whether its moments are kept, to be drawn.
    pub keeps_moments: bool,
}

/// An episode that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct PlayedEpisode {
    /// Its number.
    pub index: u64,
    /// What came of it.
    pub result: EpisodeResult,
    /// All of it, with the observation after the last action; where it was asked for.
    pub recorded: Option<Episode>,
    /// What can be drawn of it; where it was asked for.
    pub(crate) moments: Option<Vec<Moment>>,
}

/// What came of an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpisodeResult {
    /// Undiscounted sum of rewards.
    pub episode_return: f64,
    /// Environment steps.
    pub length: usize,
    /// Whether the task itself ended it.
    pub terminated: bool,
    /// Whether the simulation diverged, and so ended it; it then counts as truncated.
    pub diverged: bool,
}

/// Who plays, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actors<'a> {
    /// The task's name, for errors.
    pub env_id: &'a str,
    /// Actor threads.
    pub threads: usize,
    /// Environments of each: the shape of the batch in which a policy computes.
    pub envs_per_actor: usize,
    /// Whether episodes are kept whole.
    pub records: bool,
    /// Whether an actor that fails stops the others; else they play on until no episode is left.
    pub stops_on_failure: bool,
    /// Whether the actors stop when the user asks the job to; else they play on until no episode is left.
    pub stops_when_asked: bool,
}

/// Plays the episodes that `next` names until it names no more, and hands each to `finished` in this thread as it ends.
///
/// `finished` says whether to keep playing. When it says no, or fails, episodes under way are given up. `next` is called by the
/// actors.
///
/// # Errors
/// What `finished` returned, the first actor that failed, by its number, or [`interrupt::Interrupted`].
pub(crate) fn play_episodes(
    make_env: &MakeEnv,
    make_agent: &MakeAgent,
    actors: Actors,
    next: impl FnMut() -> Option<EpisodeStart> + Send,
    mut finished: impl FnMut(PlayedEpisode) -> Result<bool>,
) -> Result<()> {
    let (next, stop) = (Mutex::new(next), AtomicBool::new(false));
    let next = || (next.lock().unwrap_or_else(PoisonError::into_inner))();
    // Bounded, so that a slow disk holds the actors back and not the memory.
    let (sender, episodes) = crossbeam::channel::bounded(2 * actors.threads);
    let failures: Vec<anyhow::Error> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..actors.threads)
            .map(|number| {
                let (sender, next, stop) = (sender.clone(), &next, &stop);
                let started = std::thread::Builder::new().spawn_scoped(scope, move || {
                    let play = || Actor::new(make_env, make_agent, actors)?.run(next, stop, &sender);
                    let outcome = catch_unwind(AssertUnwindSafe(play));
                    let outcome = outcome.unwrap_or_else(|panic| bail!("panicked: {}", panic_message(&*panic)));
                    if outcome.is_err() && actors.stops_on_failure {
                        stop.store(true, Ordering::Relaxed);
                    }
                    outcome.with_context(|| format!("actor {number}, {}", actors.env_id))
                });
                // The others shall not play to the end what is then thrown away.
                started
                    .inspect_err(|_| stop.store(true, Ordering::Relaxed))
                    .with_context(|| too_many_actors(number, actors.threads))
            })
            .collect();
        drop(sender);
        let mut failure = None;
        for episode in episodes {
            if failure.is_some() {
                continue; // the actors must not wait for a place in the channel
            }
            match finished(episode) {
                Ok(true) => {}
                Ok(false) => stop.store(true, Ordering::Relaxed),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    failure = Some(error);
                }
            }
        }
        let outcomes = threads.into_iter().map(|thread| {
            thread.and_then(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("an actor ended without a word"))))
        });
        failure.into_iter().chain(outcomes.filter_map(Result::err)).collect()
    });
    match failures.into_iter().next() {
        Some(failure) => Err(failure),
        None if actors.stops_when_asked => Ok(interrupt::check()?),
        None => Ok(()),
    }
}

/// What to say of an actor thread, counted from 0, that could not be started.
pub(crate) fn too_many_actors(number: usize, threads: usize) -> String {
    format!("the system has no room for actor thread {} of {threads}; ask for fewer actors", number + 1)
}

/// Says that the simulation of an episode diverged. Of very many only the first are named; reports count them all.
pub(crate) fn warn_of_divergence(episode: impl Display, error: &EnvError) {
    const NAMED: usize = 10;
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    match SEEN.fetch_add(1, Ordering::Relaxed) + 1 {
        seen if seen < NAMED => tracing::warn!("{episode} ends here, as truncated: {error}"),
        NAMED => tracing::warn!("{episode} ends here, as truncated: {error}; further ones are only counted"),
        _ => {}
    }
}

/// One actor thread's environments and agent.
struct Actor {
    agent: Box<dyn Agent>,
    envs: VectorEnv,
    spec: Spec,
    records: bool,
    stops_when_asked: bool,
    /// The episode in each row, if there is one.
    rows: Vec<Option<PlayedEpisode>>,
    /// Positions in a state of the simulator, where it has one.
    qpos_width: Option<usize>,
    state: Vec<f64>,
}

impl Actor {
    fn new(make_env: &MakeEnv, make_agent: &MakeAgent, actors: Actors) -> Result<Self> {
        let copies = actors.envs_per_actor;
        let envs = VectorEnv::new(make_copies(make_env, copies)?, Autoreset::Disabled)?;
        let (spec, qpos_width) = (envs.spec().clone(), envs.env(0).qpos_width());
        let agent = make_agent(&spec, copies)?;
        let Actors { records, stops_when_asked, .. } = actors;
        let rows = vec![None; copies];
        Ok(Self { agent, rows, records, stops_when_asked, spec, qpos_width, envs, state: Vec::new() })
    }

    fn run(
        mut self,
        next: &(dyn Fn() -> Option<EpisodeStart> + Sync),
        stop: &AtomicBool,
        finished: &Sender<PlayedEpisode>,
    ) -> Result<()> {
        let mut actions = Actions::default();
        loop {
            if stop.load(Ordering::Relaxed) || self.stops_when_asked && interrupt::requested() {
                return Ok(());
            }
            for row in 0..self.rows.len() {
                if self.rows[row].is_none()
                    && let Some(start) = next()
                {
                    self.begin(row, start)?;
                }
            }
            let active: Vec<bool> = self.rows.iter().map(Option::is_some).collect();
            if !active.contains(&true) {
                return Ok(());
            }
            self.agent.act(self.envs.observations(), &active, &mut actions);
            for row in (0..active.len()).filter(|&row| active[row]) {
                // An action that is none is said when its row is stepped.
                if let Ok(action) = env_action(actions.executed.row(row, self.spec.action_space.width())) {
                    self.envs.announce_row(row, action);
                }
            }
            for row in (0..active.len()).filter(|&row| active[row]) {
                // Every row is stepped and handed over before the next: should that one fail, nothing is lost here.
                if let Some(episode) = self.step(row, &actions)? {
                    // The receiver is gone only when the job itself has ended.
                    let _ = finished.send(episode);
                }
            }
        }
    }

    fn begin(&mut self, row: usize, start: EpisodeStart) -> Result<()> {
        self.envs.reset_row(row, Some(start.seed))?;
        self.agent.begin(row, start.action_seed, start.target_return);
        let recorded = self.records.then(|| Episode {
            trajectory: begin_trajectory(&self.spec, self.envs.observation(row), start.seed),
            infos: StepInfos {
                action_log_probs: self.agent.is_random().then(Vec::new),
                qpos: self.qpos_width.map(|_| Vec::new()),
                qvel: self.qpos_width.map(|_| Vec::new()),
            },
        });
        let moments = if start.keeps_moments { Some(vec![moment(self.envs.env(row), None, 0.0)?]) } else { None };
        self.rows[row] = Some(PlayedEpisode { index: start.index, result: EpisodeResult::default(), recorded, moments });
        Ok(())
    }

    /// Takes a step in a row and gives back its episode if that ended it.
    fn step(&mut self, row: usize, actions: &Actions) -> Result<Option<PlayedEpisode>> {
        let Some(episode) = &mut self.rows[row] else { return Ok(None) };
        if let Some(Episode { infos, .. }) = &mut episode.recorded {
            if let (Some(width), Some(qpos), Some(qvel)) = (self.qpos_width, &mut infos.qpos, &mut infos.qvel) {
                self.state.clear();
                self.envs.env(row).state(&mut self.state)?;
                qpos.extend_from_slice(&self.state[..width]);
                qvel.extend_from_slice(&self.state[width..]);
            }
            if let Some(log_probs) = &mut infos.action_log_probs {
                log_probs.push(actions.log_probs[row]);
            }
        }
        let action = actions.executed.row(row, self.spec.action_space.width());
        let taken = env_action(action).with_context(|| format!("episode {}", episode.index))?;
        let Step { reward, end } = match self.envs.step_row(row, taken) {
            Ok(()) => Step { reward: self.envs.rewards()[row], end: self.envs.ends()[row] },
            Err(EnvError::Row { source, .. }) if source.is_divergence() => {
                warn_of_divergence(format_args!("episode {}", episode.index), &source);
                episode.result.diverged = true;
                Step::DIVERGED
            }
            Err(error) => return Err(error).with_context(|| format!("episode {}", episode.index)),
        };
        if let (Some(moments), false) = (&mut episode.moments, episode.result.diverged) {
            moments.push(moment(self.envs.env(row), Some(action), reward)?);
        }
        self.agent.reward(row, reward);
        episode.result.episode_return += reward;
        episode.result.length += 1;
        episode.result.terminated = end.terminated;
        if let Some(Episode { trajectory, .. }) = &mut episode.recorded {
            push_transition(trajectory, action, reward, self.envs.observation(row));
            trajectory.end = end;
        }
        Ok(if end.is_end() { self.rows[row].take() } else { None })
    }
}

/// Where an episode is, and what led there.
fn moment(env: &dyn Env, action: Option<ActionValue<'_>>, reward: f64) -> Result<Moment> {
    let mut state = Vec::new();
    env.state(&mut state)?;
    let action = match action {
        Some(ActionValue::Continuous(action)) => action.iter().copied().map(f64::from).collect(),
        Some(ActionValue::Discrete(action)) => vec![action as f64],
        None => Vec::new(),
    };
    Ok(Moment { state, action, reward })
}

/// An action as environments take it.
///
/// # Errors
/// For a policy that computed NaN.
pub(crate) fn env_action(action: ActionValue<'_>) -> Result<Action<'_>> {
    let is_broken = match action {
        ActionValue::Continuous(action) => action.iter().any(|component| component.is_nan()),
        ActionValue::Discrete(action) => action == NO_CHOICE,
    };
    ensure!(!is_broken, "the policy's action is not a number (NaN): its weights are damaged, or its target return is too large");
    Ok(match action {
        ActionValue::Continuous(action) => Action::F32(action),
        ActionValue::Discrete(action) => Action::Discrete(action),
    })
}

/// A trajectory that has its first observation alone.
pub(crate) fn begin_trajectory(spec: &Spec, observation: &[f64], seed: u64) -> Trajectory {
    let actions = match spec.action_space {
        Space::Discrete { .. } => aaren_data::Actions::Discrete(Vec::new()),
        Space::Box { .. } => aaren_data::Actions::Continuous(Vec::new()),
    };
    Trajectory { observations: observation.to_vec(), actions, rewards: Vec::new(), end: StepEnd::default(), seed: Some(seed) }
}

/// Appends a transition: an action, its reward, and the observation that it led to.
pub(crate) fn push_transition(trajectory: &mut Trajectory, action: ActionValue<'_>, reward: f64, observation: &[f64]) {
    match (&mut trajectory.actions, action) {
        (aaren_data::Actions::Continuous(actions), ActionValue::Continuous(action)) => actions.extend_from_slice(action),
        (aaren_data::Actions::Discrete(actions), ActionValue::Discrete(action)) => actions.push(action),
        (actions, action) => panic!("{action:?} in a trajectory of {actions:?}"),
    }
    trajectory.rewards.push(reward);
    trajectory.observations.extend_from_slice(observation);
}
