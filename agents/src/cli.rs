//! The command line: what can be typed, and which function does it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use envs::dataset::Format;
use policy::{AnyPolicy, mixer::CachePolicy};

use crate::{
    backend::{self, CPU, Cpu},
    bench, caches, collect,
    compare::{self, CompareOptions},
    config::{Device, Execution, JobConfig},
    convert, data, dataset_command, devices, envs_command,
    evaluate::{self, Evaluation},
    inspect, interrupt, ppo, report,
    run::{RunDir, write_json_atomically},
    train,
    video::Video,
};

/// Reinforcement learning with attention as a recurrent network.
#[derive(Debug, Parser)]
#[command(name = "aaren", version, after_help = "AAREN_LOG=info (or debug) says more on stderr.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a policy on trajectories or online, and evaluate it
    Train(TrainArgs),
    /// Evaluate a trained policy with actor threads
    Evaluate(EvaluateArgs),
    /// Put the results of several runs side by side
    Compare(CompareArgs),
    /// Collect a dataset: scripted episodes, or those of behaviour policies as D4RL's are
    Collect(CollectArgs),
    /// Carry a run's trained weights over to another mixer with the same parameters, in a run of its own
    Convert(ConvertArgs),
    /// Copy a policy out of a run, with where it comes from
    Export(ExportArgs),
    /// Describe, check or convert a dataset
    Dataset {
        #[command(subcommand)]
        command: dataset_command::Command,
    },
    /// Show what a job's config means, sizes and all
    Inspect(InspectArgs),
    /// Measure the parts
    Bench(bench::BenchArgs),
    /// List the environments, or replay a recording in one
    Envs {
        #[command(subcommand)]
        command: Option<envs_command::Command>,
    },
    /// List the mixers
    Mixers,
    /// List the devices that policies can be trained on, and why the rest cannot be used
    Devices,
}

#[derive(Debug, Args)]
struct JobArgs {
    /// Job to run, a JSON file; without it the built-in quickstart
    config: Option<PathBuf>,
    /// Set one key of the job, for example --set train.steps=500
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
}

impl JobArgs {
    fn load(&self, more: Vec<String>) -> Result<JobConfig> {
        let overrides = [self.overrides.clone(), more].concat();
        match &self.config {
            Some(path) => JobConfig::load(path, &overrides),
            None => JobConfig::quickstart(&overrides),
        }
    }
}

#[derive(Debug, Args)]
struct TrainArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Run folder [default: runs/ and the config's name, numbered if taken]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Where tensors live [default: as in the config]
    #[arg(long)]
    device: Option<Device>,
    /// Continue a run from its newest checkpoint; without a config, with the one in the run folder
    #[arg(long, requires = "run")]
    resume: bool,
}

#[derive(Debug, Args)]
struct EvaluateArgs {
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

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// The newest.
    Latest,
    /// The one that evaluated best.
    Best,
    /// That of a step.
    Step(u64),
}

impl Checkpoint {
    /// Step and folder.
    fn of(self, run: &RunDir) -> Result<(u64, PathBuf)> {
        let path = run.path().display();
        match self {
            Checkpoint::Step(step) => Ok((step, run.checkpoint_at(step)?)),
            Checkpoint::Best => {
                let (step, _) = run.best().with_context(|| format!("the run {path} has no evaluation yet"))?;
                Ok((step, run.checkpoint_at(step)?))
            }
            Checkpoint::Latest => run
                .latest_checkpoint()?
                .with_context(|| format!("the run {path} has no checkpoint yet; train it with --resume first")),
        }
    }
}

fn parse_checkpoint(text: &str) -> Result<Checkpoint, String> {
    match text {
        "latest" => Ok(Checkpoint::Latest),
        "best" => Ok(Checkpoint::Best),
        step => step.parse().map(Checkpoint::Step).map_err(|_| "expected a step, \"latest\" or \"best\"".into()),
    }
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// Run folders: at least two, or one that was evaluated with --cache-sizes
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Folder for compare.md, compare.json and compare.html [default: `compare` beside the runs]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Make a table with a row for each task; only runs of one row are held against each other
    #[arg(long)]
    table: bool,
    /// Compare even runs on different tasks or data
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct CollectArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Where to write the dataset [default: datasets/ and the dataset's id, or the config's name where the data are scripted]
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// How to store it [default: as in the config; minari where the data are scripted]
    #[arg(long, value_enum)]
    format: Option<collect::Formats>,
}

