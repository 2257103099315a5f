//! Rollouts: groups of environments that a thread steps with one policy, each environment with seeds and noise of its own.
//!
//! Groups have a fixed size and membership, so what they give does not depend on how many threads play them. When a rollout
//! begins, every environment is put into the state that it is in: that clears what a simulator remembers besides (a solver's warm
//! start), so that a run resumed from stored states continues as the unbroken one does, to the bit. Environments without a state that
//! can be stored go on as they are, and begin new episodes when a run is resumed.

use super::agent::{Actions, ActorCriticAgent, Agent};
use super::episodes::{begin_trajectory, env_action, push_transition, warn_of_divergence};
use super::group_rollout::{FinishedEpisode, GroupRollout, Rollout};
use crate::device::{CPU, Cpu};
use crate::seeds;
use aaren_data::Trajectory;
use aaren_envs::{Env, EnvError, Space, Step, StepEnd, derive_seed, make_copies};
use aaren_policy::{ActionValue, ActorCriticPolicy, PolicyState, PreviousStep, StateRecord};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// More episodes or steps than any training plays.
const MOST: u64 = 1 << 60;

/// An environment between two steps, all that must be stored to go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EnvSnapshot {
    /// Of the simulation, as [`Env::state`] gives it; nothing where it gives none.
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
    /// The timestep before, where the policy is shown it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<PreviousStep>,
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
struct EnvSlot {
    env: Box<dyn Env>,
    /// Its number among all environments, which is its place in the tree of seeds.
    index: u64,
    now: EnvSnapshot,
    trajectory: Option<Trajectory>,
    rollout: Rollout,
}

/// How groups play.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RolloutSpec {
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
pub(crate) struct EnvGroup {
    slots: Vec<EnvSlot>,
    /// What the policy carries from here on.
    state: PolicyState<Cpu>,
    /// What it carried when the rollout began.
    first_state: PolicyState<Cpu>,
}

/// A group between two rollouts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GroupSnapshot {
    envs: Vec<EnvSnapshot>,
    state: Vec<StateRecord>,
}

