//! `aaren train`.

use super::args::{JobArgs, show};
use aaren_agents::config::{Changes, Device, Job};
use aaren_agents::offline::{self, trajectories};
use aaren_agents::run::report::{EvaluationReport, TrainSummary};
use aaren_agents::run::{RunDir, interrupt};
use aaren_agents::session::NoObserver;
use aaren_agents::{device, ppo};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

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
    /// Print the results as JSON in place of tables
    #[arg(long)]
    json: bool,
}

/// What a training ends with, as JSON.
#[derive(Serialize)]
struct Trained<'a> {
    run: &'a Path,
    train: &'a TrainSummary,
    evaluation: &'a EvaluationReport,
}

/// Trains, as the job says.
pub fn run(args: &TrainArgs) -> Result<()> {
    let changes = Changes { device: args.device, ..args.job.changes() };
    let (job, run) = if args.resume {
        let path = args.run.as_deref().context("--resume needs --run")?;
        let mut run = RunDir::resume(path)?;
        // What the files leave out is as the run has it, defaults that were derived when it began too.
        let stored = std::iter::once(path.join("config.json"));
        let job = Job::load(&stored.chain(args.job.files.iter().cloned()).collect::<Vec<_>>(), &changes)?;
        device::require(job.device())?;
        job.review()?;
        run.update_job(&job)?;
        (job, Some(run))
    } else {
        let job = Job::load(&args.job.files, &changes)?;
        device::require(job.device())?;
        job.review()?;
        (job, None)
    };
    let path = args.run.clone().unwrap_or_else(|| args.job.default_run());
    if run.is_none() {
        RunDir::check_free(&path)?;
        job.env().make()?;
    }
    // The folder is made last, so that a job that cannot start leaves none behind.
    let begin = |run: Option<RunDir>, keep_checkpoints| match run {
        Some(run) => Ok(run),
        None => interrupt::check().map_err(Into::into).and_then(|()| RunDir::create(&path, &job, keep_checkpoints)),
    };
    let ((summary, report), run) = match &job {
        Job::Offline(offline) => {
            let dataset = trajectories(offline)?;
            offline::review(offline, &dataset)?;
            let run = begin(run, offline.train.keep_checkpoints)?;
            interrupt::check()?;
            (offline::train(offline, dataset, &run, args.resume)?, run)
        }
        Job::Ppo(online) => {
            let run = begin(run, online.ppo.keep_checkpoints)?;
            (ppo::train(online, &run, args.resume, &mut NoObserver)?, run)
        }
        Job::Collect(_) => bail!("this job makes a dataset and trains nothing; run it with `aaren collect`"),
    };
    show(args.json, &Trained { run: run.path(), train: &summary, evaluation: &report }, || {
        format!("{summary}\n{report}\nrun folder: {}", run.path().display())
    })
}
