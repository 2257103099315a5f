//! `aaren train`.

use super::args::{Checkpoint, JobArgs, Seeds, parse_seeds, show};
use aaren_agents::config::{Changes, Device, Job};
use aaren_agents::offline::{self, trajectories};
use aaren_agents::play::SavedPolicy;
use aaren_agents::run::interrupt::{self, Steps};
use aaren_agents::run::report::{EvaluationReport, TrainSummary};
use aaren_agents::run::{RunDir, check_folder};
use aaren_agents::session::NoObserver;
use aaren_agents::{device, ppo};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Run folder [default: runs/ and the config's name, numbered if taken]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Train a run for each of these seeds, one after another, in folders with -seed1, -seed2, ... after the name, and compare them
    #[arg(long, value_name = "A..B|A,B,C", value_parser = parse_seeds, conflicts_with = "seed")]
    pub seeds: Option<Seeds>,
    /// Where tensors live [default: as in the config]
    #[arg(long)]
    device: Option<Device>,
    /// Continue a run from its newest checkpoint; without a config, with the one in the run folder
    #[arg(long, requires = "run")]
    pub resume: bool,
    /// Begin with the weights of a run (its best checkpoint), a checkpoint or a saved policy, under this job
    #[arg(long, value_name = "RUN|POLICY", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// Print the results as JSON in place of tables
    #[arg(long)]
    pub json: bool,
}

/// What a training ends with, as JSON.
#[derive(Serialize)]
struct Trained<'a> {
    run: &'a Path,
    train: &'a TrainSummary,
    evaluation: &'a EvaluationReport,
}

impl TrainArgs {
    /// What the flags change in the job.
    pub fn changes(&self) -> Changes {
        Changes { device: self.device, ..self.job.changes() }
    }
}

/// Trains, as the job says.
pub fn run(args: &TrainArgs) -> Result<()> {
    let (run, summary, report) = train(args, &args.changes(), args.run.as_deref(), args.resume)?;
    show(args.json, &Trained { run: run.path(), train: &summary, evaluation: &report }, || {
        format!("{summary}\n{report}\nrun folder: {}", run.path().display())
    })
}

/// Trains in a run folder, a new one or one that is resumed.
///
/// - `path`: the folder; none for the next free one of the job's name
pub fn train(
    args: &TrainArgs,
    changes: &Changes,
    path: Option<&Path>,
    resume: bool,
) -> Result<(RunDir, TrainSummary, EvaluationReport)> {
    let (job, run) = if resume {
        let path = path.context("--resume needs --run")?;
        let mut run = RunDir::resume(path)?;
        // What the files leave out is as the run has it, defaults that were derived when it began too.
        let stored = std::iter::once(path.join("config.json"));
        let job = Job::load(&stored.chain(args.job.files.iter().cloned()).collect::<Vec<_>>(), changes)?;
        device::require(job.device())?;
        check_folder(path)?;
        run.update_job(&job)?;
        (job, Some(run))
    } else {
        let job = Job::load(&args.job.files, changes)?;
        device::require(job.device())?;
        job.review()?;
        (job, None)
    };
    let from = args.from.as_deref().map(|path| SavedPolicy::find(path, best)).transpose().context("--from")?;
    if run.is_none() {
        if let Some(path) = path {
            RunDir::check_free(path)?;
        }
        check_folder(path.unwrap_or(Path::new("runs")))?;
        job.env().make()?;
    }
    // The folder is made last, so that a job that cannot start leaves none behind.
    let begin =
        |run: Option<RunDir>, keep_checkpoints, fill: &dyn Fn(&SavedPolicy, &RunDir) -> Result<()>| -> Result<(RunDir, Steps)> {
            // A signal stops the training at a step from here on; before, there is nothing to be kept.
            let steps = Steps::new();
            if let Some(run) = run {
                return Ok((run, steps));
            }
            interrupt::check()?;
            let run = match path {
                Some(path) => RunDir::claim(path, keep_checkpoints)?,
                None => RunDir::claim_next(&args.job.default_run(), keep_checkpoints)?,
            };
            let fill = || {
                if let Some(from) = &from {
                    fill(from, &run)?;
                    run.note_origin(&from.folder, from.step)?;
                }
                run.begin(&job)
            };
            match fill() {
                Ok(()) => Ok((run, steps)),
                Err(error) => Err(run.abandon(error)),
            }
        };
    // What it begins with is in a checkpoint.
    let resumes = resume || from.is_some();
    let ((summary, report), run) = match &job {
        Job::Offline(offline) => {
            let dataset = trajectories(offline)?;
            if run.is_none() {
                offline::review(offline, &dataset)?;
            }
            let fill = |from: &SavedPolicy, run: &RunDir| offline::begin_from(offline, &dataset, from, run);
            let (run, _steps) = begin(run, offline.train.keep_checkpoints, &fill)?;
            interrupt::check()?;
            (offline::train(offline, dataset, &run, resumes)?, run)
        }
        Job::Ppo(online) => {
            let (run, _steps) = begin(run, online.ppo.keep_checkpoints, &|from, run| ppo::begin_from(online, from, run))?;
            (ppo::train(online, &run, resumes, &mut NoObserver)?, run)
        }
        Job::Collect(_) => bail!("this job makes a dataset and trains nothing; run it with `aaren collect`"),
    };
    Ok((run, summary, report))
}

/// The best checkpoint of a run, or the newest where none was marked.
fn best(run: &RunDir) -> Result<(u64, PathBuf)> {
    if run.best()?.is_some() { Checkpoint::Best } else { Checkpoint::Latest }.of(run)
}
