//! `aaren evaluate`.

use super::args::{Checkpoint, parse_checkpoint, show};
use aaren_agents::config::{Changes, Execution, Job};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::play::{Evaluation, Video, action_spec, evaluate, evaluate_caches};
use aaren_agents::run::{RunDir, report, write_json_atomically};
use aaren_policy::{AnyPolicy, mixer::CachePolicy};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Run folder
    run: PathBuf,
    /// Checkpoint to evaluate, by its step
    #[arg(long, value_name = "STEP|latest|best", default_value = "latest", value_parser = parse_checkpoint)]
    checkpoint: Checkpoint,
    /// Episodes for each target return [default: as in the run's config, at the end]
    #[arg(long, value_name = "N")]
    episodes: Option<usize>,
    /// Return to ask the policy for; may be repeated [default: as in the run's config]
    #[arg(long = "target-return", value_name = "R", allow_negative_numbers = true)]
    target_returns: Vec<f64>,
    /// Actor threads; results do not depend on it [default: as in the run's config]
    #[arg(long, value_name = "N")]
    actors: Option<usize>,
    /// Environments that each actor steps together; the shape of a batch, so rounding may differ [default: as in the run's config]
    #[arg(long, value_name = "N")]
    envs_per_actor: Option<usize>,
    /// How the policy is run [default: as in the run's config]
    #[arg(long)]
    execution: Option<Execution>,
    /// Entries that the KV caches of a Transformer keep, and which: all, the last N, the first I and the last N, or those that are
    /// attended to most [default: full]
    #[arg(long, value_name = "full|window:N|sink:I+N|h2o:N|tova:N")]
    cache: Option<CachePolicy>,
    /// Play the same episodes with every kind of bounded cache of each of these sizes, in entries, and with the full one; `aaren
    /// compare` then shows them
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', conflicts_with_all = ["cache", "video"])]
    cache_sizes: Vec<usize>,
    /// Draw actions from the policy's distribution, where it has one [default: its mean, or the likeliest]
    #[arg(long)]
    stochastic: bool,
    /// Root of the episodes' seeds [default: as in the run's config]
    #[arg(long)]
    seed: Option<u64>,
    /// Where to write the report [default: evaluation.json in the run folder, with --cache-sizes evaluation-caches.json]; without a
    /// file, print it as JSON in place of a table
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
    /// Also write the first episode as a GIF; for the robots on MuJoCo
    #[arg(long, value_name = "FILE.gif")]
    video: Option<PathBuf>,
}

pub fn run(args: &EvaluateArgs) -> Result<()> {
    let run = RunDir::open(&args.run)?;
    let job = changed(run.job(&Changes::default())?, args)?;
    job.check()?;
    let (step, checkpoint) = args.checkpoint.of(&run)?;
    let policy =
        load_policy(&job, &checkpoint).with_context(|| format!("cannot evaluate the checkpoint {}", checkpoint.display()))?;
    let cache = args.cache.unwrap_or_default();
    // A policy without a cache to bound shows before the episodes are played.
    policy.bounded_state(cache, 1, &CPU).context("--cache")?;
    let evaluation = match &job {
        Job::Offline(job) => Evaluation::from(job),
        Job::Ppo(job) => Evaluation::from(job),
        Job::Collect(_) => bail!("{} is no training's run", args.run.display()),
    };
    let evaluation = Evaluation { cache, stochastic: args.stochastic, ..evaluation };
    if !args.cache_sizes.is_empty() {
        let report = evaluate_caches(&policy, &run.name(), step, &args.cache_sizes, &evaluation)?;
        write(args, &run, "evaluation-caches.json", &report)?;
        return show(args.prints_json(), &report, || report.to_string());
    }
    // What a video lacks shows before the episodes are played.
    let video = args.video.as_deref().map(|path| Video::new(path, &job.env().id)).transpose()?;
    let report = evaluate(&policy, &run.name(), step, &evaluation)?;
    write(args, &run, "evaluation.json", &report)?;
    show(args.prints_json(), &report, || report.to_string())?;
    match video {
        Some(mut video) => report::print(video.record(&policy, &evaluation)?),
        None => Ok(()),
    }
}

impl EvaluateArgs {
    /// Whether the report is printed as JSON.
    fn prints_json(&self) -> bool {
        matches!(self.json, Some(None))
    }
}

/// Writes a report where the flags say, or into the run folder under a name.
fn write(args: &EvaluateArgs, run: &RunDir, name: &str, report: &impl Serialize) -> Result<()> {
    match &args.json {
        Some(Some(path)) => write_json_atomically(path, report),
        _ => write_json_atomically(&run.path().join(name), report),
    }
}

/// The run's job with what the flags change in it.
fn changed(mut job: Job, args: &EvaluateArgs) -> Result<Job> {
    for target in &args.target_returns {
        ensure!(target.is_finite(), "--target-return: found {target}, expected a finite number");
    }
    match &mut job {
        Job::Offline(job) => {
            let evaluation = &mut job.evaluation;
            job.seed = args.seed.unwrap_or(job.seed);
            evaluation.final_episodes = args.episodes.or(evaluation.final_episodes);
            evaluation.actors = args.actors.unwrap_or(evaluation.actors);
            evaluation.envs_per_actor = args.envs_per_actor.unwrap_or(evaluation.envs_per_actor);
            evaluation.execution = args.execution.unwrap_or(evaluation.execution);
            if !args.target_returns.is_empty() && job.policy.tokens.has_return_to_go() {
                evaluation.target_returns.clone_from(&args.target_returns);
                return Ok(Job::Offline(job.clone()));
            }
        }
        Job::Ppo(job) => {
            let evaluation = &mut job.evaluation;
            job.seed = args.seed.unwrap_or(job.seed);
            evaluation.final_episodes = args.episodes.or(evaluation.final_episodes);
            evaluation.actors = args.actors.unwrap_or(evaluation.actors);
            evaluation.envs_per_actor = args.envs_per_actor.unwrap_or(evaluation.envs_per_actor);
            let execution = args.execution;
            ensure!(execution.is_none(), "--execution: only decision policies are executed in more than one way");
        }
        Job::Collect(_) => {}
    }
    let path = args.run.display();
    ensure!(args.target_returns.is_empty(), "--target-return: the policy of {path} is not told a return");
    Ok(job)
}

/// A stored policy of any kind, checked against the run's job and its task.
fn load_policy(job: &Job, checkpoint: &Path) -> Result<AnyPolicy<Cpu>> {
    let policy = aaren_policy::checkpoint::load_any::<Cpu>(checkpoint, &CPU)?;
    let is_the_jobs = match (&policy, job) {
        (AnyPolicy::Decision(policy), Job::Offline(job)) => policy.description.config == job.policy,
        (AnyPolicy::ActorCritic(policy), Job::Ppo(job)) => policy.description.network == job.into(),
        _ => false,
    };
    ensure!(is_the_jobs, "its policy is not the one of the run's config.json");
    let env = job.env().make()?;
    let spec = env.spec();
    let (width, action) = (policy.observation_width(), policy.action());
    ensure!(
        width == spec.observation_space.width() && *action == action_spec(&spec.action_space),
        "its policy takes {width} numbers and gives {} ({}), {} shows {} and takes {}",
        action.width(),
        if action.is_discrete() { "choices" } else { "numbers" },
        spec.id,
        spec.observation_space.width(),
        spec.action_space.width()
    );
    Ok(policy)
}
