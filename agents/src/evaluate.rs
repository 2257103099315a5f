//! Evaluation: episodes in actor threads for every target return, and the cost of a step.

use crate::{
    actor::{Episode, Rollout, episode_seeds, play},
    backend::{CPU, Cpu},
    config::{Execution, JobConfig},
    log::Progress,
    report::{EvaluationReport, FORMAT, LatencyPoint, LatencyReport, TargetReport},
    train::window,
};
use anyhow::{Context, Result};
use policy::{ActionBatch, ActorCriticPolicy, AnyPolicy, DecisionPolicy, PolicyState, Timesteps, mixer::CachePolicy};
use std::time::Instant;

/// Steps after which the measurement of a step's cost stops, if the task has no earlier limit.
pub const LATENCY_STEPS: usize = 1000;

/// Spans of an episode for which the cost of a step is reported on its own.
const LATENCY_POINTS: usize = 50;

/// What differs between the evaluations of a job.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation {
    /// Episodes for each target return.
    pub episodes: usize,
    /// Root of the episodes' seeds; every target return is asked for in the same episodes.
    pub seed: u64,
    /// Steps over which the cost of a step is measured, if it is.
    pub latency_steps: Option<usize>,
    /// What Transformers among the mixers keep of the past.
    pub cache: CachePolicy,
    /// Whether an actor-critic draws its actions; else it takes the likeliest.
    pub stochastic: bool,
}

/// Plays episodes with a policy, as the job's `evaluation` section says.
///
/// # Errors
/// An environment that fails, windowed execution without a context length, or an interrupt.
pub fn evaluate(
    job: &JobConfig,
    policy: &AnyPolicy<Cpu>,
    run: &str,
    step: u64,
    evaluation: &Evaluation,
) -> Result<EvaluationReport> {
    let config = &job.evaluation;
    let asked = job.target_returns();
    let rollout = rollout(job, policy, evaluation)?;
    let progress = Progress::new(rollout.seeds.len() as u64, "evaluating");
    let started = Instant::now();
    let episodes = play(policy, &rollout, |_| progress.inc(1))?;
    let wall_seconds = started.elapsed().as_secs_f64();
    progress.finish();

    let score = |value: f64| {
        let reference = envs::score::of_env(&job.env.id, &job.env.options)?;
        Some(envs::score::normalised_score(value, reference.min, reference.max))
    };
    let target = |(target, episodes): (&Option<f64>, &[Episode])| {
        let returns = episodes.iter().map(|episode| episode.episode_return).collect();
        let lengths = episodes.iter().map(|episode| episode.length).collect();
        let terminated = episodes.iter().filter(|episode| episode.terminated).count();
        TargetReport::new(*target, returns, lengths, terminated, score)
    };
    let targets = asked.iter().zip(episodes.chunks(evaluation.episodes)).map(target).collect();
    let bound = if evaluation.cache == CachePolicy::Full { String::new() } else { format!(", {}", evaluation.cache) };
    let env_steps: u64 = episodes.iter().map(|episode| episode.length as u64).sum();
    Ok(EvaluationReport {
        format: FORMAT,
        run: run.into(),
        checkpoint_step: step,
        env_id: job.env.id.clone(),
        env_options: job.env.options.clone(),
        data: match policy {
            AnyPolicy::Decision(_) => job.data.describe(),
            AnyPolicy::ActorCritic(_) => "online".into(),
        },
        mixer: policy.mixer(),
        execution: match (policy, evaluation.stochastic) {
            (AnyPolicy::Decision(_), _) => config.execution.to_string(),
            (AnyPolicy::ActorCritic(_), false) => "deterministic".into(),
            (AnyPolicy::ActorCritic(_), true) => "stochastic".into(),
        } + &bound,
        seed: evaluation.seed,
        parameters: policy.parameters(),
        targets,
        env_steps,
        wall_seconds,
        env_steps_per_second: env_steps as f64 / wall_seconds,
        latency: match evaluation.latency_steps {
            Some(steps) => Some(latency(job, policy, &rollout, steps)?),
            None => None,
        },
    })
}

