//! The cost of acting at several points of an episode: a constant for Aaren, growing with a KV cache, that of the whole window for
//! windowed execution.

use crate::measure::{Column, Spread, description, median, publish, table, with_threads};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::run::interrupt;
use aaren_agents::run::report::{bytes, number};
use aaren_kernels::Dropout;
use aaren_policy::{ActionValue, DecisionNetwork, DecisionPolicy, PolicyState, Timesteps};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Options of `aaren-bench act`.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// Consecutive steps of one environment that Aaren is followed for
    #[arg(long, default_value_t = 100_000)]
    steps: usize,
    /// Environments stepped together; may be repeated
    #[arg(long = "envs", default_values_t = [1, 4, 16, 64])]
    envs: Vec<usize>,
    /// Timesteps of the window
    #[arg(long, default_value_t = 20)]
    window: usize,
    /// Threads for tensor operations
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Steps that are timed at a point.
const TIMED: usize = 200;

/// Where a point has taken this long, as many steps are enough.
const MOST_TIME_AT_A_POINT: Duration = Duration::from_millis(1500);
const LEAST_TIMED: usize = 20;

/// How long steps are made before any is timed.
const WARM_UP: Duration = Duration::from_millis(300);

/// Environment steps of an episode at which the cost is measured, besides the last.
const POINTS: [usize; 5] = [1, 100, 1_000, 10_000, 100_000];

/// Several environments are followed to here: that a state does not grow shows where one is followed, all the way.
const MOST_STEPS_OF_SEVERAL: usize = 1_000;

/// A cache of more tokens than this, over all environments, is left out: it takes minutes to fill.
const MOST_CACHED_TIMESTEPS: usize = 16_000;

/// A chunk of history that a state is made from at once, in timesteps.
const CHUNK: usize = 500;

/// What acting costs at one step of an episode.
#[derive(Debug, Serialize)]
pub struct Point {
    policy: String,
    envs: usize,
    pub step: usize,
    pub microseconds_per_step: Spread,
    microseconds_per_env_step: f64,
    pub state_bytes_per_env: usize,
}

const COLUMNS: &[Column<Point>] = &[
    ("policy", |point| point.policy.clone()),
    ("environments", |point| point.envs.to_string()),
    ("step", |point| point.step.to_string()),
    ("µs a step", |point| number(point.microseconds_per_step.median)),
    ("µs a step and environment", |point| number(point.microseconds_per_env_step)),
    ("state of one", |point| bytes(point.state_bytes_per_env)),
];

pub fn run(args: &ActArgs, json: Option<&Path>) -> Result<()> {
    let mut points = Vec::new();
    for (name, mixer, window) in [
        ("aaren".to_owned(), "aaren", None),
        ("transformer, KV cache".to_owned(), "transformer", None),
        (format!("transformer, window {}", args.window), "transformer", Some(args.window)),
    ] {
        let description = description(mixer);
        let policy = DecisionPolicy { network: DecisionNetwork::<Cpu>::new(&description, 1, &CPU)?, description };
        for &envs in &args.envs {
            let measured = with_threads(args.threads, || measure(&policy, &name, window, envs, args.steps))??;
            points.extend(measured);
        }
    }
    let text = format!("{} threads\n{}", args.threads, table(&points, 1, COLUMNS));
    publish(&json!({"threads": args.threads, "points": points}), &text, json)
}

