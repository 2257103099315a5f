//! What a rollout is worth: values of everything that was seen, advantages, and value targets.

use super::{config::PpoConfig, gae::advantages, rollout::Group, rollout::Rollout, statistics::RewardScale};
use crate::backend::{CPU, Cpu};
use burn::tensor::{Tensor, TensorData};
use policy::{ActorCriticPolicy, Reset};

/// Of one environment's timesteps, `[time]` each.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Of the observations.
    pub values: Vec<f32>,
    /// Estimated by GAE.
    pub advantages: Vec<f32>,
    /// What the values shall become: advantage plus value.
    pub value_targets: Vec<f32>,
}

/// Values one environment's rollout, `[time]` each: of the observation that an action was taken at, and of the one it led to
/// (anything where that terminated the episode).
type Values = (Vec<f64>, Vec<f64>);

/// The targets of a group's environments.
pub fn targets(policy: &ActorCriticPolicy<Cpu>, group: &Group, scale: &RewardScale, config: &PpoConfig) -> Vec<Targets> {
    let values = values(policy, group);
    let of = |(rollout, (values, values_after)): (&Rollout, Values)| {
        let rewards: Vec<f64> = match config.normalise_rewards {
            true => rollout.rewards.iter().map(|&reward| scale.scaled(reward)).collect(),
            false => rollout.rewards.clone(),
        };
        let advantages = advantages(&rewards, &values, &values_after, &rollout.ends, config.gamma, config.gae_lambda);
        let value_targets = advantages.iter().zip(&values).map(|(advantage, value)| (advantage + value) as f32).collect();
        let narrow = |numbers: Vec<f64>| numbers.into_iter().map(|x| x as f32).collect();
        Targets { values: narrow(values), advantages: narrow(advantages), value_targets }
    };
    group.rollouts().zip(values).map(of).collect()
}

/// One pass over the rollout with the state that the policy held when it began. Last observations of episodes stand in the
/// sequence where they were seen, each before the reset that begins the next episode, so a recurrent critic judges them with all
/// that it knew then.
fn values(policy: &ActorCriticPolicy<Cpu>, group: &Group) -> Vec<Values> {
    let width = policy.description.normalizer.width();
    let rows: Vec<&Rollout> = group.rollouts().collect();
    let longest = rows.iter().map(|row| row.rewards.len() + row.last_observations.len() / width + 1).max().unwrap_or(1);
    let (mut observations, mut resets) = (Vec::new(), Vec::new());
    for row in &rows {
        let mut last_observations = row.last_observations.chunks_exact(width);
        let start = resets.len();
        let mut push = |observation: &[f32], reset: bool| {
            observations.extend_from_slice(observation);
            resets.push(reset);
        };
        for (t, end) in row.ends.iter().enumerate() {
            push(&row.observations[t * width..(t + 1) * width], row.resets[t]);
            if end.truncated && !end.terminated {
                push(last_observations.next().expect("one for every truncated step"), false);
            }
        }
        if !row.next_observation.is_empty() {
            push(&row.next_observation, false);
        }
        // Rows have one length; what fills them up is an episode of its own that nobody looks at.
        let missing = start + longest - resets.len();
        observations.extend(std::iter::repeat_n(0.0, missing * width));
        resets.extend(std::iter::repeat_n(true, missing));
    }
    let inputs = Tensor::from_data(TensorData::new(observations, [resets.len(), width]), &CPU);
    let reset = Reset::new(resets, rows.len(), &CPU);
    let values = policy.network.forward_critic(inputs, &reset, group.first_state().clone());
    let values: Vec<f32> = values.into_data().to_vec().expect("policies compute in f32");

    let of = |(row, sequence): (&&Rollout, &[f32])| {
        let mut sequence = sequence.iter().map(|&value| f64::from(value));
        let (mut values, mut values_after) = (Vec::new(), Vec::new());
        let mut next = || sequence.next().expect("a value for every observation");
        let mut value = next();
        for (t, end) in row.ends.iter().enumerate() {
            values.push(value);
            let is_last = t + 1 == row.ends.len();
            let after = if end.terminated { 0.0 } else { next() };
            values_after.push(after);
            if !is_last {
                value = if end.is_end() { next() } else { after };
            }
        }
        (values, values_after)
    };
    rows.iter().zip(values.chunks_exact(longest)).map(of).collect()
}
