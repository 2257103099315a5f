//! The dry run of a job that learns online.

use aaren_policy::{ActorCriticNetwork, ActorCriticPolicy, PreviousStep};
use anyhow::Result;
use burn::module::Module;

use super::plan::{Budget, EvaluationPlan, Iterations, Memory, Plan, Schedule, Time};
use crate::config::{Network, PpoJob, memory};
use crate::device::{CPU, Cpu};
use crate::ppo::{describe, trial::trial};

/// What the training of a job would be.
///
/// # Errors
/// What the training would be refused for: a task unknown to this build, or sizes that do not fit.
pub fn online(job: &PpoJob) -> Result<Plan> {
    let (env, ppo, evaluation) = (job.env.make()?, &job.ppo, &job.evaluation);
    let spec = env.spec();
    let made = trial(job, spec)?;
    let description = describe(job, spec)?;
    let network = ActorCriticNetwork::<Cpu>::new(&description, ppo.initial_log_std, 0, &CPU)?;
    let all = network.num_params();
    let policy = ActorCriticPolicy { network, description };
    let limit = spec.max_episode_steps.unwrap_or(1000);
    let state_bytes = state_bytes(&policy, limit);
    let (iterations, per_iteration) = (ppo.iterations(), ppo.steps_per_iteration());
    let optimizer_steps = ppo.epochs * ppo.minibatches;
    let per_update = per_iteration / ppo.minibatches as u64;
    let updates = iterations * optimizer_steps as u64;
    let activations = match ppo.network {
        Network::Mlp => u128::from(per_update) * 2 * 4 * ppo.hidden.iter().sum::<usize>() as u128,
        Network::Recurrent => {
            let policy = job.policy.clone().unwrap_or_default();
            let tokens = policy.tokens.per_timestep() as u128; // a timestep is one token here
            memory::activations(&policy, u128::from(per_update)) / tokens
        }
    };
    let (observation, action) = (spec.observation_space.width(), spec.action_space.width());
    let playing = (evaluation.actors * evaluation.envs_per_actor).min(evaluation.final_episodes());
    let rounds = ppo.rollout_len * ppo.groups().div_ceil(ppo.actors); // decisions of the busiest actor
    let iteration_seconds = optimizer_steps as f64 * made.update + rounds as f64 * made.decision;
    Ok(Plan {
        job: serde_json::to_value(job)?,
        mixer: policy.description.network.name(),
        tokens: None,
        env: job.env.id.clone(),
        observation_width: observation,
        action_width: action,
        parameters: vec![("all".into(), all)],
        state_bytes,
        steps: limit,
        iterations: Some(Iterations { iterations, env_steps: per_iteration, optimizer_steps }),
        data: None,
        budget: Budget { updates, timesteps_per_update: per_update, timesteps: updates * per_update, epochs: ppo.epochs as f64 },
        schedule: Schedule {
            learning_rate: ppo.learning_rate,
            warmup_steps: ppo.warmup_steps,
            after: ppo.schedule,
            steps: iterations * per_iteration,
            log_every: per_iteration,
            checkpoint_every: ppo.checkpoint_every,
            keep_checkpoints: ppo.keep_checkpoints,
        },
        evaluation: EvaluationPlan::new(
            (iterations * per_iteration, per_iteration, evaluation.every),
            (evaluation.episodes, evaluation.final_episodes()),
            vec![None],
            spec.max_episode_steps,
        ),
        memory: Memory {
            parameters: 4 * all as u64,
            optimizer: if ppo.ema.is_some() { 16 } else { 12 } * all as u64,
            // Log-probability, value, advantage, target and reset beside what was seen and done.
            batch: 4 * per_iteration * (policy.description.input_width() + action + 5) as u64,
            activations: activations as u64,
            states: (playing * state_bytes.1) as u64,
            machine: memory::there().map(|bytes| bytes as u64),
        },
        time: Time {
            update_seconds: made.update,
            decision_seconds: Some(made.decision),
            training_seconds: iterations as f64 * iteration_seconds,
        },
    })
}

/// What the state of one episode takes after its first step and after `limit`.
fn state_bytes(policy: &ActorCriticPolicy<Cpu>, limit: usize) -> (usize, usize) {
    let mut input = Vec::new();
    let (description, before) = (&policy.description, PreviousStep::default());
    description.push_input(&vec![0.0; description.normalizer.width()], &before, &mut input);
    let mut state = policy.initial_state(1, &CPU);
    let (mut first, mut last) = (0, 0);
    for step in 0..limit {
        state = policy.act(&input, &[step == 0], state, &CPU).1;
        last = state.bytes();
        first = if step == 0 { last } else { first };
    }
    (first, last)
}
