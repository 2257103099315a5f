//! Acting as evaluations do it: a policy in actor threads, and where their time goes.

use crate::measure::{Column, cores, description, percent, publish, table};
use aaren_agents::config::EnvConfig;
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::play::Evaluation;
use aaren_agents::run::report::number;
use aaren_envs::{Action, Env, EnvError, Spec, Step};
use aaren_policy::mixer::CachePolicy;
use aaren_policy::{AnyPolicy, DecisionNetwork, DecisionPolicy};
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, json};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Options of `aaren-bench evaluate`.
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
}

const ENV: &str = "Hopper-v5";

#[derive(Debug, Serialize)]
struct Row {
    actors: usize,
    env_steps: usize,
    seconds: f64,
    env_steps_per_second: f64,
    /// Shares of the actors' time; the policy's has in it what it takes to make tensors of observations.
    simulator: f64,
    policy: f64,
    everything_else: f64,
}

const COLUMNS: &[Column<Row>] = &[
    ("actors", |row| row.actors.to_string()),
    ("environment steps", |row| row.env_steps.to_string()),
    ("a second", |row| number(row.env_steps_per_second)),
    ("simulator", |row| percent(row.simulator, 1)),
    ("policy", |row| percent(row.policy, 1)),
    ("everything else", |row| percent(row.everything_else, 1)),
];

pub fn run(args: &EvaluateArgs, json: Option<&Path>) -> Result<()> {
    ensure!(args.episodes > 0 && args.envs_per_actor > 0, "--episodes and --envs-per-actor must be positive");
    let actors = if args.actors.is_empty() { vec![1, cores()] } else { args.actors.clone() };
    let description = description("aaren");
    let network = DecisionNetwork::<Cpu>::new(&description, 1, &CPU)?;
    let policy = AnyPolicy::Decision(DecisionPolicy { network, description });
    // Memory is touched and threads are made for the first time in a run that is not counted.
    measure(&policy, args.episodes.min(5), cores(), args.envs_per_actor)?;
    let measured = |&actors: &usize| measure(&policy, args.episodes, actors, args.envs_per_actor);
    let rows = actors.iter().map(measured).collect::<Result<Vec<_>>>()?;
    let (episodes, envs_per_actor, table) = (args.episodes, args.envs_per_actor, table(&rows, 0, COLUMNS));
    let text = format!(
        "{episodes} episodes of {ENV}, {envs_per_actor} environments an actor, 3 layers of 128 with Aaren; \
         shares are of the actors' time\n{table}"
    );
    publish(&json!({"episodes": episodes, "envs_per_actor": envs_per_actor, "rows": rows}), &text, json)
}

fn measure(policy: &AnyPolicy<Cpu>, episodes: usize, actors: usize, envs_per_actor: usize) -> Result<Row> {
    let options = Map::new();
    let evaluation = Evaluation {
        env: EnvConfig { id: ENV.into(), options: options.clone() },
        data: String::new(),
        target_returns: vec![Some(3600.0)],
        episodes,
        seed: 1,
        actors,
        envs_per_actor,
        window: None,
        cache: CachePolicy::Full,
        stochastic: false,
        latency_steps: None,
        beside: false,
    };
    let spent = Spent::default();
    let make = || {
        let row = NEXT_ROW.replace(NEXT_ROW.get() + 1);
        Ok(Box::new(Timed { env: aaren_envs::make(ENV, &options)?, row, spent: spent.clone() }) as Box<dyn Env>)
    };
    let started = Instant::now();
    let played = evaluation.play(policy, &make, |_| ())?;
    let seconds = started.elapsed().as_secs_f64();
    let [simulator, policy, everything_else] = spent.shares();
    let env_steps = played.iter().map(|episode| episode.result.length).sum();
    Ok(Row { actors, env_steps, seconds, env_steps_per_second: env_steps as f64 / seconds, simulator, policy, everything_else })
}

/// Nanoseconds that all actors spent in the simulator, in the policy, and elsewhere, from each one's first call of an environment on.
#[derive(Clone, Default)]
struct Spent(Arc<[AtomicU64; 3]>);

const SIMULATOR: usize = 0;
const POLICY: usize = 1;
const ELSEWHERE: usize = 2;

impl Spent {
    fn add(&self, on: usize, nanoseconds: u128) {
        self.0[on].fetch_add(nanoseconds as u64, Ordering::Relaxed);
    }

    fn shares(&self) -> [f64; 3] {
        let nanoseconds = [SIMULATOR, POLICY, ELSEWHERE].map(|on| self.0[on].load(Ordering::Relaxed) as f64);
        nanoseconds.map(|part| part / nanoseconds.iter().sum::<f64>())
    }
}

thread_local! {
    /// The row that this actor's next environment is for.
    static NEXT_ROW: Cell<usize> = const { Cell::new(0) };
    /// When the actor's last call of an environment ended, and the row that it stepped; none if the call was a reset.
    static LAST_CALL: Cell<Option<(Instant, Option<usize>)>> = const { Cell::new(None) };
}

/// An environment in a row of an actor that measures its own calls and the time between those of the actor.
///
/// An actor resets rows, lets the policy act for all, and steps the rows in order. So the policy has acted before a step if the call
/// before it was a reset, or a step of this row or a later one.
struct Timed {
    env: Box<dyn Env>,
    row: usize,
    spent: Spent,
}

impl Timed {
    fn call<T>(&mut self, is_step: bool, work: impl FnOnce(&mut dyn Env) -> T) -> T {
        let started = Instant::now();
        if let Some((ended, stepped)) = LAST_CALL.get() {
            let has_acted = is_step && stepped.is_none_or(|row| row >= self.row);
            self.spent.add(if has_acted { POLICY } else { ELSEWHERE }, (started - ended).as_nanos());
        }
        let done = work(&mut *self.env);
        let ended = Instant::now();
        self.spent.add(SIMULATOR, (ended - started).as_nanos());
        LAST_CALL.set(Some((ended, is_step.then_some(self.row))));
        done
    }
}

impl Env for Timed {
    fn spec(&self) -> &Spec {
        self.env.spec()
    }

    fn reset(&mut self, seed: Option<u64>, observation: &mut [f64]) -> Result<(), EnvError> {
        self.call(false, |env| env.reset(seed, observation))
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Step, EnvError> {
        self.call(true, |env| env.step(action, observation))
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        self.env.set_state(state, observation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread::sleep, time::Duration};

    #[test]
    fn time_before_the_first_step_of_a_round_is_the_policys() {
        let spent = Spent::default();
        let mut envs =
            [0, 1].map(|row| Timed { env: aaren_envs::make("CartPole-v1", &Map::new()).unwrap(), row, spent: spent.clone() });
        let mut observation = [0.0; 4];
        envs.iter_mut().for_each(|env| env.reset(Some(1), &mut observation).unwrap());
        for round in 1..4 {
            sleep(Duration::from_millis(2));
            envs[0].step(Action::Discrete(0), &mut observation).unwrap();
            let before = spent.0[ELSEWHERE].load(Ordering::Relaxed);
            sleep(Duration::from_millis(1));
            envs[1].step(Action::Discrete(1), &mut observation).unwrap();
            assert!(spent.0[ELSEWHERE].load(Ordering::Relaxed) >= before + 1_000_000);
            assert!(spent.0[POLICY].load(Ordering::Relaxed) >= round * 2_000_000);
        }
        assert!((spent.shares().iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
