//! `aaren evaluate`.

use super::{Checkpoint, parse_checkpoint};
use aaren_agents::{
    config::{Execution, JobConfig},
    device::{CPU, Cpu},
    play::{
        cache_sweep,
        evaluate::{self, Evaluation},
        spaces::action_spec,
        video::Video,
    },
    run::{RunDir, report, write_json_atomically},
    seeds,
};
use aaren_policy::{AnyPolicy, mixer::CachePolicy};
use anyhow::{Context, Result, ensure};
use clap::Args;
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
    /// Where to write the report [default: evaluation.json in the run folder, with --cache-sizes evaluation-caches.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the first episode as a GIF; for the robots on MuJoCo
    #[arg(long, value_name = "FILE.gif")]
    video: Option<PathBuf>,
}

pub fn run(args: &EvaluateArgs) -> Result<()> {
    let run = RunDir::open(&args.run)?;
    let mut overrides = Vec::new();
    let mut set = |key: &str, value: Option<String>| overrides.extend(value.map(|value| format!("{key}={value}")));
    set("seed", args.seed.map(|seed| seed.to_string()));
    set("evaluation.final_episodes", args.episodes.map(|n| n.to_string()));
    set("evaluation.actors", args.actors.map(|n| n.to_string()));
    set("evaluation.envs_per_actor", args.envs_per_actor.map(|n| n.to_string()));
    set("evaluation.execution", args.execution.map(|execution| execution.to_string()));
    for target in &args.target_returns {
        ensure!(target.is_finite(), "--target-return: found {target}, expected a finite number");
    }
    if !args.target_returns.is_empty() {
        ensure!(
            run.config(&[])?.policy.tokens.has_return_to_go(),
            "--target-return: the policy of {} is not told a return",
            args.run.display()
        );
        set("evaluation.target_returns", Some(format!("{:?}", args.target_returns)));
    }
    let job = run.config(&overrides)?;
    let (step, checkpoint) = args.checkpoint.of(&run)?;
    let mut policy =
        load_policy(&job, &checkpoint).with_context(|| format!("cannot evaluate the checkpoint {}", checkpoint.display()))?;
    if let Some(cache) = args.cache {
        policy.set_cache(cache).context("--cache")?;
    }
    let evaluation = Evaluation {
        episodes: job.evaluation.final_episodes(),
        seed: aaren_envs::derive_seed(job.seed, &[seeds::EPISODES]),
        latency_steps: Some(evaluate::LATENCY_STEPS),
        stochastic: args.stochastic,
    };
    if !args.cache_sizes.is_empty() {
        let report = cache_sweep::evaluate_caches(&job, &policy, &run.name(), step, &args.cache_sizes, &evaluation)?;
        match &args.json {
            Some(path) => write_json_atomically(path, &report)?,
            None => run.write_json(cache_sweep::FILE, &report)?,
        }
        return report::print(report.render());
    }
    // What a video lacks shows before the episodes are played.
    let video = args.video.as_deref().map(|path| Video::new(path, &job.env.id)).transpose()?;
    let mut report = evaluate::evaluate(&job, &policy, &run.name(), step, &evaluation)?;
    if let Some(cache) = args.cache.filter(|&cache| cache != CachePolicy::Full) {
        report.execution += &format!(", {cache}");
    }
    match &args.json {
        Some(path) => write_json_atomically(path, &report)?,
        None => run.write_json("evaluation.json", &report)?,
    }
    report::print(report.render())?;
    match video {
        Some(mut video) => report::print(video.record(&policy, &evaluate::rollout(&job, &policy, &evaluation)?)?),
        None => Ok(()),
    }
}

/// A stored policy of any kind, held against the run's job and its task.
fn load_policy(job: &JobConfig, checkpoint: &Path) -> Result<AnyPolicy<Cpu>> {
    let policy = aaren_policy::checkpoint::load_any::<Cpu>(checkpoint, &CPU)?;
    let is_the_jobs = match (&policy, &job.ppo) {
        (AnyPolicy::Decision(policy), None) => policy.description.config == job.policy,
        (AnyPolicy::ActorCritic(policy), Some(ppo)) => policy.description.network == ppo.network(&job.policy),
        _ => false,
    };
    ensure!(is_the_jobs, "its policy is not the one of the run's config.json");
    let env = aaren_envs::make(&job.env.id, &job.env.options).context("env")?;
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