/// The episodes of an evaluation: all of the first target return, then all of the next.
///
/// # Errors
/// Windowed execution without a context length.
pub fn rollout<'a>(job: &'a JobConfig, policy: &AnyPolicy<Cpu>, evaluation: &Evaluation) -> Result<Rollout<'a>> {
    let config = &job.evaluation;
    let window = match (policy, config.execution) {
        (AnyPolicy::ActorCritic(_), _) | (_, Execution::Streaming) => None,
        (AnyPolicy::Decision(_), Execution::Window) => {
            Some(window(job).context("evaluation.execution: \"window\" needs train.context_length in timesteps")?)
        }
    };
    let seeds = episode_seeds(evaluation.seed, evaluation.episodes);
    let asked = job.target_returns();
    // A policy that is not told a return is shown one that its tokens leave out.
    let targets = asked.iter().flat_map(|target| std::iter::repeat_n(target.unwrap_or(0.0), seeds.len())).collect();
    Ok(Rollout {
        env_id: &job.env.id,
        env_options: &job.env.options,
        target_returns: targets,
        seeds: seeds.repeat(asked.len()),
        actors: config.actors,
        envs_per_actor: config.envs_per_actor,
        window,
        cache: evaluation.cache,
        stochastic: evaluation.stochastic,
        record: false,
    })
}

/// The cost of acting for one environment on one thread, over an episode as long as the task allows.
///
/// The observations are zeros: what a step costs depends on how many came before, not on what they were.
fn latency(job: &JobConfig, policy: &AnyPolicy<Cpu>, rollout: &Rollout, most_steps: usize) -> Result<LatencyReport> {
    let spec = envs::make(&job.env.id, &job.env.options)?.spec().clone();
    let steps = spec.max_episode_steps.unwrap_or(most_steps).clamp(1, most_steps);
    let state = policy.bounded_state(rollout.cache, 1, &CPU)?;
    Ok(match policy {
        AnyPolicy::Decision(policy) => measure_latency(policy, state, rollout.window, steps),
        AnyPolicy::ActorCritic(policy) => measure_actor_critic(policy, state, steps),
    })
}

/// Times `steps` consecutive steps of one environment, from the state of an episode that has not begun.
fn measure_latency(
    policy: &DecisionPolicy<Cpu>,
    mut state: PolicyState<Cpu>,
    window: Option<usize>,
    steps: usize,
) -> LatencyReport {
    let description = &policy.description;
    let observation = vec![0.0; description.normalizer.width()];
    let width = description.action.width();
    let first = window.map(|_| state.clone());
    let mut previous: Option<ActionBatch> = None;
    let mut timesteps = Timesteps::new();
    let (mut microseconds, mut bytes) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    // What one timestep of a window's history takes: what the tokens are made of.
    let moment_bytes = 8 * observation.len() + 4 * width + 16;
    for step in 0..steps {
        let started = Instant::now();
        timesteps.clear();
        let shown = window.unwrap_or(1);
        for i in 0..shown {
            let action = previous.as_ref().map(|action| action.row(0, width));
            timesteps.push(description, &observation, action, 0.0, step, if window.is_some() { i == 0 } else { step == 0 });
        }
        let start = first.as_ref().unwrap_or(&state).clone();
        // A clone shares memory; the original must be gone before the step, or appending to a cache would copy it.
        drop(state);
        let (actions, next) = policy.act(&timesteps, 1, start, &CPU);
        microseconds.push(started.elapsed().as_secs_f64() * 1e6);
        bytes.push(if window.is_some() { moment_bytes * (step + 1).min(shown) } else { next.bytes() });
        state = next;
        previous = Some(actions);
    }
    latency_report(&microseconds, &bytes)
}

/// The same for an actor-critic.
fn measure_actor_critic(policy: &ActorCriticPolicy<Cpu>, mut state: PolicyState<Cpu>, steps: usize) -> LatencyReport {
    let observation = vec![0.0; policy.description.normalizer.width()];
    let (mut microseconds, mut bytes) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    for step in 0..steps {
        let started = Instant::now();
        let (mut normalised, mut draw) = (Vec::new(), Vec::new());
        policy.description.push_observation(&observation, &mut normalised);
        let (distributions, next) = policy.act(&normalised, &[step == 0], state, &CPU);
        distributions.mode(0, &mut draw);
        std::hint::black_box(policy.description.action.execute(&draw));
        microseconds.push(started.elapsed().as_secs_f64() * 1e6);
        bytes.push(next.bytes());
        state = next;
    }
    latency_report(&microseconds, &bytes)
}

fn latency_report(microseconds: &[f64], bytes: &[usize]) -> LatencyReport {
    let steps = microseconds.len();
    let tenth = (steps / 10).max(1);
    let span = steps.div_ceil(LATENCY_POINTS);
    let point = |start: usize| {
        let end = (start + span).min(steps);
        LatencyPoint { step: end, microseconds: median(&microseconds[start..end]), state_bytes: bytes[end - 1] }
    };
    LatencyReport {
        steps,
        first_microseconds: median(&microseconds[..tenth]),
        last_microseconds: median(&microseconds[steps - tenth..]),
        median_microseconds: median(microseconds),
        state_bytes_first: bytes[0],
        state_bytes_last: bytes[steps - 1],
        points: (0..steps).step_by(span).map(point).collect(),
    }
}

/// The middle number.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
