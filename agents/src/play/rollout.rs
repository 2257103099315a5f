//! Rollouts: groups of environments that a thread steps with one policy, each environment with seeds and noise of its own.
//!
//! Groups have a fixed size and membership, so what they give does not depend on how many threads play them. When a rollout
//! begins, every environment is put into the state that it is in: that clears what a simulator remembers besides (a solver's warm
//! start), so that a run resumed from stored states goes on as the unbroken one does, to the bit.

use crate::{
    device::{CPU, Cpu},
    play::episodes::{env_action, panic_message, record},
    seeds,
};
use aaren_data::{Actions, Trajectory};
use aaren_envs::{Env, EnvError, Spec, StepEnd, derive_seed};
use aaren_policy::{ActionValue, ActorCriticPolicy, PolicyState, StateRecord};
use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// One environment's part of a rollout.
#[derive(Clone, Debug, Default)]
pub struct Rollout {
    /// As the environment showed them, `[time, observation width]`.
    pub raw_observations: Vec<f64>,
    /// As the policy saw them, `[time, observation width]`.
    pub observations: Vec<f32>,
    /// Whether each timestep is the first of its episode, `[time]`.
    pub resets: Vec<bool>,
    /// What the policy drew, before it was held to the bounds: `[time, action width]`.
    pub draws: Vec<f32>,
    /// Of the draws, under the policy that acted: `[time]`.
    pub log_probs: Vec<f32>,
    /// Raw, `[time]`.
    pub rewards: Vec<f64>,
    /// `[time]`
    pub ends: Vec<StepEnd>,
    /// The observation after every truncated step, as the policy would have seen it: `[truncated steps, observation width]`.
    pub last_observations: Vec<f32>,
    /// The observation after the last step, where its episode goes on: `[observation width]`, or nothing.
    pub next_observation: Vec<f32>,
    /// Episodes that ended, with the timestep that ended them.
    pub episodes: Vec<(usize, FinishedEpisode)>,
}

/// An episode that training played.
#[derive(Clone, Debug)]
pub struct FinishedEpisode {
    /// Undiscounted sum of raw rewards.
    pub episode_return: f64,
    /// Environment steps.
    pub length: usize,
    /// All of it, where it was asked for.
    pub trajectory: Option<Trajectory>,
}

/// An environment between two steps, all that must be stored to go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Of the simulation, as [`Env::state`] gives it.
    state: Vec<f64>,
    /// What the policy will be shown next.
    observation: Vec<f64>,
    /// Episodes begun before this one.
    episode: u64,
    /// Steps of the episode so far.
    length: usize,
    /// Their rewards.
    episode_return: f64,
    /// The episode so far, where it is recorded.
    recorded: Option<Recorded>,
}

/// A trajectory that can be stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Recorded {
    observations: Vec<f64>,
    continuous: Vec<f32>,
    discrete: Vec<i64>,
    rewards: Vec<f64>,
    seed: u64,
}

/// One environment and where its episode is.
struct Slot {
    env: Box<dyn Env>,
    /// Its number among all environments, which is its place in the tree of seeds.
    index: u64,
    place: Place,
    trajectory: Option<Trajectory>,
    noise: Pcg64Mcg,
    rollout: Rollout,
}

/// How groups play.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    /// The job's seed.
    pub seed: u64,
    /// Rollouts before this one.
    pub iteration: u64,
    /// Timesteps.
    pub rollout_len: usize,
    /// The task's time limit. Counted here, because a simulation's state does not hold the steps of its episode: the limit around the
    /// task begins anew with every rollout, so it never comes earlier.
    pub time_limit: Option<usize>,
    /// Whether episodes are kept whole.
    pub record: bool,
}

/// Environments that are stepped together.
pub struct Group {
    slots: Vec<Slot>,
    /// What the policy carries from here on.
    state: PolicyState<Cpu>,
    /// What it carried when the rollout began.
    first_state: PolicyState<Cpu>,
}

/// A group between two rollouts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredGroup {
    places: Vec<Place>,
    state: Vec<StateRecord>,
}

impl Group {
    /// Environments `first`, `first + 1`, ... at the start of their first episodes.
    ///
    /// # Errors
    /// Those of `make` and of the reset; or [`EnvError::Unsupported`] for a task whose state cannot be read.
    pub fn new(
        make: &dyn Fn() -> Result<Box<dyn Env>, EnvError>,
        policy: &ActorCriticPolicy<Cpu>,
        first: usize,
        envs: usize,
        play: &Play,
    ) -> Result<Self> {
        let slot = |index: usize| -> Result<Slot> {
            let env = make()?;
            let place = Place {
                state: Vec::new(),
                observation: vec![0.0; env.spec().observation_space.width()],
                episode: 0,
                length: 0,
                episode_return: 0.0,
                recorded: None,
            };
            let noise = Pcg64Mcg::seed_from_u64(0);
            let mut slot = Slot { env, index: index as u64, place, trajectory: None, noise, rollout: Rollout::default() };
            slot.begin(0, play)?;
            Ok(slot)
        };
        let slots = (first..first + envs).map(slot).collect::<Result<_>>()?;
        let state = policy.initial_state(envs, &CPU);
        Ok(Self { slots, first_state: state.clone(), state })
    }

