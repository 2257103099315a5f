//! Actor threads: each owns a vector of environments, the states of their episodes and a copy of the weights.
//!
//! Episodes are numbered; an actor takes the next number whenever one of its environments is free. Every episode has its own seed,
//! and a row's numbers do not depend on its place in the batch or on what the other rows do, so results do not depend on the number
//! of actors, to the bit. They do depend on the number of environments of each, by rounding: matrix products of few rows sum in
//! another order than those of many.

use crate::{
    device::{CPU, Cpu},
    run::interrupt,
    seeds,
};
use aaren_data::{Actions, Trajectory};
use aaren_envs::{Action, Autoreset, Env, EnvError, VectorEnv, derive_seed};
use aaren_policy::{ActionBatch, ActionValue, ActorCriticPolicy, AnyPolicy, DecisionPolicy, PolicyState, Timesteps};
use anyhow::{Context, Result, anyhow, bail, ensure};
use crossbeam::channel::Sender;
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde_json::{Map, Value};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
};

/// What actors are asked for.
#[derive(Clone, Debug)]
pub struct Rollout<'a> {
    /// Registered name of the task.
    pub env_id: &'a str,
    /// Its options.
    pub env_options: &'a Map<String, Value>,
    /// Return to ask for, an episode each, in units of reward. An actor-critic is asked for nothing and does not look at it.
    pub target_returns: Vec<f64>,
    /// Seed of each episode's environment, as many.
    pub seeds: Vec<u64>,
    /// Threads.
    pub actors: usize,
    /// Environments of each thread.
    pub envs_per_actor: usize,
    /// Timesteps that are computed anew at every step; `None` carries the state along. Only for decision policies.
    pub window: Option<usize>,
    /// Whether actions are drawn from the policy's distribution; else they are its mean, or the likeliest. Only for actor-critics.
    pub stochastic: bool,
    /// Whether episodes are kept whole, with their observations, actions and rewards.
    pub record: bool,
}

/// One finished episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// Its number.
    pub index: usize,
    /// Undiscounted sum of rewards.
    pub episode_return: f64,
    /// Environment steps.
    pub length: usize,
    /// Whether the task itself ended it.
    pub terminated: bool,
    /// What was seen, done and rewarded, with the observation after the last action; where it was asked for.
    pub trajectory: Option<Trajectory>,
}

/// Makes an environment; called by every actor for each of its environments.
pub type MakeEnv<'a> = dyn Fn() -> Result<Box<dyn Env>, EnvError> + Sync + 'a;

/// The seeds of episodes, from the root seed of an evaluation.
pub fn episode_seeds(seed: u64, episodes: usize) -> Vec<u64> {
    (0..episodes as u64).map(|episode| derive_seed(seed, &[episode])).collect()
}

/// Plays all episodes and returns them in order. `finished` is called with each as it arrives.
///
/// # Errors
/// The first actor that failed, by its number, with how many episodes the others still finished; or
/// [`crate::run::interrupt::Interrupted`].
pub fn play(policy: &AnyPolicy<Cpu>, rollout: &Rollout, finished: impl FnMut(&Episode)) -> Result<Vec<Episode>> {
    play_in(policy, rollout, &|| aaren_envs::make(rollout.env_id, rollout.env_options), finished)
}

/// [`play`] in environments of the caller's making, which need not be registered.
///
/// # Errors
/// As [`play`].
pub fn play_in(
    policy: &AnyPolicy<Cpu>,
    rollout: &Rollout,
    make: &MakeEnv,
    mut finished: impl FnMut(&Episode),
) -> Result<Vec<Episode>> {
    ensure!(
        rollout.window.is_none() || matches!(policy, AnyPolicy::Decision(_)),
        "only decision policies are executed on a window"
    );
    ensure!(
        !rollout.stochastic || matches!(policy, AnyPolicy::ActorCritic(_)),
        "a decision policy has one action for every moment; only actor-critics draw theirs"
    );
    let (sender, episodes) = crossbeam::channel::unbounded();
    let next = AtomicUsize::new(0);
    let mut results: Vec<Option<Episode>> = vec![None; rollout.seeds.len()];
    let failures: Vec<anyhow::Error> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..rollout.actors)
            .map(|actor| {
                // A module is shared memory with reference counts; every actor holds its own handle.
                let (policy, sender, next) = (policy.clone(), sender.clone(), &next);
                scope.spawn(move || {
                    let outcome = catch_unwind(AssertUnwindSafe(|| Actor::new(policy, rollout, make)?.run(next, &sender)));
                    let outcome = outcome.unwrap_or_else(|panic| bail!("panicked: {}", panic_message(&*panic)));
                    outcome.with_context(|| format!("actor {actor}, {}", rollout.env_id))
                })
            })
            .collect();
        drop(sender);
        for episode in episodes {
            finished(&episode);
            let index = episode.index;
            results[index] = Some(episode);
        }
        let outcomes =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("an actor ended without a word"))));
        outcomes.filter_map(Result::err).collect()
    });
    interrupt::check()?;
    if let Some(failure) = failures.into_iter().next() {
        let done = results.iter().flatten().count();
        return Err(failure.context(format!("{done} of {} episodes finished", results.len())));
    }
    results.into_iter().collect::<Option<_>>().context("episodes were lost")
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".into())
}

