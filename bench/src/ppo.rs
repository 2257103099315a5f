//! The time until PPO reaches a score, beside stable-baselines3 with the same settings.

use crate::measure::{Column, or_dash, publish, table, with_threads};
use crate::peers::stable_baselines3;
use crate::peers::stable_baselines3::Trained;
use aaren_agents::config::{Job, Network};
use aaren_agents::ppo;
use aaren_agents::run::RunDir;
use aaren_agents::run::report::{duration, number};
use aaren_agents::session::Observer;
use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `aaren-bench ppo`.
#[derive(Debug, Args)]
pub struct PpoArgs {
    /// Online job whose policy is MLPs
    config: PathBuf,
    /// Set one key of the job, for example --set ppo.envs=8
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// Normalised score at which the clock stops
    #[arg(long, default_value_t = 100.0 / 3.0)]
    score: f64,
    /// Return at which the clock stops, for tasks without a score
    #[arg(long = "return", value_name = "RETURN", allow_negative_numbers = true)]
    target_return: Option<f64>,
    /// Latest training episodes whose mean return must reach it
    #[arg(long, default_value_t = 50)]
    episodes: usize,
    /// Seeds; may be repeated
    #[arg(long = "seed", default_values_t = [1])]
    seeds: Vec<u64>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Leave stable-baselines3 out
    #[arg(long)]
    no_peer: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    seed: u64,
    aaren: Trained,
    stable_baselines3: Option<Trained>,
    /// Our seconds divided by theirs: below 1 we are faster.
    ratio: Option<f64>,
}

/// Stops a training at a return.
struct Clock {
    started: Instant,
    target_return: f64,
    episodes: usize,
    returns: VecDeque<f64>,
    trained: Trained,
}

impl Observer for Clock {
    fn iterated(&mut self, env_steps: u64, returns: &[f64]) -> Result<ControlFlow<()>> {
        let seconds = self.started.elapsed().as_secs_f64();
        self.returns.extend(returns);
        self.returns.drain(..self.returns.len().saturating_sub(self.episodes));
        if self.returns.len() < self.episodes {
            return Ok(ControlFlow::Continue(()));
        }
        let mean = self.returns.iter().sum::<f64>() / self.returns.len() as f64;
        self.trained.curve.push((env_steps, seconds, mean));
        if mean < self.target_return {
            return Ok(ControlFlow::Continue(()));
        }
        self.trained.reached = Some((env_steps, seconds));
        Ok(ControlFlow::Break(()))
    }
}

const COLUMNS: &[Column<Row>] = &[
    ("seed", |row| row.seed.to_string()),
    ("aaren", |row| row.aaren.time()),
    ("environment steps", |row| row.aaren.env_steps()),
    ("stable-baselines3", |row| or_dash(row.stable_baselines3.as_ref(), Trained::time)),
    ("environment steps", |row| or_dash(row.stable_baselines3.as_ref(), Trained::env_steps)),
    ("ratio", |row| or_dash(row.ratio, |ratio| format!("{ratio:.2}"))),
];

pub fn run(args: &PpoArgs, json: Option<&Path>) -> Result<()> {
    let overrides = [&args.overrides[..], &["evaluation.episodes=1".into(), "evaluation.every=0".into()]].concat();
    let Job::Ppo(mut job) = Job::load(std::slice::from_ref(&args.config), &overrides[..].into())? else {
        bail!("the job does not learn online: it has no key ppo; take one that has, such as configs/ppo/hopper.toml");
    };
    let config = &mut job.ppo;
    ensure!(config.network == Network::Mlp, "ppo.network: found \"recurrent\", but the peer has MLPs only");
    (config.actors, job.evaluation.final_episodes) = (args.threads, Some(1));
    let reference = aaren_data::score::of_env(&job.env.id, &job.env.options);
    let target_return = match (args.target_return, reference) {
        (Some(target_return), _) => target_return,
        (None, Some(reference)) => reference.min + args.score / 100.0 * (reference.max - reference.min),
        (None, None) => anyhow::bail!("{} has no normalised score; say a return with --return", job.env.id),
    };
    let version = if args.no_peer { None } else { stable_baselines3::version() };
    if !args.no_peer && version.is_none() {
        tracing::warn!("stable-baselines3 is not installed for python3 (or $PYTHON); its column stays empty");
    }
    let mut rows = Vec::new();
    for &seed in &args.seeds {
        job.seed = seed;
        let folder = std::env::temp_dir().join(format!("aaren-bench-ppo-{}-{seed}", std::process::id()));
        let mut clock = Clock {
            started: Instant::now(),
            target_return,
            episodes: args.episodes,
            returns: VecDeque::new(),
            trained: Trained::default(),
        };
        let trained = with_threads(args.threads, || {
            let run = RunDir::create(&folder, &job, job.ppo.keep_checkpoints)?;
            ppo::train(&job, &run, false, &mut clock)
        })?;
        // Whether it succeeded or not, nothing of it is needed.
        let _ = std::fs::remove_dir_all(&folder);
        trained?;
        let train = |_: &String| stable_baselines3::train(&job, target_return, args.episodes, args.threads);
        let theirs = version.as_ref().map(train).transpose()?;
        let seconds = |trained: &Trained| trained.reached.map(|(_, seconds)| seconds);
        let ratio = seconds(&clock.trained).zip(theirs.as_ref().and_then(seconds)).map(|(ours, theirs)| ours / theirs);
        rows.push(Row { seed, aaren: clock.trained, stable_baselines3: theirs, ratio });
    }
    let peer = version.as_ref().map_or("no peer".into(), |version| format!("stable-baselines3 {version}"));
    let (env_id, threads, target, table) = (&job.env.id, args.threads, number(target_return), table(&rows, 0, COLUMNS));
    let text = format!(
        "{peer}\n{env_id}, time until the latest training episodes reach a mean return of {target}, {threads} threads; \
         ratio below 1: aaren is faster\n{table}"
    );
    let figures = json!({
        "stable_baselines3": version,
        "env_id": env_id,
        "target_return": target_return,
        "threads": threads,
        "rows": rows,
    });
    publish(&figures, &text, json)
}

impl Trained {
    fn time(&self) -> String {
        self.reached.map_or("not reached".into(), |(_, seconds)| duration(seconds))
    }

    fn env_steps(&self) -> String {
        or_dash(self.reached, |(env_steps, _)| env_steps.to_string())
    }
}
