//! The jobs: all mixers at about the same number of parameters, checked before anything is trained.

use super::args::MemoryArgs;
use super::task::{LAST_CUE_CORRIDOR, MemoryTask, selected};
use crate::measure::nearest_width;
use aaren_agents::config::{Job, OfflineJob, merge};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::play::action_spec;
use aaren_agents::run::report::number;
use aaren_policy::{DecisionNetwork, Description, Normalizer, PolicyConfig, mixer};
use anyhow::{Context, Result, ensure};
use burn::module::Module;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Episodes of data, at most so many timesteps in all, and at least so many episodes even if they are long.
const DATA_EPISODES: usize = 1000;
const DATA_TIMESTEPS: usize = 400_000;
const LEAST_EPISODES: usize = 100;

/// Episodes of a batch at least, however long they are.
const LEAST_ROWS: usize = 4;

/// What will be trained, checked: the job of seed 1.
pub struct Plan {
    pub task: &'static MemoryTask,
    pub difficulty: f64,
    pub mixer: String,
    pub job: OfflineJob,
    pub parameters: usize,
    /// Timesteps of a row.
    pub length: usize,
}

impl Plan {
    /// The name of a seed's run folder.
    pub fn run_name(&self, seed: u64) -> String {
        format!("{}-{}-{}-{seed}", self.task.name, number(self.difficulty), self.mixer)
    }
}

/// Everything that can be wrong with the arguments shows here, before anything is trained.
pub fn plans(args: &MemoryArgs) -> Result<Vec<Plan>> {
    for (option, value) in [("--seeds", args.seeds), ("--batch", args.batch as u64), ("--threads", args.threads as u64)] {
        ensure!(value > 0, "{option}: found 0, expected at least 1");
    }
    ensure!(!args.tasks.is_empty(), "--tasks: found none, expected at least one");
    let all = || mixer::choices().into_iter().map(String::from).collect();
    let mixers: Vec<String> = if args.mixers.is_empty() { all() } else { args.mixers.clone() };
    let mut plans = Vec::new();
    for (task, difficulty) in selected(&args.tasks, &args.difficulty)? {
        let mut parameters = args.parameters;
        for mixer in &mixers {
            let context = || format!("{} at {} {} with {mixer}", task.name, task.difficulty, number(difficulty));
            let parameters = match parameters {
                Some(parameters) => parameters,
                None => *parameters.insert(usual_parameters(task, difficulty, args).with_context(context)?),
            };
            plans.push(plan(task, difficulty, mixer, parameters, args).with_context(context)?);
        }
    }
    let mut names = BTreeSet::new();
    for plan in &plans {
        ensure!(names.insert(plan.run_name(1)), "{} is there twice", plan.run_name(1));
    }
    Ok(plans)
}

/// Parameters of Aaren with feed-forward layers of the usual width.
fn usual_parameters(task: &MemoryTask, difficulty: f64, args: &MemoryArgs) -> Result<usize> {
    // Options are other mixers'.
    let overrides = args.overrides.iter().filter(|setting| !setting.starts_with("policy.options")).cloned().collect::<Vec<_>>();
    let (mut job, _) = job(task, difficulty, "aaren", &overrides, args)?;
    job.policy.feed_forward = 4 * args.width;
    parameters(&job)
}

/// The job of a mixer with the feed-forward width at which it comes nearest to a number of parameters.
fn plan(task: &'static MemoryTask, difficulty: f64, mixer: &str, wanted: usize, args: &MemoryArgs) -> Result<Plan> {
    let (mut job, length) = job(task, difficulty, mixer, &args.overrides, args)?;
    let mut with = |feed_forward: usize| {
        job.policy.feed_forward = feed_forward;
        parameters(&job)
    };
    let feed_forward = nearest_width(wanted, &mut with)?;
    let parameters = with(feed_forward)?;
    Ok(Plan { task, difficulty, mixer: mixer.into(), job, parameters, length })
}

/// The job of seed 1, but for the width of the feed-forward layers; and the timesteps of its rows.
fn job(task: &MemoryTask, difficulty: f64, mixer: &str, overrides: &[String], args: &MemoryArgs) -> Result<(OfflineJob, usize)> {
    let mut keys = task.keys(difficulty, args.quality);
    let options = keys["env"]["options"].as_object().cloned().unwrap_or_default();
    let env = aaren_envs::make(keys["env"]["id"].as_str().unwrap_or_default(), &options)?;
    // The player walks straight; elsewhere episodes are as long as they may be.
    let length = match task.name {
        "tmaze" => difficulty as usize + 1,
        "last-cue" => LAST_CUE_CORRIDOR + 1,
        _ => env.spec().max_episode_steps.context("a task of the benchmark has a time limit")?,
    };
    let rows = (args.batch / length).max(LEAST_ROWS);
    let episodes = (DATA_TIMESTEPS / length).clamp(LEAST_EPISODES, DATA_EPISODES);
    let mixers: Vec<&str> = mixer.split('+').collect();
    let (key, named) = match &mixers[..] {
        [single] => ("mixer", json!(single)),
        several => ("mixers", json!(several)),
    };
    let blocks = PolicyConfig { mixer: mixers[0].into(), layers: 64, ..PolicyConfig::default() }.mixer_of_blocks();
    let distinct = blocks.map_or(1, |names| names.into_iter().collect::<BTreeSet<_>>().len()).max(mixers.len());
    merge(
        &mut keys,
        json!({
            "seed": 1,
            "data": {"scripted": {"episodes": episodes}},
            "policy": {
                key: named,
                "layers": if mixers.len() > 1 { args.layers.get().next_multiple_of(mixers.len()) } else { args.layers.get().max(distinct) },
                "width": args.width,
                "heads": args.heads,
                "feed_forward": args.width,
                "dropout": 0.0,
                "tokens": "merged",
                "max_timesteps": length,
            },
            "train": {
                "steps": args.steps,
                "batch_size": rows,
                "context_length": "episode",
                "row_length": length,
                "learning_rate": args.learning_rate,
                "warmup_steps": args.steps / 10,
                "gradient_clip": 1.0,
                "log_every": 10,
                "checkpoint_every": 100,
                "keep_checkpoints": 1,
            },
            "evaluation": {"episodes": args.episodes, "actors": args.threads, "envs_per_actor": args.episodes.clamp(1, 25)},
        }),
    );
    let job = Job::parse(&keys.to_string(), &overrides.into())?.offline()?;
    Ok((job, length))
}

/// Trained numbers of a job's policy.
fn parameters(job: &OfflineJob) -> Result<usize> {
    let env = job.task()?.make()?;
    let description = Description {
        format: Description::FORMAT,
        config: job.policy.clone(),
        normalizer: Normalizer::identity(env.spec().observation_space.width()),
        action: action_spec(&env.spec().action_space),
        environment: Value::Null,
    };
    Ok(DecisionNetwork::<Cpu>::new(&description, 0, &CPU)?.num_params())
}
