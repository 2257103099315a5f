//! What a rollout gives, as a value: of one environment, and of the environments that are stepped together.

use aaren_data::Trajectory;
use aaren_envs::StepEnd;
use aaren_policy::{ActorCriticPolicy, PolicyState, StateRecord};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::device::{CPU, Cpu};

/// One environment's part of a rollout.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rollout {
    /// As the environment showed them, `[time, observation width]`.
    pub raw_observations: Vec<f64>,
    /// What the policy was shown, `[time, input width]`.
    pub inputs: Vec<f32>,
    /// Whether each timestep is the first of its episode, `[time]`.
    pub resets: Vec<bool>,
    /// What the policy drew, before it was put within the bounds: `[time, action width]`.
    pub raw_actions: Vec<f32>,
    /// Of the raw_actions, under the policy that acted: `[time]`.
    pub log_probs: Vec<f32>,
    /// Raw, `[time]`.
    pub rewards: Vec<f64>,
    /// `[time]`
    pub ends: Vec<StepEnd>,
    /// What the policy would have been shown after every truncated step: `[truncated steps, input width]`.
    pub last_inputs: Vec<f32>,
    /// What it is shown after the last step, where its episode continues: `[input width]`, or nothing.
    pub next_input: Vec<f32>,
    /// Episodes that ended, with the timestep that ended them.
    pub episodes: Vec<(usize, FinishedEpisode)>,
}

/// An episode that training played.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FinishedEpisode {
    /// Undiscounted sum of raw rewards.
    pub episode_return: f64,
    /// Environment steps.
    pub length: usize,
    /// Whether the simulation diverged, and so ended it.
    pub diverged: bool,
    /// All of it, where it was asked for. It stays with the process that played it.
    #[serde(skip)]
    pub trajectory: Option<Trajectory>,
}

/// What a rollout of a group gave.
#[derive(Clone, Debug)]
pub(crate) struct GroupRollout {
    /// Of its environments, in order.
    pub rollouts: Vec<Rollout>,
    /// What the policy carried when the rollout began.
    pub first_state: PolicyState<Cpu>,
}

impl GroupRollout {
    /// Several of them as bytes, for [`GroupRollout::read`].
    ///
    /// # Errors
    /// None that is known of.
    pub(crate) fn write(all: &[Self]) -> Result<Vec<u8>> {
        let parts: Vec<_> = all.iter().map(|one| (&one.rollouts, one.first_state.to_records())).collect();
        Ok(rmp_serde::to_vec(&parts)?)
    }

    /// What [`GroupRollout::write`] wrote, of a policy.
    ///
    /// # Errors
    /// If the bytes are something else.
    pub(crate) fn read(bytes: &[u8], policy: &ActorCriticPolicy<Cpu>) -> Result<Vec<Self>> {
        let parts: Vec<(Vec<Rollout>, Vec<StateRecord>)> = rmp_serde::from_slice(bytes).context("not rollouts")?;
        let restore = |(rollouts, records)| Ok(Self { rollouts, first_state: policy.network.restore_state(records, &CPU)? });
        parts.into_iter().map(restore).collect()
    }

    /// The episodes that ended in a rollout of all groups, in order of the timestep that ended them.
    pub(crate) fn take_episodes(all: &mut [Self]) -> Vec<FinishedEpisode> {
        let rollouts = all.iter_mut().flat_map(|group| &mut group.rollouts).enumerate();
        let mut episodes: Vec<_> = rollouts
            .flat_map(|(env, rollout)| rollout.episodes.drain(..).map(move |(timestep, episode)| (timestep, env, episode)))
            .collect();
        episodes.sort_by_key(|(timestep, env, _)| (*timestep, *env));
        episodes.into_iter().map(|(.., episode)| episode).collect()
    }
}