impl EnvGroup {
    /// Environments `first`, `first + 1`, ... whose first episodes have not begun.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn new(
        make: &dyn Fn() -> Result<Box<dyn Env>, EnvError>,
        policy: &ActorCriticPolicy<Cpu>,
        first: usize,
        envs: usize,
    ) -> Result<Self> {
        let slot = |(place, env): (usize, Box<dyn Env>)| {
            let now = EnvSnapshot {
                state: Vec::new(),
                observation: vec![0.0; env.spec().observation_space.width()],
                episode: 0,
                length: 0,
                episode_return: 0.0,
                recorded: None,
                previous: None,
            };
            EnvSlot { env, index: (first + place) as u64, now, trajectory: None, rollout: Rollout::default() }
        };
        let slots = make_copies(make, envs)?.into_iter().enumerate().map(slot).collect();
        let state = policy.initial_state(envs, &CPU);
        Ok(Self { slots, first_state: state.clone(), state })
    }

    /// Begins the first episode of every environment.
    ///
    /// # Errors
    /// An environment that cannot, with its number.
    pub(crate) fn begin(&mut self, play: &RolloutSpec) -> Result<()> {
        self.slots.iter_mut().try_for_each(|slot| slot.begin(0, play).with_context(|| format!("environment {}", slot.index)))
    }

    /// Whether episodes can be stored.
    pub(crate) fn is_restorable(&self) -> bool {
        self.slots.iter().all(|slot| slot.env.spec().restorable)
    }

    /// What `EnvGroup::restore` needs.
    ///
    /// # Errors
    /// [`EnvError::Unsupported`], where the spec says otherwise.
    pub(crate) fn store(&mut self) -> Result<GroupSnapshot> {
        let place = |slot: &mut EnvSlot| -> Result<EnvSnapshot> {
            slot.read_state()?;
            Ok(EnvSnapshot { recorded: slot.trajectory.as_ref().map(Recorded::of), ..slot.now.clone() })
        };
        Ok(GroupSnapshot { envs: self.slots.iter_mut().map(place).collect::<Result<_>>()?, state: self.state.to_records() })
    }

    /// Continues from where a stored group was; where episodes cannot be stored, with the next ones.
    ///
    /// # Errors
    /// If what was stored is not of this task or policy.
    pub(crate) fn restore(&mut self, stored: GroupSnapshot, policy: &ActorCriticPolicy<Cpu>, play: &RolloutSpec) -> Result<()> {
        anyhow::ensure!(
            stored.envs.len() == self.slots.len(),
            "{} environments in a group, expected {}",
            stored.envs.len(),
            self.slots.len()
        );
        for (slot, mut place) in self.slots.iter_mut().zip(stored.envs) {
            let (seen, actions) = (&slot.env.spec().observation_space, &slot.env.spec().action_space);
            let (is_discrete, width) = (actions.is_discrete(), seen.width());
            let recorded = place.recorded.as_ref().is_none_or(|recorded| recorded.is_of(place.length, width, actions));
            let is_shown = policy.description.inputs.have_previous() && place.length > 0;
            let previous = place.previous.as_ref().filter(|previous| previous.is_of(&policy.description.action));
            anyhow::ensure!(
                place.observation.len() == width
                    && recorded
                    && is_shown == previous.is_some()
                    && place.episode < MOST
                    && place.length < MOST as usize,
                "environment {}: not a place in an episode of {}",
                slot.index,
                slot.env.spec().id
            );
            if !slot.env.spec().restorable {
                slot.begin(place.episode + 1, play).with_context(|| format!("environment {}", slot.index))?;
                continue;
            }
            let mut shown = vec![0.0; width];
            slot.env.set_state(&place.state, &mut shown)?;
            slot.trajectory = place.recorded.take().map(|recorded| recorded.into_trajectory(is_discrete));
            slot.now = place;
        }
        self.state = policy.network.restore_state_of(stored.state, self.slots.len(), &CPU)?;
        Ok(())
    }

    /// Takes what the last rollout gave.
    pub(crate) fn take_rollout(&mut self) -> GroupRollout {
        let rollouts = self.slots.iter_mut().map(|slot| std::mem::take(&mut slot.rollout)).collect();
        GroupRollout { rollouts, first_state: self.first_state.clone() }
    }

    /// Plays `rollout_len` timesteps in every environment.
    ///
    /// # Errors
    /// An environment that fails, with its number.
    pub(crate) fn play(&mut self, policy: &ActorCriticPolicy<Cpu>, play: &RolloutSpec) -> Result<()> {
        let description = &policy.description;
        let width = description.action.width();
        for slot in &mut self.slots {
            slot.begin_rollout()?;
        }
        // What a state keeps of the weights themselves, such as a long convolution's filters, is of the policy before the update.
        let state = self.state.clone().detach();
        self.state = state.clone();
        self.first_state = std::mem::replace(&mut self.state, policy.initial_state(1, &CPU));
        let resets = self.slots.iter().map(|slot| slot.now.length == 0).collect();
        let mut agent = ActorCriticAgent::resume(policy.clone(), true, state, resets);
        if description.inputs.have_previous() {
            let previous = self.slots.iter_mut().map(|slot| slot.now.previous.take().unwrap_or_default());
            agent = agent.with_previous(previous.collect())?;
        }
        for (row, slot) in self.slots.iter().enumerate() {
            agent.seed(row, derive_seed(play.seed, &[seeds::NOISE, slot.index, play.iteration]));
        }
        let (active, mut raw_observations, mut actions) = (vec![true; self.slots.len()], Vec::new(), Actions::default());
        for t in 0..play.rollout_len {
            raw_observations.clear();
            self.slots.iter().for_each(|slot| raw_observations.extend_from_slice(&slot.now.observation));
            agent.act(&raw_observations, &active, &mut actions);
            let inputs = agent.inputs().chunks_exact(description.input_width());
            let acted = inputs.zip(agent.raw_actions().chunks_exact(width)).zip(&actions.log_probs);
            for (slot, ((input, raw_action), log_prob)) in self.slots.iter_mut().zip(acted) {
                slot.rollout.raw_observations.extend_from_slice(&slot.now.observation);
                slot.rollout.inputs.extend_from_slice(input);
                slot.rollout.resets.push(slot.now.length == 0);
                slot.rollout.raw_actions.extend_from_slice(raw_action);
                slot.rollout.log_probs.push(*log_prob);
            }
            for (row, slot) in self.slots.iter_mut().enumerate() {
                // An action that is none is said when its environment is stepped.
                if let Ok(action) = env_action(actions.executed.row(row, width)) {
                    slot.env.announce(action);
                }
            }
            for (row, slot) in self.slots.iter_mut().enumerate() {
                let action = actions.executed.row(row, width);
                let (Step { reward, end }, diverged) =
                    slot.step(action, play).with_context(|| format!("environment {}", slot.index))?;
                agent.reward(row, reward);
                if end.truncated && !end.terminated {
                    agent.push_input(row, &slot.now.observation, &mut slot.rollout.last_inputs);
                }
                if end.is_end() {
                    slot.finish(t, end, diverged);
                    slot.begin(slot.now.episode + 1, play).with_context(|| format!("environment {}", slot.index))?;
                    agent.reset(row);
                } else if t + 1 == play.rollout_len {
                    agent.push_input(row, &slot.now.observation, &mut slot.rollout.next_input);
                }
            }
        }
        for (slot, previous) in self.slots.iter_mut().zip(agent.previous()).filter(|(slot, _)| slot.now.length > 0) {
            slot.now.previous = Some(previous.clone());
        }
        self.state = agent.into_state();
        Ok(())
    }
}