#[derive(Debug, Args)]
struct ConvertArgs {
    /// Run folder
    run: PathBuf,
    /// The new mixer, for example performer
    #[arg(long)]
    mixer: String,
    /// New run folder [default: the old one's name with the mixer's]
    #[arg(long = "run", value_name = "DIR")]
    new_run: Option<PathBuf>,
    /// Checkpoint to take, by its step
    #[arg(long, value_name = "STEP|latest|best", default_value = "latest", value_parser = parse_checkpoint)]
    checkpoint: Checkpoint,
    /// Set one key of the new run's job, for example --set policy.options.performer.rows=256
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Folder of a run (its best checkpoint is taken), of a checkpoint, or of a saved policy
    policy: PathBuf,
    /// New folder for the policy
    folder: PathBuf,
    /// Take a run's first checkpoint whose evaluation is this share of the way from the random policy's reference return to the
    /// expert's [with no value: a third]
    #[arg(long, value_name = "FRACTION", num_args = 0..=1, default_missing_value = "0.333333333333")]
    medium: Option<f64>,
}

#[derive(Debug, Args)]
struct InspectArgs {
    #[command(flatten)]
    job: JobArgs,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong, for one line on stderr.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Train(args) => train(&args),
            Command::Evaluate(args) => evaluate(&args),
            Command::Compare(args) => {
                let options = CompareOptions { output: args.output, table: args.table, force: args.force };
                let comparison = compare::compare(&args.runs, &options)?;
                report::print(comparison.render())
            }
            Command::Collect(args) => collect(&args),
            Command::Convert(args) => convert(&args),
            Command::Export(args) => export(&args),
            Command::Dataset { command } => command.run(),
            Command::Inspect(args) => inspect(&args),
            Command::Bench(args) => bench::run(args),
            Command::Envs { command } => envs_command::run(command),
            Command::Mixers => mixers(),
            Command::Devices => devices::list(),
        }
    }
}

fn train(args: &TrainArgs) -> Result<()> {
    let more: Vec<String> = args.device.map(|device| format!("device={device}")).into_iter().collect();
    // What is trained on; none where the job learns online.
    let data = |job: &JobConfig| job.ppo.is_none().then(|| data::trajectories(job)).transpose();
    let (job, dataset, run) = if args.resume {
        let path = args.run.as_deref().context("--resume needs --run")?;
        let mut run = RunDir::resume(path)?;
        let job = match args.job.config {
            Some(_) => args.job.load(more)?,
            None => run.config(&[args.job.overrides.clone(), more].concat())?,
        };
        devices::require(job.device)?;
        run.update_config(&job)?;
        let dataset = data(&job)?;
        (job, dataset, run)
    } else {
        let job = args.job.load(more)?;
        let path = args.run.clone().unwrap_or_else(|| RunDir::default_path(args.job.config.as_deref()));
        devices::require(job.device)?;
        // The folder is made last, so that a job that cannot start leaves none behind.
        RunDir::check_free(&path)?;
        let dataset = data(&job)?;
        envs::make(&job.env.id, &job.env.options).context("env")?;
        let run = RunDir::create(&path, &job)?;
        (job, dataset, run)
    };
    interrupt::check()?;
    let (summary, report) = match dataset {
        Some(dataset) => train::train(&job, dataset, &run, args.resume)?,
        None => ppo::train(&job, &run, args.resume, &mut ppo::NoObserver)?,
    };
    report::print(format!("{}\n{}\nrun folder: {}", summary.render(), report.render(), run.path().display()))
}

fn evaluate(args: &EvaluateArgs) -> Result<()> {
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
    let policy =
        load_policy(&job, &checkpoint).with_context(|| format!("cannot evaluate the checkpoint {}", checkpoint.display()))?;
    let cache = args.cache.unwrap_or_default();
    // A policy without a cache to bound shows before the episodes are played.
    policy.bounded_state(cache, 1, &CPU).context("--cache")?;
    let evaluation = Evaluation {
        episodes: job.evaluation.final_episodes(),
        seed: envs::derive_seed(job.seed, &[backend::seeds::EPISODES]),
        latency_steps: Some(evaluate::LATENCY_STEPS),
        cache,
        stochastic: args.stochastic,
    };
    if !args.cache_sizes.is_empty() {
        let report = caches::evaluate_caches(&job, &policy, &run.name(), step, &args.cache_sizes, &evaluation)?;
        match &args.json {
            Some(path) => write_json_atomically(path, &report)?,
            None => run.write_json(caches::FILE, &report)?,
        }
        return report::print(report.render());
    }
    // What a video lacks shows before the episodes are played.
    let video = args.video.as_deref().map(|path| Video::new(path, &job.env.id)).transpose()?;
    let report = evaluate::evaluate(&job, &policy, &run.name(), step, &evaluation)?;
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
    let policy = policy::checkpoint::load_any::<Cpu>(checkpoint, &CPU)?;
    let is_the_jobs = match (&policy, &job.ppo) {
        (AnyPolicy::Decision(policy), None) => policy.description.config == job.policy,
        (AnyPolicy::ActorCritic(policy), Some(ppo)) => policy.description.network == ppo.network(&job.policy),
        _ => false,
    };
    ensure!(is_the_jobs, "its policy is not the one of the run's config.json");
    let env = envs::make(&job.env.id, &job.env.options).context("env")?;
    let spec = env.spec();
    let (width, action) = (policy.observation_width(), policy.action());
    ensure!(
        width == spec.observation_space.width() && *action == train::action_spec(&spec.action_space),
        "its policy takes {width} numbers and gives {} ({}), {} shows {} and takes {}",
        action.width(),
        if action.is_discrete() { "choices" } else { "numbers" },
        spec.id,
        spec.observation_space.width(),
        spec.action_space.width()
    );
    Ok(policy)
}

