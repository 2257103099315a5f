//! `aaren train`.

use super::JobArgs;
use aaren_agents::{
    config::{Device, JobConfig},
    device::{self},
    offline::{data, train},
    ppo,
    run::{RunDir, interrupt, report},
};
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct TrainArgs {
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

pub fn run(args: &TrainArgs) -> Result<()> {
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
        device::require(job.device)?;
        run.update_config(&job)?;
        let dataset = data(&job)?;
        (job, dataset, run)
    } else {
        let job = args.job.load(more)?;
        let path = args.run.clone().unwrap_or_else(|| RunDir::default_path(args.job.config.as_deref()));
        device::require(job.device)?;
        // The folder is made last, so that a job that cannot start leaves none behind.
        RunDir::check_free(&path)?;
        let dataset = data(&job)?;
        aaren_envs::make(&job.env.id, &job.env.options).context("env")?;
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