impl EnvSlot {
    /// Begins an episode.
    fn begin(&mut self, episode: u64, play: &RolloutSpec) -> Result<()> {
        let seed = derive_seed(play.seed, &[seeds::TRAINING_EPISODES, self.index, episode]);
        self.env.reset(Some(seed), &mut self.now.observation)?;
        (self.now.episode, self.now.length, self.now.episode_return) = (episode, 0, 0.0);
        let spec = self.env.spec();
        self.trajectory = play.record.then(|| begin_trajectory(spec, &self.now.observation, seed));
        Ok(())
    }

    fn begin_rollout(&mut self) -> Result<()> {
        self.rollout = Rollout::default();
        // What it shows may differ in the last bits from what the step showed; the policy continues with the latter.
        let mut shown = vec![0.0; self.now.observation.len()];
        self.read_state()?;
        if self.env.spec().restorable {
            self.env.set_state(&self.now.state, &mut shown)?;
        }
        Ok(())
    }

    fn read_state(&mut self) -> Result<()> {
        self.now.state.clear();
        if self.env.spec().restorable {
            self.env.state(&mut self.now.state)?;
        }
        Ok(())
    }

    /// What the action was rewarded with and how it ended the episode, if it did, and whether the simulation diverged.
    fn step(&mut self, action: ActionValue<'_>, play: &RolloutSpec) -> Result<(Step, bool)> {
        let (step, diverged) = match self.env.step(env_action(action)?, &mut self.now.observation) {
            Err(error) if error.is_divergence() => {
                warn_of_divergence(format_args!("episode {} of environment {}", self.now.episode, self.index), &error);
                (Step::DIVERGED, true)
            }
            step => (step?, false),
        };
        self.now.length += 1;
        self.now.episode_return += step.reward;
        let limit_reached = play.time_limit.is_some_and(|limit| self.now.length >= limit);
        let end = StepEnd { truncated: step.end.truncated || limit_reached, ..step.end };
        self.rollout.rewards.push(step.reward);
        self.rollout.ends.push(end);
        if let Some(trajectory) = &mut self.trajectory {
            push_transition(trajectory, action, step.reward, &self.now.observation);
        }
        Ok((Step { reward: step.reward, end }, diverged))
    }

    fn finish(&mut self, timestep: usize, end: StepEnd, diverged: bool) {
        let trajectory = self.trajectory.take().map(|trajectory| Trajectory { end, ..trajectory });
        let EnvSnapshot { episode_return, length, .. } = self.now;
        self.rollout.episodes.push((timestep, FinishedEpisode { episode_return, length, diverged, trajectory }));
    }
}

impl Recorded {
    /// Whether this can be so many steps of an episode.
    fn is_of(&self, length: usize, observation_width: usize, actions: &Space) -> bool {
        let numbers = if actions.is_discrete() { self.discrete.len() } else { self.continuous.len() };
        let width = if actions.is_discrete() { 1 } else { actions.width() };
        self.rewards.len() == length
            && Some(self.observations.len()) == (length + 1).checked_mul(observation_width)
            && Some(numbers) == length.checked_mul(width)
    }