    /// What [`Group::restore`] needs.
    ///
    /// # Errors
    /// [`EnvError::Unsupported`].
    pub fn store(&mut self) -> Result<StoredGroup> {
        let place = |slot: &mut Slot| -> Result<Place> {
            slot.place.state.clear();
            slot.env.state(&mut slot.place.state)?;
            Ok(Place { recorded: slot.trajectory.as_ref().map(Recorded::of), ..slot.place.clone() })
        };
        Ok(StoredGroup { places: self.slots.iter_mut().map(place).collect::<Result<_>>()?, state: self.state.to_records() })
    }

    /// Goes on where a stored group was.
    ///
    /// # Errors
    /// If what was stored is not of this task or policy.
    pub fn restore(&mut self, stored: StoredGroup, policy: &ActorCriticPolicy<Cpu>) -> Result<()> {
        anyhow::ensure!(
            stored.places.len() == self.slots.len(),
            "{} environments in a group, expected {}",
            stored.places.len(),
            self.slots.len()
        );
        for (slot, mut place) in self.slots.iter_mut().zip(stored.places) {
            let is_discrete = slot.env.spec().action_space.is_discrete();
            let mut shown = vec![0.0; place.observation.len()];
            slot.env.set_state(&place.state, &mut shown)?;
            slot.trajectory = place.recorded.take().map(|recorded| recorded.into_trajectory(is_discrete));
            slot.place = place;
        }
        self.state = policy.network.restore_state(stored.state, &CPU)?;
        Ok(())
    }

    /// What the policy carried when the last rollout began.
    pub fn first_state(&self) -> &PolicyState<Cpu> {
        &self.first_state
    }

    /// The last rollout, an environment each.
    pub fn rollouts(&self) -> impl Iterator<Item = &Rollout> {
        self.slots.iter().map(|slot| &slot.rollout)
    }

    /// Takes the episodes that ended in the last rollout, with the timestep that ended them and the environment's number.
    pub fn take_episodes(&mut self) -> impl Iterator<Item = (usize, u64, FinishedEpisode)> {
        self.slots.iter_mut().flat_map(|slot| {
            let index = slot.index;
            slot.rollout.episodes.drain(..).map(move |(timestep, episode)| (timestep, index, episode))
        })
    }

    /// Plays `rollout_len` timesteps in every environment.
    ///
    /// # Errors
    /// An environment that fails, with its number.
    pub fn play(&mut self, policy: &ActorCriticPolicy<Cpu>, play: &Play) -> Result<()> {
        let description = &policy.description;
        let width = description.action.width();
        for slot in &mut self.slots {
            slot.begin_rollout(play)?;
        }
        // What a state keeps of the weights themselves, such as a long convolution's filters, is of the policy before the update.
        let mut state = self.state.clone().detach();
        self.state = state.clone();
        self.first_state = std::mem::replace(&mut self.state, policy.initial_state(1, &CPU));
        let (mut observations, mut resets, mut draws) = (Vec::new(), Vec::new(), Vec::new());
        for t in 0..play.rollout_len {
            observations.clear();
            resets.clear();
            draws.clear();
            for slot in &self.slots {
                description.push_observation(&slot.place.observation, &mut observations);
                resets.push(slot.place.length == 0);
            }
            let distributions;
            (distributions, state) = policy.act(&observations, &resets, state, &CPU);
            let shown = observations.chunks_exact(description.normalizer.width());
            for (row, (slot, shown)) in self.slots.iter_mut().zip(shown).enumerate() {
                distributions.sample(row, &mut slot.noise, &mut draws);
                let draw = &draws[row * width..];
                slot.rollout.raw_observations.extend_from_slice(&slot.place.observation);
                slot.rollout.observations.extend_from_slice(shown);
                slot.rollout.resets.push(resets[row]);
                slot.rollout.draws.extend_from_slice(draw);
                slot.rollout.log_probs.push(distributions.log_prob(row, draw));
            }
            let actions = description.action.execute(&draws);
            for (row, slot) in self.slots.iter_mut().enumerate() {
                let end = slot.step(actions.row(row, width), play).with_context(|| format!("environment {}", slot.index))?;
                if end.truncated && !end.terminated {
                    description.push_observation(&slot.place.observation, &mut slot.rollout.last_observations);
                }
                if end.is_end() {
                    slot.finish(t, end);
                    slot.begin(slot.place.episode + 1, play).with_context(|| format!("environment {}", slot.index))?;
                } else if t + 1 == play.rollout_len {
                    description.push_observation(&slot.place.observation, &mut slot.rollout.next_observation);
                }
            }
        }
        self.state = state;
        Ok(())
    }
}

