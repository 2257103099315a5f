//! A training as a whole: from the files of its job to its results.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::config::{Changes, Job};
use crate::exchange::{Ranks, SharedRun};
use crate::offline::{self, trajectories};
use crate::play::SavedPolicy;
use crate::run::interrupt::{self, Steps};
use crate::run::report::{EvaluationReport, TrainSummary};
use crate::run::{RunDir, check_folder};
use crate::sequence::make;
use crate::session::NoObserver;
use crate::{device, ppo};

/// What is to be trained, and where: what `aaren train` is asked for.
#[derive(Clone, Debug, Default, Args)]
pub struct TrainRequest {
    /// Jobs, TOML or JSON files, each laid over those before it; without one the built-in quickstart.
    #[arg(value_name = "JOB")]
    pub files: Vec<PathBuf>,
    /// What changes in the job.
    #[command(flatten)]
    pub changes: Changes,
    /// Run folder [default: runs/ and the config's name, numbered if taken].
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Continue a run from its newest checkpoint; without a config, with the one in the run folder.
    #[arg(long, requires = "run")]
    pub resume: bool,
    /// Begin with the weights of a run (its best checkpoint), a checkpoint or a saved policy, under this job.
    #[arg(long, value_name = "RUN|POLICY", conflicts_with = "resume")]
    pub from: Option<PathBuf>,
    /// What comparisons call the agent [default: by what it is]; a table has names.
    #[arg(skip)]
    pub agent: Option<String>,
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
        self.train_together(&Ranks::alone())?.context("one process is the first of all")
    }

    /// The same in several processes, each of which calls this. Rank 0 reads the job, says it to the others and writes the run; gives
    /// nothing to the others.
    ///
    /// # Errors
    /// As [`TrainRequest::train`], [`offline::train_together`] and [`ppo::train_together`].
    pub fn train_together(&self, ranks: &Ranks) -> Result<Option<Trained>> {
        let begun = if ranks.is_first() { Some(self.read()?) } else { None };
        // What it begins with is in a checkpoint.
        let (text, resumes) = ranks.from_first(|| {
            let job = begun.as_ref().map(|(job, ..)| serde_json::to_string(job)).transpose()?;
            Ok((job.unwrap_or_default(), self.resume || self.from.is_some()))
        })?;
        let (job, run, from) = match begun {
            Some(begun) => begun,
            None => (Job::parse(&text, &Changes::default())?, None, None),
        };
        let (key, shards) = job.shards();
        ranks.shards(shards, key)?;
        device::require(job.device(), job.precision())?;
        // The folder is made last, so that a job that cannot start leaves none behind.
        let begin = |run: Option<RunDir>, keep_checkpoints, fill: &dyn Fn(&SavedPolicy, &RunDir) -> Result<()>| {
            // A signal stops the training at a step from here on; before, there is nothing to be kept.
            let steps = Steps::new();
            match (run, ranks.is_first()) {
                (None, true) => self.begin(&job, from.as_ref(), keep_checkpoints, fill).map(|run| (Some(run), steps)),
                (run, _) => Ok((run, steps)),
            }
        };
        let ((train, evaluation), run) = match &job {
            Job::Offline(offline) => {
                let dataset = trajectories(offline)?;
                offline::expect_alike(&dataset, ranks)?;
                if ranks.is_first() && run.is_none() {
                    offline::review(offline, &dataset)?;
                }
                let fill = |from: &SavedPolicy, run: &RunDir| offline::begin_from(offline, &dataset, from, run);
                let (run, _steps) = begin(run, offline.train.keep_checkpoints, &fill)?;
                interrupt::check()?;
                (offline::train_together(offline, dataset, SharedRun::new(run.as_ref(), ranks), resumes)?, run)
            }
            Job::Ppo(online) => {
                let (run, _steps) = begin(run, online.ppo.keep_checkpoints, &|from, run| ppo::begin_from(online, from, run))?;
                (ppo::train_together(online, SharedRun::new(run.as_ref(), ranks), resumes, &mut NoObserver)?, run)
            }
            Job::Sequence(sequence) => {
                let task = make(&sequence.task, sequence.seed)?;
                let fill = |from: &SavedPolicy, run: &RunDir| offline::begin_sequences_from(sequence, &*task, from, run);
                let (run, _steps) = begin(run, sequence.train.keep_checkpoints, &fill)?;
                interrupt::check()?;
                (offline::train_sequences(sequence, task, SharedRun::new(run.as_ref(), ranks), resumes)?, run)
            }
            Job::Collect(_) => bail!("this job makes a dataset and trains nothing; run it with `aaren collect`"),
        };
        Ok(run.map(|run| Trained { run, train, evaluation }))
    }

    /// The job, the run that goes on, and the policy that a new one begins with: looked at before long work.
    fn read(&self) -> Result<(Job, Option<RunDir>, Option<SavedPolicy>)> {
        let Self { files, changes, run: path, resume, .. } = self;
        let path = path.as_deref();
        let (job, run) = if *resume {
            let path = path.context("--resume needs --run")?;
            let mut run = RunDir::resume(path)?;
            // What the files leave out is as the run has it, defaults that were derived when it began too.
            let job = Job::load_stored(&path.join("config.json"), files, changes)?;
            device::require(job.device(), job.precision())?;
            check_folder(path)?;
            run.update_job(&job)?;
            (job, Some(run))
        } else {
            let job = Job::load(files, changes)?;
            device::require(job.device(), job.precision())?;
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
        Ok((job, run, from))
    }

    /// Makes the run folder, and what the run begins with.
    fn begin(
        &self,
        job: &Job,
        from: Option<&SavedPolicy>,
        keep_checkpoints: usize,
        fill: &dyn Fn(&SavedPolicy, &RunDir) -> Result<()>,
    ) -> Result<RunDir> {
        interrupt::check()?;
        let run = match &self.run {
            Some(path) => RunDir::claim(path, keep_checkpoints)?,
            None => RunDir::claim_next(&Path::new("runs").join(self.name()), keep_checkpoints)?,
        };
        let fill = || {
            if let Some(from) = from {
                fill(from, &run)?;
                run.note_origin(&from.folder, from.step)?;
            }
            self.agent.iter().try_for_each(|agent| run.name_agent(agent))?;
            run.begin(job)
        };
        match fill() {
            Ok(()) => Ok(run),
            Err(error) => Err(run.abandon(error)),
        }
    }
}