    fn of(trajectory: &Trajectory) -> Self {
        let (continuous, discrete) = match &trajectory.actions {
            aaren_data::Actions::Continuous(actions) => (actions.clone(), Vec::new()),
            aaren_data::Actions::Discrete(actions) => (Vec::new(), actions.clone()),
        };
        let (observations, rewards) = (trajectory.observations.clone(), trajectory.rewards.clone());
        Self { observations, continuous, discrete, rewards, seed: trajectory.seed.unwrap_or(0) }
    }

    fn into_trajectory(self, is_discrete: bool) -> Trajectory {
        Trajectory {
            observations: self.observations,
            actions: if is_discrete {
                aaren_data::Actions::Discrete(self.discrete)
            } else {
                aaren_data::Actions::Continuous(self.continuous)
            },
            rewards: self.rewards,
            end: StepEnd::default(),
            seed: Some(self.seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Changes, Job};
    use crate::ppo::describe;
    use aaren_envs::{Action, Spec};
    use aaren_policy::ActorCriticNetwork;

    /// A pendulum whose simulation diverges at every third step of an episode.
    struct Diverging(Box<dyn Env>, usize);

    impl Env for Diverging {
        fn spec(&self) -> &Spec {
            self.0.spec()
        }

        fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError> {
            self.1 = 0;
            self.0.reset(seed, observation)
        }

        fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvError> {
            self.1 += 1;
            if self.1 == 3 {
                return Err(EnvError::Simulation { env: "Diverging".into(), step: 3, warning: "bad number".into() });
            }
            self.0.step(action, observation)
        }

        fn state(&self, state: &mut Vec<f64>) -> Result<(), EnvError> {
            self.0.state(state)
        }

        fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
            self.0.set_state(state, observation)
        }
    }

    #[test]
    fn a_snapshot_without_a_timestep_before_is_that_of_older_versions() {
        let older = rmp_serde::to_vec(&(vec![0.5], vec![1.0, 2.0], 3_u64, 2_usize, 1.5, None::<Recorded>)).unwrap();
        let snapshot: EnvSnapshot = rmp_serde::from_slice(&older).unwrap();
        assert_eq!((snapshot.length, &snapshot.previous), (2, &None));
        assert_eq!(rmp_serde::to_vec(&snapshot).unwrap(), older);
    }

    #[test]
    fn a_diverged_simulation_truncates_its_episode_where_it_was_and_the_next_one_begins() {
        let job = Job::parse(r#"{"env": {"id": "Pendulum-v1"}, "ppo": {}, "evaluation": {}}"#, &Changes::default()).unwrap();
        let job = job.ppo().unwrap();
        let description = describe(&job, job.env.make().unwrap().spec()).unwrap();
        let network = ActorCriticNetwork::<Cpu>::new(&description, 0.0, 1, &CPU).unwrap();
        let policy = ActorCriticPolicy { network, description };
        let make = || Ok(Box::new(Diverging(aaren_envs::make("Pendulum-v1", &Default::default())?, 0)) as Box<dyn Env>);
        let play = RolloutSpec { seed: 1, iteration: 0, rollout_len: 7, time_limit: None, record: true };
        let mut group = EnvGroup::new(&make, &policy, 0, 2).unwrap();
        group.begin(&play).unwrap();
        group.play(&policy, &play).unwrap();
        let truncated = StepEnd { terminated: false, truncated: true };
        let rollout = group.take_rollout();
        for rollout in &rollout.rollouts {
            let ends: Vec<usize> = (0..7).filter(|&t| rollout.ends[t] == truncated).collect();
            assert_eq!((ends, rollout.rewards[2], rollout.resets[3]), (vec![2, 5], 0.0, true));
            // The value that follows is that of the last observation there was.
            assert_eq!(rollout.last_inputs[..3], rollout.inputs[6..9]);
        }
        let episodes = rollout.rollouts.into_iter().flat_map(|rollout| rollout.episodes);
        let episodes: Vec<_> = episodes.map(|(_, episode)| (episode.length, episode.diverged)).collect();
        assert_eq!(episodes, [(3, true); 4]);
    }
}
