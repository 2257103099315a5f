//! What a rollout is worth: values of everything that was seen, advantages, and value targets.

use super::{gae::advantages, normalize::RewardScale};
use crate::config::PpoConfig;
use crate::device::{CPU, Cpu};
use crate::play::group_rollout::{GroupRollout, Rollout};
use aaren_policy::{ActorCriticPolicy, Reset};
use burn::tensor::{Tensor, TensorData};

/// Of one environment's timesteps, `[time]` each.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
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
pub(crate) fn targets(
    policy: &ActorCriticPolicy<Cpu>,
    group: &GroupRollout,
    scale: &RewardScale,
    config: &PpoConfig,
) -> Vec<Targets> {
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
    group.rollouts.iter().zip(values).map(of).collect()
}

/// One pass over the rollout with the state that the policy held when it began. Last observations of episodes stand in the
/// sequence where they were seen, each before the reset that begins the next episode, so a recurrent critic judges them with all
/// that it knew then.
fn values(policy: &ActorCriticPolicy<Cpu>, group: &GroupRollout) -> Vec<Values> {
    let width = policy.description.input_width();
    let rows: Vec<&Rollout> = group.rollouts.iter().collect();
    let longest = rows.iter().map(|row| row.rewards.len() + row.last_inputs.len() / width + 1).max().unwrap_or(1);
    let (mut inputs, mut resets) = (Vec::new(), Vec::new());
    for row in &rows {
        let mut last_inputs = row.last_inputs.chunks_exact(width);
        let start = resets.len();
        let mut push = |input: &[f32], reset: bool| {
            inputs.extend_from_slice(input);
            resets.push(reset);
        };
        for (t, end) in row.ends.iter().enumerate() {
            push(&row.inputs[t * width..(t + 1) * width], row.resets[t]);
            if end.truncated && !end.terminated {
                push(last_inputs.next().expect("one for every truncated step"), false);
            }
        }
        if !row.next_input.is_empty() {
            push(&row.next_input, false);
        }
        // Rows have one length; what fills them up is an episode of its own that nothing reads.
        let missing = start + longest - resets.len();
        inputs.extend(std::iter::repeat_n(0.0, missing * width));
        resets.extend(std::iter::repeat_n(true, missing));
    }
    let inputs = Tensor::from_data(TensorData::new(inputs, [resets.len(), width]), &CPU);
    let reset = Reset::new(resets, rows.len(), &CPU);
    let values = policy.network.forward_critic(inputs, &reset, group.first_state.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Job;
    use crate::play::rollout::{EnvGroup, RolloutSpec};
    use crate::ppo::describe;
    use crate::ppo::learner::Learner;

    /// Values that are worked out one timestep at a time, the last observations of episodes included, are those of the one pass.
    #[test]
    fn values_are_those_of_acting_and_a_truncated_step_has_that_of_its_last_observation() {
        let shown = r#"{"network": "recurrent", "inputs": ["observation", "action", "reward"]}"#;
        for (network, width) in [(r#"{"network": "mlp", "hidden": [5]}"#, 3), (r#"{"network": "recurrent"}"#, 3), (shown, 5)] {
            let policy = if network.contains("mlp") { "{}" } else { r#"{"width": 6, "feed_forward": 6, "layers": 1}"# };
            let text = format!(
                r#"{{"env": {{"id": "Pendulum-v1", "options": {{"max_episode_steps": 7, "reward_delay": "episode"}}}}, "policy": {policy},
                   "ppo": {network}, "evaluation": {{}}}}"#
            );
            let job =
                Job::parse(&text, &["ppo.envs=3", "ppo.envs_per_group=3", "ppo.minibatches=1"].map(String::from)[..].into());
            let job = job.unwrap().ppo().unwrap();
            let config = job.ppo.clone();
            let spec = aaren_envs::make(&job.env.id, &job.env.options).unwrap().spec().clone();
            let policy = Learner::new(describe(&job, &spec).unwrap(), &config, 3).unwrap().policy();
            let play = |iteration| RolloutSpec { seed: 3, iteration, rollout_len: 18, time_limit: Some(7), record: false };
            let make = || aaren_envs::make(&job.env.id, &job.env.options);
            let mut group = EnvGroup::new(&make, &policy, 0, 3).unwrap();
            group.begin(&play(0)).unwrap();
            group.play(&policy, &play(0)).unwrap();
            group.play(&policy, &play(1)).unwrap(); // begins at the fourth step of an episode
            let group = group.take_rollout();
            let values = values(&policy, &group);

            for (row, (rollout, (values, values_after))) in group.rollouts.iter().zip(&values).enumerate() {
                assert_eq!((values.len(), values_after.len()), (18, 18));
                let mut last = rollout.last_inputs.chunks_exact(width);
                let mut state = group.first_state.clone();
                let mut step = |input: &[f32], reset: bool, keep: bool| {
                    // All rows see the same, so that the batch has its shape.
                    let inputs = Tensor::from_data(TensorData::new(input.repeat(3), [3, width]), &CPU);
                    let reset = Reset::new(vec![reset; 3], 3, &CPU);
                    let (_, values, next) = policy.network.forward(inputs, &reset, state.clone());
                    if keep {
                        state = next;
                    }
                    f64::from(values.into_data().to_vec::<f32>().unwrap()[row])
                };
                for t in 0..18 {
                    let input = |t: usize| &rollout.inputs[width * t..width * (t + 1)];
                    let expected = step(input(t), rollout.resets[t], true);
                    assert!((values[t] - expected).abs() < 1e-5, "{network}, {t}: {} is not {expected}", values[t]);
                    let after = match (rollout.ends[t].truncated, t) {
                        (true, _) => step(last.next().unwrap(), false, false),
                        (false, 17) => step(&rollout.next_input, false, false),
                        (false, _) => step(input(t + 1), false, false),
                    };
                    assert!((values_after[t] - after).abs() < 1e-5, "{network}, after {t}: {} is not {after}", values_after[t]);
                }
                assert_eq!(rollout.ends.iter().filter(|end| end.truncated).count(), 3);
                // Delayed rewards are paid where the time limit ends an episode, also one that the rollout did not begin.
                let paid = rollout.rewards.iter().map(|&reward| reward != 0.0);
                assert!(paid.eq(rollout.ends.iter().map(|end| end.truncated)), "{:?}", rollout.rewards);
                assert!(last.next().is_none());
            }
        }
    }
}
