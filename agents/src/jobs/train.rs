//! A training as a whole: from the files of its job to its results.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::config::{Changes, Job};
use crate::offline::{self, trajectories};
use crate::play::SavedPolicy;
use crate::run::interrupt::{self, Steps};
use crate::run::report::{EvaluationReport, TrainSummary};
use crate::run::{RunDir, check_folder};
use crate::session::NoObserver;
use crate::{device, ppo};

/// What is to be trained, and where.
#[derive(Clone, Debug, Default)]
pub struct TrainRequest {
    /// Jobs, each laid over those before it; none for the built-in quickstart.
    pub files: Vec<PathBuf>,
    /// What changes in the job.
    pub changes: Changes,
    /// The run folder; `None` for the next free one of [`TrainRequest::name`] in `runs/`.
    pub run: Option<PathBuf>,
    /// Whether the run goes on from its newest checkpoint; without files, with the job in its folder.
    pub resume: bool,
    /// A run (its best checkpoint), a checkpoint or a saved policy, whose weights the training begins with.
    pub from: Option<PathBuf>,
}

/// What a training ends with.
#[derive(Debug, Serialize)]
pub struct Trained {
    /// The run folder.
    #[serde(serialize_with = "path")]
    pub run: RunDir,
    /// How the training went.
    pub train: TrainSummary,
    /// What the policy reached at the end.
    pub evaluation: EvaluationReport,
}

fn path<S: serde::Serializer>(run: &RunDir, serializer: S) -> Result<S::Ok, S::Error> {
    run.path().serialize(serializer)
}

impl TrainRequest {
    /// What the job's files call it: their names joined, or `quickstart` without one.
    pub fn name(&self) -> String {
        let stems: Vec<_> = self.files.iter().filter_map(|file| file.file_stem()).map(|stem| stem.to_string_lossy()).collect();
        if stems.is_empty() { "quickstart".into() } else { stems.join("-") }
    }

    /// Trains in a run folder, a new one or one that is resumed.
    ///
    /// # Errors
    /// What is wrong with the job, its data or its folder, before anything is written; later as [`offline::train`] and [`ppo::train`].
    pub fn train(&self) -> Result<Trained> {
        let Self { files, changes, run: path, resume, .. } = self;
        let (path, resume) = (path.as_deref(), *resume);
        let (job, run) = if resume {
            let path = path.context("--resume needs --run")?;
            let mut run = RunDir::resume(path)?;
            // What the files leave out is as the run has it, defaults that were derived when it began too.
            let stored = std::iter::once(path.join("config.json"));
            let job = Job::load(&stored.chain(files.iter().cloned()).collect::<Vec<_>>(), changes)?;
            device::require(job.device())?;
            check_folder(path)?;
            run.update_job(&job)?;
            (job, Some(run))
        } else {
            let job = Job::load(files, changes)?;
            device::require(job.device())?;
            job.review()?;
            (job, None)
        };
        let from = self.from.as_deref().map(|path| SavedPolicy::find(path, RunDir::best_or_latest));
        let from = from.transpose().context("--from")?;
        if run.is_none() {
            if let Some(path) = path {
                RunDir::check_free(path)?;
            }
            check_folder(path.unwrap_or(Path::new("runs")))?;
            job.env().map_or(Ok(()), |env| env.make().map(drop))?;
        }
        // The folder is made last, so that a job that cannot start leaves none behind.
        let begin = |run: Option<RunDir>, keep_checkpoints, fill: &dyn Fn(&SavedPolicy, &RunDir) -> Result<()>| {
            // A signal stops the training at a step from here on; before, there is nothing to be kept.
            let steps = Steps::new();
            if let Some(run) = run {
                return Ok((run, steps));
            }
            interrupt::check()?;
            let run = match path {
                Some(path) => RunDir::claim(path, keep_checkpoints)?,
                None => RunDir::claim_next(&Path::new("runs").join(self.name()), keep_checkpoints)?,
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
        let ((train, evaluation), run) = match &job {
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
        Ok(Trained { run, train, evaluation })
    }
}
