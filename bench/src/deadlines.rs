//! Whether a policy answers in time: several robots that one thread acts for, step after step, each answer due before the next step.

use crate::act::step;
use crate::measure::{Column, description, processor_seconds, publish, table, with_threads};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::run::interrupt;
use aaren_agents::run::report::{bytes, number};
use aaren_policy::{DecisionNetwork, DecisionPolicy};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Options of `aaren-bench deadlines`.
#[derive(Debug, Args)]
pub struct DeadlinesArgs {
    /// Robots that one thread acts for
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    robots: u16,
    /// Steps of every robot in a second: an answer is due before the next
    #[arg(long, default_value_t = 125.0, value_parser = hertz)]
    hertz: f64,
    /// Steps that are made, without an episode's end
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    steps: u64,
    /// Timesteps of the window
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1024))]
    window: u16,
}

fn hertz(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|&hertz: &f64| hertz.is_finite() && hertz > 0.0).ok_or_else(|| "expected a number above 0".into())
}

/// A policy that has missed so many deadlines in a row, by its own work, is not followed further: what grows does not recover.
const GIVE_UP: u64 = 200;

/// What became of a policy's deadlines.
#[derive(Debug, Serialize)]
struct Kept {
    policy: String,
    /// Steps that were made.
    steps: u64,
    /// By the clock, which other work on the machine counts for.
    missed: u64,
    /// By the time that this thread had the processor.
    missed_by_own_work: u64,
    /// From which step on every deadline was missed, where it was not followed further.
    every_one_from: Option<u64>,
    microseconds_median: f64,
    microseconds_of_999_in_1000: f64,
    microseconds_most: f64,
    state_bytes_per_robot: usize,
}

const COLUMNS: &[Column<Kept>] = &[
    ("policy", |kept| kept.policy.clone()),
    ("steps", |kept| kept.steps.to_string()),
    ("missed", |kept| kept.missed.to_string()),
    ("by own work", |kept| kept.missed_by_own_work.to_string()),
    ("all from step", |kept| kept.every_one_from.map_or("-".into(), |step| step.to_string())),
    ("median µs", |kept| number(kept.microseconds_median)),
    ("99.9 % µs", |kept| number(kept.microseconds_of_999_in_1000)),
    ("most µs", |kept| number(kept.microseconds_most)),
    ("state of one", |kept| bytes(kept.state_bytes_per_robot)),
];

pub fn run(args: &DeadlinesArgs, json: Option<&Path>) -> Result<()> {
    let window = usize::from(args.window);
    let mut all = Vec::new();
    for (name, mixer, window) in [
        ("aaren".to_owned(), "aaren", None),
        ("lstm".to_owned(), "lstm", None),
        ("transformer, KV cache".to_owned(), "transformer", None),
        (format!("transformer, window {window}"), "transformer", Some(window)),
    ] {
        let description = description(mixer);
        let policy = DecisionPolicy { network: DecisionNetwork::<Cpu>::new(&description, 1, &CPU)?, description };
        all.push(with_threads(1, || follow(&policy, name, window, args))??);
    }
    let text = format!("{} robots, {} Hz\n{}", args.robots, number(args.hertz), table(&all, 1, COLUMNS));
    publish(&json!({"robots": args.robots, "hertz": args.hertz, "policies": all}), &text, json)
}

/// Acts step after step; a step begins when the one before has ended, so that one that is late makes no other late.
fn follow(policy: &DecisionPolicy<Cpu>, name: String, window: Option<usize>, args: &DeadlinesArgs) -> Result<Kept> {
    let (robots, period) = (usize::from(args.robots), 1.0 / args.hertz);
    // The first steps of a process touch memory for the first time.
    for at in 0..20 {
        step(policy, window, robots, at, policy.initial_state(robots, &CPU));
    }
    let mut state = policy.initial_state(robots, &CPU);
    let (mut seconds, mut missed, mut missed_by_own_work, mut in_a_row) = (Vec::new(), 0, 0, 0);
    for at in 0..args.steps {
        let (before, started) = (processor_seconds(), Instant::now());
        state = step(policy, window, robots, at as usize, state);
        let elapsed = started.elapsed().as_secs_f64();
        let is_late = processor_seconds() - before > period;
        seconds.push(elapsed);
        missed += u64::from(elapsed > period);
        missed_by_own_work += u64::from(is_late);
        in_a_row = if is_late { in_a_row + 1 } else { 0 };
        if in_a_row == GIVE_UP {
            break;
        }
        interrupt::check()?;
    }
    let steps = seconds.len() as u64;
    seconds.sort_by(f64::total_cmp);
    let at_share = |share: f64| 1e6 * seconds[((seconds.len() - 1) as f64 * share) as usize];
    Ok(Kept {
        policy: name,
        steps,
        missed,
        missed_by_own_work,
        every_one_from: (in_a_row == GIVE_UP).then_some(steps - GIVE_UP + 1),
        microseconds_median: at_share(0.5),
        microseconds_of_999_in_1000: at_share(0.999),
        microseconds_most: at_share(1.0),
        state_bytes_per_robot: window.map_or_else(|| state.bytes() / robots, crate::act::window_bytes),
    })
}