/// One timestep of an episode, as the policy will be shown it.
#[derive(Clone, Debug)]
struct Moment {
    observation: Vec<f64>,
    previous_action: Option<ActionBatch>,
    return_to_go: f64,
    timestep: usize,
}

/// The episode in one row of the vector of environments.
#[derive(Clone, Debug)]
struct Row {
    episode: Option<Episode>,
    return_to_go: f64,
    previous_action: Option<ActionBatch>,
    /// The last timesteps, oldest first; only for windowed execution.
    history: VecDeque<Moment>,
    /// The noise of the episode's actions.
    noise: Pcg64Mcg,
}

impl Row {
    fn idle() -> Self {
        let noise = Pcg64Mcg::seed_from_u64(0);
        Row { episode: None, return_to_go: 0.0, previous_action: None, history: VecDeque::new(), noise }
    }
}

struct Actor<'a> {
    policy: AnyPolicy<Cpu>,
    rollout: &'a Rollout<'a>,
    envs: VectorEnv,
    rows: Vec<Row>,
}

impl<'a> Actor<'a> {
    fn new(policy: AnyPolicy<Cpu>, rollout: &'a Rollout<'a>, make: &MakeEnv) -> Result<Self> {
        let envs = (0..rollout.envs_per_actor).map(|_| make()).collect::<Result<_, _>>()?;
        let envs = VectorEnv::new(envs, Autoreset::Disabled)?;
        Ok(Self { policy, rollout, rows: vec![Row::idle(); envs.copies()], envs })
    }

    fn run(mut self, next: &AtomicUsize, finished: &Sender<Episode>) -> Result<()> {
        let copies = self.envs.copies();
        let action_width = self.policy.action().width();
        let mut state = self.policy.initial_state(copies, &CPU);
        let mut timesteps = Timesteps::new();
        loop {
            for row in 0..copies {
                if self.rows[row].episode.is_none() {
                    self.begin(row, next.fetch_add(1, Ordering::Relaxed))?;
                }
            }
            if self.rows.iter().all(|row| row.episode.is_none()) || interrupt::requested() {
                return Ok(());
            }
            let actions;
            (actions, state) = match &self.policy {
                AnyPolicy::Decision(policy) => {
                    decide(policy, self.rollout.window, &self.envs, &mut self.rows, &mut timesteps, state)
                }
                AnyPolicy::ActorCritic(policy) => draw(policy, self.rollout.stochastic, &self.envs, &mut self.rows, state),
            };
            for row in 0..copies {
                if self.rows[row].episode.is_some() {
                    self.step(row, actions.row(row, action_width), finished)?;
                }
            }
        }
    }

    /// Begins an episode in a free row, if there is one left to play.
    fn begin(&mut self, row: usize, index: usize) -> Result<()> {
        let Some(&seed) = self.rollout.seeds.get(index) else { return Ok(()) };
        self.envs.reset_row(row, Some(seed))?;
        let trajectory = self.rollout.record.then(|| Trajectory {
            observations: self.envs.observation(row).to_vec(),
            actions: if self.policy.action().is_discrete() {
                Actions::Discrete(Vec::new())
            } else {
                Actions::Continuous(Vec::new())
            },
            rewards: Vec::new(),
            end: Default::default(),
            seed: Some(seed),
        });
        self.rows[row] = Row {
            episode: Some(Episode { index, episode_return: 0.0, length: 0, terminated: false, trajectory }),
            return_to_go: self.rollout.target_returns[index],
            noise: Pcg64Mcg::seed_from_u64(derive_seed(seed, &[seeds::NOISE])),
            ..Row::idle()
        };
        Ok(())
    }

    /// Takes a step in a row and takes in what it gave, before the next row is stepped: should that one fail, nothing is lost here.
    fn step(&mut self, row: usize, action: ActionValue<'_>, finished: &Sender<Episode>) -> Result<()> {
        let (taken, action) = (action, env_action(action));
        self.envs.step_row(row, action)?;
        let (reward, end) = (self.envs.rewards()[row], self.envs.ends()[row]);
        let (row, observation) = (&mut self.rows[row], self.envs.observation(row));
        row.previous_action = Some(match taken {
            ActionValue::Continuous(action) => ActionBatch::Continuous(action.to_vec()),
            ActionValue::Discrete(action) => ActionBatch::Discrete(vec![action]),
        });
        row.return_to_go -= reward;
        if let Some(episode) = &mut row.episode {
            episode.episode_return += reward;
            episode.length += 1;
            if let Some(trajectory) = &mut episode.trajectory {
                record(trajectory, taken, reward, observation);
                trajectory.end = end;
            }
        }
        if end.is_end()
            && let Some(episode) = row.episode.take()
        {
            // Nobody listens any more only when the job itself has ended.
            let _ = finished.send(Episode { terminated: end.terminated, ..episode });
        }
        Ok(())
    }
}

