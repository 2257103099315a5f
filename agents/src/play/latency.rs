//! The cost of an environment step: microseconds and bytes of state, along an episode.

use std::time::Instant;

use aaren_envs::Env;
use aaren_policy::mixer::CachePolicy;
use aaren_policy::{ActionBatch, ActorCriticPolicy, AnyPolicy, DecisionPolicy, PolicyState, PreviousStep, Timesteps};
use anyhow::Result;

use crate::device::{CPU, Cpu};
use crate::run::report::{LatencyPoint, LatencyReport, median};

/// Steps after which the measurement of a step's cost stops, if the task has no earlier limit.
pub(crate) const LATENCY_STEPS: usize = 1000;

/// Spans of an episode for which the cost of a step is reported on its own.
const LATENCY_POINTS: usize = 50;

/// The cost of acting for one environment on one thread, over an episode as long as the task allows.
///
/// The observations are zeros: what a step costs depends on how many came before, not on what they were.
pub(super) fn latency(
    env: &dyn Env,
    policy: &AnyPolicy<Cpu>,
    cache: CachePolicy,
    window: Option<usize>,
    most_steps: usize,
) -> Result<LatencyReport> {
    let state = policy.bounded_state(cache, 1, &CPU)?;
    let steps = env.spec().max_episode_steps.unwrap_or(most_steps).clamp(1, most_steps);
    Ok(match policy {
        AnyPolicy::Decision(policy) => measure_latency(policy, state, window, steps),
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
    let description = &policy.description;
    let observation = vec![0.0; description.normalizer.width()];
    let mut previous = PreviousStep::default();
    let (mut microseconds, mut bytes) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    for step in 0..steps {
        let started = Instant::now();
        let (mut input, mut draw) = (Vec::new(), Vec::new());
        description.push_input(&observation, &previous, &mut input);
        let (distributions, next) = policy.act(&input, &[step == 0], state, &CPU);
        distributions.mode(0, &mut draw);
        let executed = std::hint::black_box(description.action.execute(&draw));
        if description.inputs.have_previous() {
            previous = PreviousStep::new(&description.action, executed.row(0, description.action.width()));
        }
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
