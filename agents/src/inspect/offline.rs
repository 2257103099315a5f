//! The dry run of a job that learns from trajectories.

use aaren_data::Dataset;
use aaren_kernels::Dropout;
use aaren_policy::{Backbone, DecisionNetwork, Description, PolicyConfig, Timesteps};
use anyhow::Result;
use burn::module::Module;

use super::plan::{Budget, Data, EvaluationPlan, Memory, Plan, Schedule, Time};
use crate::config::{EnvConfig, OfflineJob, memory};
use crate::device::{CPU, Cpu};
use crate::offline::describe::{describe, settle};
use crate::offline::{held_out::hold_out, trial::trial};

/// What the training of a job on its data would be.
///
/// # Errors
/// What the training would be refused for: a task unknown to this build, or sizes that do not fit.
pub fn offline(job: &OfflineJob, dataset: Dataset) -> Result<Plan> {
    let env = job.env.as_ref().map(EnvConfig::make).transpose()?;
    let job = &settle(job, &dataset);
    let (dataset, held_out) = hold_out(job, dataset)?;
    let description = describe(&job.env, &job.policy, &dataset)?;
    let network = DecisionNetwork::<Cpu>::new(&description, 0, &CPU)?;
    let most = env.as_ref().map_or(dataset.max_episode_steps, |env| env.spec().max_episode_steps);
    let limit = most.unwrap_or(1000);
    let state_bytes = state_bytes(&network, &description, limit);
    let lengths = || dataset.trajectories.iter().map(|trajectory| trajectory.len());
    let data = Data {
        episodes: dataset.trajectories.len(),
        transitions: lengths().sum(),
        longest: lengths().max().unwrap_or(0),
        held_out: held_out.map_or(0, |held_out| held_out.trajectories.len()),
        return_scale: description.config.return_scale.unwrap_or(1.0),
    };
    let made = trial(job, dataset)?;
    let (train, evaluation) = (&job.train, &job.evaluation);
    let (per_update, all) = (made.timesteps as u64, network.num_params() as u64);
    let timesteps = train.steps * per_update;
    let inputs = description.normalizer.width() + 2 * description.action.width() + 3;
    let playing =
        if env.is_none() { 0 } else { 1 } * (evaluation.actors * evaluation.envs_per_actor).min(evaluation.final_episodes());
    Ok(Plan {
        job: serde_json::to_value(OfflineJob { policy: description.config.clone(), ..job.clone() })?,
        mixer: job.policy.mixer_name(),
        tokens: None,
        env: job.env.as_ref().map_or_else(|| format!("the data {}", job.data.describe()), |env| env.id.clone()),
        observation_width: description.normalizer.width(),
        action_width: description.action.width(),
        parameters: parameters(network.backbone(), network.num_params(), &job.policy)?,
        state_bytes,
        steps: limit,
        iterations: None,
        budget: Budget {
            updates: train.steps,
            timesteps_per_update: per_update,
            timesteps,
            epochs: timesteps as f64 / data.transitions as f64,
        },
        data: Some(data),
        schedule: Schedule::of(train),
        evaluation: EvaluationPlan::new(
            (train.steps, 1, evaluation.every),
            if env.is_some() { (evaluation.episodes, evaluation.final_episodes()) } else { (0, 0) },
            if env.is_some() { job.target_returns() } else { Vec::new() },
            most,
        ),
        memory: Memory {
            parameters: 4 * all,
            optimizer: if train.ema.is_some() { 16 } else { 12 } * all,
            batch: 4 * per_update * inputs as u64,
            activations: memory::activations(&job.policy, u128::from(per_update)) as u64,
            states: (playing * state_bytes.1) as u64,
            machine: memory::there().map(|bytes| bytes as u64),
        },
        time: Time { update_seconds: made.seconds, decision_seconds: None, training_seconds: train.steps as f64 * made.seconds },
    })
}

/// The trained numbers of every part.
pub(super) fn parameters(backbone: &Backbone<Cpu>, total: usize, policy: &PolicyConfig) -> Result<Vec<(String, usize)>> {
    let (mut blocks, mut rows) = (0, Vec::new());
    let mixers = policy.mixer_of_blocks()?;
    for (index, block) in backbone.blocks().iter().enumerate() {
        let (mixer, all) = (block.mixer().num_params(), block.num_params());
        rows.push((format!("block {index}"), all));
        rows.push((format!("  {}", mixers[index]), mixer));
        rows.push(("  feed-forward".into(), all - mixer - 4 * policy.width));
        rows.push(("  norms".into(), 4 * policy.width));
        blocks += all;
    }
    rows.push(("tokens, last norm and head".into(), total - blocks));
    rows.push(("all".into(), total));
    Ok(rows)
}

/// What the state of one episode takes after its first step and after `limit`.
fn state_bytes(network: &DecisionNetwork<Cpu>, description: &Description, limit: usize) -> (usize, usize) {
    let mut state = network.backbone().initial_state(1, &CPU);
    let observation = vec![0.0; description.normalizer.width()];
    let (mut first, mut last) = (0, 0);
    for step in 0..limit {
        let mut timesteps = Timesteps::new();
        timesteps.push(description, &observation, None, 0.0, step, step == 0);
        state = network.forward(&timesteps.to_tensors(1, description.config.tokens, &CPU), state, Dropout::OFF).1;
        last = state.bytes();
        first = if step == 0 { last } else { first };
    }
    (first, last)
}