/// An action as environments take it.
pub fn env_action(action: ActionValue<'_>) -> Action<'_> {
    match action {
        ActionValue::Continuous(action) => Action::F32(action),
        ActionValue::Discrete(action) => Action::Discrete(action),
    }
}

/// Appends a transition: an action, its reward, and the observation that it led to.
pub fn record(trajectory: &mut Trajectory, action: ActionValue<'_>, reward: f64, observation: &[f64]) {
    match (&mut trajectory.actions, action) {
        (Actions::Continuous(actions), ActionValue::Continuous(action)) => actions.extend_from_slice(action),
        (Actions::Discrete(actions), ActionValue::Discrete(action)) => actions.push(action),
        (actions, action) => panic!("{action:?} in a trajectory of {actions:?}"),
    }
    trajectory.rewards.push(reward);
    trajectory.observations.extend_from_slice(observation);
}

/// The actions of a decision policy, with the state after them.
fn decide(
    policy: &DecisionPolicy<Cpu>,
    window: Option<usize>,
    envs: &VectorEnv,
    rows: &mut [Row],
    timesteps: &mut Timesteps,
    state: PolicyState<Cpu>,
) -> (ActionBatch, PolicyState<Cpu>) {
    show(policy, window, envs, rows, timesteps);
    match window {
        Some(_) => (policy.act(timesteps, rows.len(), policy.initial_state(rows.len(), &CPU), &CPU).0, state),
        None => policy.act(timesteps, rows.len(), state, &CPU),
    }
}

/// Shows a decision policy where every row is: its newest timestep, or its window.
fn show(policy: &DecisionPolicy<Cpu>, window: Option<usize>, envs: &VectorEnv, rows: &mut [Row], timesteps: &mut Timesteps) {
    timesteps.clear();
    let description = &policy.description;
    let action_width = description.action.width();
    let idle = vec![0.0; description.normalizer.width()];
    for (index, row) in rows.iter_mut().enumerate() {
        let Some(episode) = &row.episode else {
            // A row without an episode is computed all the same, so that batches always have one shape.
            (0..window.unwrap_or(1)).for_each(|_| timesteps.push(description, &idle, None, 0.0, 0, true));
            continue;
        };
        let observation = envs.observation(index);
        let Some(window) = window else {
            let previous = row.previous_action.as_ref().map(|action| action.row(0, action_width));
            timesteps.push(description, observation, previous, row.return_to_go, episode.length, episode.length == 0);
            continue;
        };
        if row.history.len() == window {
            row.history.pop_front();
        }
        row.history.push_back(Moment {
            observation: observation.to_vec(),
            previous_action: row.previous_action.clone(),
            return_to_go: row.return_to_go,
            timestep: episode.length,
        });
        // What is missing at the front of a window is forgotten by the reset at the first timestep that is there.
        let missing = window - row.history.len();
        (0..missing).for_each(|_| timesteps.push(description, &idle, None, 0.0, 0, true));
        for (i, moment) in row.history.iter().enumerate() {
            let previous = moment.previous_action.as_ref().map(|action| action.row(0, action_width));
            timesteps.push(description, &moment.observation, previous, moment.return_to_go, moment.timestep, i == 0);
        }
    }
}

/// The actions of an actor-critic, with the state after them. Every episode has noise of its own.
fn draw(
    policy: &ActorCriticPolicy<Cpu>,
    stochastic: bool,
    envs: &VectorEnv,
    rows: &mut [Row],
    state: PolicyState<Cpu>,
) -> (ActionBatch, PolicyState<Cpu>) {
    let description = &policy.description;
    let idle = vec![0.0; description.normalizer.width()];
    let (mut observations, mut resets, mut draws) = (Vec::new(), Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        // As above: a row without an episode is computed all the same.
        let length = row.episode.as_ref().map(|episode| episode.length);
        description.push_observation(if length.is_some() { envs.observation(index) } else { &idle }, &mut observations);
        resets.push(length.is_none_or(|length| length == 0));
    }
    let (distributions, state) = policy.act(&observations, &resets, state, &CPU);
    for (index, row) in rows.iter_mut().enumerate() {
        match stochastic {
            true => distributions.sample(index, &mut row.noise, &mut draws),
            false => distributions.mode(index, &mut draws),
        }
    }
    (description.action.execute(&draws), state)
}
