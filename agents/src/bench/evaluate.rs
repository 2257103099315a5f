//! Acting as evaluations do it: a policy in actor threads, and where their time goes.

use super::{Machine, description, publish};
use crate::{
    actor::{Rollout, SPENT, episode_seeds, play_in},
    backend::{CPU, Cpu},
    report::{self, align_right, number},
};
use anyhow::Result;
use clap::Args;
use envs::{Action, Env, EnvError, Spec, Step};
use policy::{AnyPolicy, DecisionNetwork, DecisionPolicy, mixer::CachePolicy};
use serde::Serialize;
use serde_json::Map;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Options of `aaren bench evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Episodes of Hopper-v5
    #[arg(long, value_name = "N", default_value_t = 100)]
    episodes: usize,
    /// Actor threads; may be repeated [default: 1 and all cores]
    #[arg(long = "actors", value_name = "N")]
    actors: Vec<usize>,
    /// Environments that each actor steps together
    #[arg(long, value_name = "N", default_value_t = 4)]
    envs_per_actor: usize,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const ENV: &str = "Hopper-v5";

#[derive(Debug, Serialize)]
struct Row {
    actors: usize,
    env_steps: usize,
    seconds: f64,
    env_steps_per_second: f64,
    /// Shares of the actors' time.
    simulator: f64,
    policy: f64,
    everything_else: f64,
}

#[derive(Debug, Serialize)]
struct Figures {
    machine: Machine,
    episodes: usize,
    envs_per_actor: usize,
    rows: Vec<Row>,
}

pub(super) fn run(args: &EvaluateArgs) -> Result<()> {
    anyhow::ensure!(args.episodes > 0 && args.envs_per_actor > 0, "--episodes and --envs-per-actor must be positive");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let actors = if args.actors.is_empty() { vec![1, cores] } else { args.actors.clone() };
    let description = description("aaren");
    let network = DecisionNetwork::<Cpu>::new(&description, 1, &CPU)?;
    let policy = AnyPolicy::Decision(DecisionPolicy { network, description });
    // Memory is touched and threads are made for the first time in a run that is not counted.
    measure(&policy, args.episodes.min(5), cores, args.envs_per_actor)?;
    let measured = |&actors: &usize| measure(&policy, args.episodes, actors, args.envs_per_actor);
    let rows = actors.iter().map(measured).collect::<Result<_>>()?;
    let figures = Figures { machine: Machine::here(), episodes: args.episodes, envs_per_actor: args.envs_per_actor, rows };
    publish(figures.render(), args.json.as_ref(), &figures)
}

fn measure(policy: &AnyPolicy<Cpu>, episodes: usize, actors: usize, envs_per_actor: usize) -> Result<Row> {
    let options = Map::new();
    let rollout = Rollout {
        env_id: ENV,
        env_options: &options,
        target_returns: vec![3600.0; episodes],
        seeds: episode_seeds(1, episodes),
        actors,
        envs_per_actor,
        window: None,
        cache: CachePolicy::Full,
        stochastic: false,
        record: false,
    };
    let simulator = Arc::new(AtomicU64::new(0));
    let make = || {
        let env = envs::make(ENV, &options)?;
        Ok(Box::new(Timed { env, nanoseconds: simulator.clone() }) as Box<dyn Env>)
    };
    let spent = || [&SPENT.total, &SPENT.policy].map(|nanoseconds| nanoseconds.load(Ordering::Relaxed));
    let ([total_before, policy_before], started) = (spent(), Instant::now());
    let played = play_in(policy, &rollout, &make, |_| ())?;
    let seconds = started.elapsed().as_secs_f64();
    let [total, policy] = spent();
    let share = |nanoseconds: u64| nanoseconds as f64 / (total - total_before) as f64;
    let (simulator, policy) = (share(simulator.load(Ordering::Relaxed)), share(policy - policy_before));
    let env_steps = played.iter().map(|episode| episode.length).sum();
    let env_steps_per_second = env_steps as f64 / seconds;
    let everything_else = 1.0 - simulator - policy;
    Ok(Row { actors, env_steps, seconds, env_steps_per_second, simulator, policy, everything_else })
}

/// An environment that measures what its steps and resets take.
struct Timed {
    env: Box<dyn Env>,
    nanoseconds: Arc<AtomicU64>,
}

impl Env for Timed {
    fn spec(&self) -> &Spec {
        self.env.spec()
    }

    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError> {
        let started = Instant::now();
        let done = self.env.reset(seed, observation);
        self.nanoseconds.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        done
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvError> {
        let started = Instant::now();
        let step = self.env.step(action, observation);
        self.nanoseconds.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        step
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        self.env.set_state(state, observation)
    }
}

impl Figures {
    fn render(&self) -> String {
        let mut table = report::table(&["actors", "environment steps", "a second", "simulator", "policy", "everything else"]);
        for row in &self.rows {
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            table.add_row([
                row.actors.to_string(),
                row.env_steps.to_string(),
                number(row.env_steps_per_second),
                percent(row.simulator),
                percent(row.policy),
                percent(row.everything_else),
            ]);
        }
        align_right(&mut table, 0);
        format!(
            "{}; {} episodes of {ENV}, {} environments an actor, 3 layers of 128 with Aaren; shares are of the actors' time\n{table}",
            self.machine.render(),
            self.episodes,
            self.envs_per_actor
        )
    }
}