impl Slot {
    /// Begins an episode.
    fn begin(&mut self, episode: u64, play: &Play) -> Result<()> {
        let seed = derive_seed(play.seed, &[seeds::TRAINING_EPISODES, self.index, episode]);
        self.env.reset(Some(seed), &mut self.place.observation)?;
        (self.place.episode, self.place.length, self.place.episode_return) = (episode, 0, 0.0);
        self.trajectory = play.record.then(|| {
            let is_discrete = self.env.spec().action_space.is_discrete();
            let recorded = Recorded {
                observations: self.place.observation.clone(),
                continuous: Vec::new(),
                discrete: Vec::new(),
                rewards: Vec::new(),
                seed,
            };
            recorded.into_trajectory(is_discrete)
        });
        Ok(())
    }

    fn begin_rollout(&mut self, play: &Play) -> Result<()> {
        self.rollout = Rollout::default();
        self.noise = Pcg64Mcg::seed_from_u64(derive_seed(play.seed, &[seeds::NOISE, self.index, play.iteration]));
        // What it shows may differ in the last bits from what the step showed; the policy goes on with the latter.
        let mut shown = vec![0.0; self.place.observation.len()];
        self.place.state.clear();
        self.env.state(&mut self.place.state)?;
        self.env.set_state(&self.place.state, &mut shown)?;
        Ok(())
    }

    fn step(&mut self, action: ActionValue<'_>, play: &Play) -> Result<StepEnd> {
        let step = self.env.step(env_action(action), &mut self.place.observation)?;
        self.place.length += 1;
        self.place.episode_return += step.reward;
        let limit_reached = play.time_limit.is_some_and(|limit| self.place.length >= limit);
        let end = StepEnd { truncated: step.end.truncated || limit_reached, ..step.end };
        self.rollout.rewards.push(step.reward);
        self.rollout.ends.push(end);
        if let Some(trajectory) = &mut self.trajectory {
            record(trajectory, action, step.reward, &self.place.observation);
        }
        Ok(end)
    }

    fn finish(&mut self, timestep: usize, end: StepEnd) {
        let trajectory = self.trajectory.take().map(|trajectory| Trajectory { end, ..trajectory });
        let Place { episode_return, length, .. } = self.place;
        self.rollout.episodes.push((timestep, FinishedEpisode { episode_return, length, trajectory }));
    }
}

impl Recorded {
    fn of(trajectory: &Trajectory) -> Self {
        let (continuous, discrete) = match &trajectory.actions {
            Actions::Continuous(actions) => (actions.clone(), Vec::new()),
            Actions::Discrete(actions) => (Vec::new(), actions.clone()),
        };
        let (observations, rewards) = (trajectory.observations.clone(), trajectory.rewards.clone());
        Self { observations, continuous, discrete, rewards, seed: trajectory.seed.unwrap_or(0) }
    }

    fn into_trajectory(self, is_discrete: bool) -> Trajectory {
        Trajectory {
            observations: self.observations,
            actions: if is_discrete { Actions::Discrete(self.discrete) } else { Actions::Continuous(self.continuous) },
            rewards: self.rewards,
            end: StepEnd::default(),
            seed: Some(self.seed),
        }
    }
}

/// Plays all groups with as many threads.
///
/// # Errors
/// The first group's that failed, by its number; or a panic, named.
pub fn play_all(groups: &mut [Group], policy: &ActorCriticPolicy<Cpu>, play: &Play, actors: usize, spec: &Spec) -> Result<()> {
    let queue = crossbeam::queue::SegQueue::new();
    groups.iter_mut().enumerate().for_each(|group| queue.push(group));
    let mut failures: Vec<(usize, anyhow::Error)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..actors)
            .map(|_| {
                let (queue, policy) = (&queue, policy.clone());
                scope.spawn(move || {
                    let mut failures = Vec::new();
                    while let Some((index, group)) = queue.pop() {
                        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| group.play(&policy, play)));
                        let played = played.unwrap_or_else(|panic| Err(anyhow::anyhow!("panicked: {}", panic_message(&*panic))));
                        failures.extend(played.err().map(|error| (index, error)));
                    }
                    failures
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    failures.sort_by_key(|(index, _)| *index);
    match failures.into_iter().next() {
        Some((_, error)) => Err(error.context(spec.id.clone())),
        None => Ok(()),
    }
}