fn collect(args: &CollectArgs) -> Result<()> {
    if let Some(config) = args.job.config.as_deref()
        && collect::CollectJob::is_one(config)
    {
        let mut job = collect::CollectJob::load(config, &args.job.overrides)?;
        job.collect.format = args.format.unwrap_or(job.collect.format);
        let output = args.output.clone().unwrap_or_else(|| job.default_output());
        return report::print(collect::collect(&job, &output)?.render());
    }
    collect_scripted(args)
}

/// The scripted data of a training job.
fn collect_scripted(args: &CollectArgs) -> Result<()> {
    let job = args.job.load(Vec::new())?;
    data::collection(&job)?;
    let dataset = data::trajectories(&job)?;
    interrupt::check()?;
    let stem = args.job.config.as_deref().and_then(Path::file_stem).unwrap_or("quickstart".as_ref());
    let steps: usize = dataset.trajectories.iter().map(envs::dataset::Trajectory::len).sum();
    for &format in args.format.unwrap_or(collect::Formats::Minari).each() {
        let path = args.output.clone().unwrap_or_else(|| Path::new("datasets").join(stem));
        // Two datasets, two names.
        let is_beside = args.output.is_none() || args.format == Some(collect::Formats::Both);
        let path = if format == Format::D4rl && is_beside { path.with_extension("hdf5") } else { path };
        dataset_command::save(&dataset, &path, format, false, "choose another place with --output")?;
        report::print(format!("wrote {} episodes, {steps} steps, to {}", dataset.trajectories.len(), path.display()))?;
    }
    Ok(())
}

fn convert(args: &ConvertArgs) -> Result<()> {
    let run = RunDir::open(&args.run)?;
    let (step, checkpoint) = args.checkpoint.of(&run)?;
    let beside = || args.run.with_file_name(format!("{}-{}", run.name(), args.mixer));
    let to = args.new_run.clone().unwrap_or_else(beside);
    let conversion = convert::convert(&run, (step, &checkpoint), &args.mixer, &args.overrides, &to)?;
    report::print(conversion.render(&to))
}

fn export(args: &ExportArgs) -> Result<()> {
    let level = match args.medium {
        Some(fraction) => {
            let job = RunDir::open(&args.policy).context("--medium")?.config(&[])?;
            collect::Level::Reaches(collect::medium_return(&job.env, fraction).context("--medium")?)
        }
        None => collect::Level::Best,
    };
    let provenance = collect::export(&args.policy, level, &args.folder)?;
    let at = provenance.env_steps.map(|steps| format!(", {steps} environment steps")).unwrap_or_default();
    let score = provenance.normalised_score.map(|score| format!(", score {score:.1}")).unwrap_or_default();
    report::print(format!("wrote the policy to {}{at}{score}", args.folder.display()))
}

fn inspect(args: &InspectArgs) -> Result<()> {
    let job = args.job.load(Vec::new())?;
    report::print(inspect::inspect(&job)?)
}

fn mixers() -> Result<()> {
    let mut table = report::table(&["mixer", "what it is"]);
    for (name, sentence) in policy::mixer::list() {
        table.add_row([name, sentence.trim()]); // doc comments begin with a blank
    }
    report::print(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_checkpoint_is_a_step_or_has_a_name() {
        assert_eq!(parse_checkpoint("latest"), Ok(Checkpoint::Latest));
        assert_eq!(parse_checkpoint("best"), Ok(Checkpoint::Best));
        assert_eq!(parse_checkpoint("500"), Ok(Checkpoint::Step(500)));
        assert!(parse_checkpoint("last").is_err());
    }
}