/// Times a policy at the points of an episode before `steps`, and there.
///
/// - `window`: timesteps that are computed anew at every step; `None` carries the state along
pub fn measure(policy: &DecisionPolicy<Cpu>, name: &str, window: Option<usize>, envs: usize, steps: usize) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    // The first steps of a process touch memory for the first time; they are not what the first steps of an episode cost.
    let (mut warm, started) = (policy.initial_state(envs, &CPU), Instant::now());
    while started.elapsed() < WARM_UP {
        warm = step(policy, window, envs, 0, warm);
    }
    drop(warm);
    let mut state = policy.initial_state(envs, &CPU);
    let mut at = 0;
    for point in timed_points(steps, envs, window) {
        let is_cache = policy.description.config.mixer == "transformer" && window.is_none();
        if is_cache && point * envs > MOST_CACHED_TIMESTEPS {
            break;
        }
        // One environment of a policy with a constant state is really stepped all the way; elsewhere the state is made from a
        // history, which is the same state.
        if window.is_none() && envs == 1 && !is_cache {
            while at + TIMED < point {
                state = step(policy, window, envs, at, state);
                at += 1;
                interrupt::check()?;
            }
        } else if window.is_none() {
            while at + 1 < point {
                let chunk = CHUNK.min(point - 1 - at);
                state = remember(policy, envs, at, chunk, state);
                at += chunk;
                interrupt::check()?;
            }
        }
        let (mut microseconds, mut state_bytes) = (Vec::with_capacity(TIMED), 0);
        // Windows all cost the same; caches are timed for fewer steps, so that the point stays the point.
        let timed = if point == 1 { 20 } else { TIMED };
        let began = Instant::now();
        for _ in 0..timed {
            // A step of milliseconds needs no hundreds.
            if microseconds.len() >= LEAST_TIMED && began.elapsed() > MOST_TIME_AT_A_POINT {
                break;
            }
            let started = Instant::now();
            state = step(policy, window, envs, at, state);
            microseconds.push(started.elapsed().as_secs_f64() * 1e6);
            at += 1;
            if state_bytes == 0 || point > 1 {
                state_bytes = match window {
                    None => state.bytes() / envs,
                    Some(window) => window_bytes(window.min(point)),
                };
            }
        }
        points.push(Point {
            policy: name.into(),
            envs,
            step: point,
            microseconds_per_step: Spread::of(&microseconds),
            microseconds_per_env_step: median(&microseconds) / envs as f64,
            state_bytes_per_env: state_bytes,
        });
    }
    Ok(points)
}

/// Where an episode is timed. A full window is computed anew from as many timesteps at any later step.
fn timed_points(steps: usize, envs: usize, window: Option<usize>) -> Vec<usize> {
    let last = if envs > 1 { steps.min(MOST_STEPS_OF_SEVERAL) } else { steps };
    let is_told = |point: usize| {
        point < last && window.is_none_or(|window| point == 1 || POINTS.iter().all(|&other| other >= point || other < window))
    };
    POINTS.into_iter().filter(|&point| is_told(point)).chain([last]).collect()
}

/// A window's own history: observations and returns in double precision, actions in single.
pub fn window_bytes(timesteps: usize) -> usize {
    timesteps * (8 * 11 + 4 * 3 + 16)
}

/// `timesteps` timesteps of every environment.
fn shown(policy: &DecisionPolicy<Cpu>, envs: usize, at: usize, timesteps: usize, is_window: bool) -> Timesteps {
    let mut shown = Timesteps::new();
    for env in 0..envs {
        for t in 0..timesteps {
            let observation: Vec<f64> = (0..11).map(|i| ((env + 3 * i + 7 * (at + t)) % 13) as f64 / 13.0).collect();
            let action = [0.1, -0.2, 0.3];
            let reset = t == 0 && (at == 0 || is_window);
            shown.push(&policy.description, &observation, Some(ActionValue::Continuous(&action)), 1800.0, at + t, reset);
        }
    }
    shown
}

/// A step of all environments together.
///
/// - `window`: timesteps that are computed anew; `None` carries the state along
pub fn step(
    policy: &DecisionPolicy<Cpu>,
    window: Option<usize>,
    envs: usize,
    at: usize,
    state: PolicyState<Cpu>,
) -> PolicyState<Cpu> {
    match window {
        None => policy.act(&shown(policy, envs, at, 1, false), envs, state, &CPU).1,
        Some(window) => {
            let start = policy.initial_state(envs, &CPU);
            std::hint::black_box(policy.act(&shown(policy, envs, at, window, true), envs, start, &CPU));
            state
        }
    }
}

/// The state after a piece of history, in one pass.
fn remember(policy: &DecisionPolicy<Cpu>, envs: usize, at: usize, chunk: usize, state: PolicyState<Cpu>) -> PolicyState<Cpu> {
    let inputs = shown(policy, envs, at, chunk, false).to_tensors(envs, policy.description.config.tokens, &CPU);
    policy.network.forward(&inputs, state, Dropout::OFF).1
}
