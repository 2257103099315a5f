//! A collection under way: its output folder, and the episodes that it has so far.

use std::fs;
use std::path::{Path, PathBuf};

use aaren_envs::Spec;
use aaren_policy::checkpoint;
use anyhow::{Context, Result, ensure};

use super::episodes::{EpisodeQuota, play};
use super::folder::{Folder, check_output, is_written};
use super::journal::{Journal, Parts};
use super::policies::{FoundPolicy, find_policies, trained_in};
use super::summary::{PartSummary, Summary, describe, summarize};
use super::training;
use crate::config::{CollectJob, Part};
use crate::run::interrupt::{self, Steps};
use crate::run::progress::Progress;

/// A collection under way, which holds the lock of its output folder. Its episodes are played here, or by other processes whose records
/// are taken: the dataset is the same.
#[derive(Debug)]
pub struct Collection {
    job: CollectJob,
    output: PathBuf,
    spec: Spec,
    folder: Folder,
    found: Vec<(Part, FoundPolicy)>,
    parts: Vec<PartUnderWay>,
    /// A signal stops it at a step.
    _steps: Steps,
}

/// The episodes of one behaviour, as far as they are there.
#[derive(Debug)]
struct PartUnderWay {
    part: Part,
    journal: Journal,
    quota: EpisodeQuota,
}

impl Collection {
    /// Begins or continues a collection in an output folder; trains its behaviour policies where the job says so. Where the job says
    /// nothing of the environment's options, they are those that the policies were trained with.
    ///
    /// # Errors
    /// If something else is in the folder, a behaviour policy is missing or not the task's, the disk refuses, or an interrupt; what
    /// was collected is then kept.
    pub fn begin(job: &CollectJob, output: &Path) -> Result<Self> {
        let job = &in_the_policies_environment(job)?;
        let env = aaren_envs::make(&job.env.id, &job.env.options).context("env")?;
        let spec = env.spec().clone();
        drop(env);
        job.collect.format.check(&spec)?;
        CollectJob::check_episodes_end(&spec)?;
        if job.collect.train.is_some() {
            training::check(job)?;
        }
        // All that can be refused is refused before anything is written.
        check_output(job, output)?;
        let found = if job.collect.train.is_none() { find_policies(job, &spec)? } else { Vec::new() };
        let steps = Steps::new();
        let folder = Folder::open(job, output, &found)?;
        interrupt::check()?;

        let found = match &job.collect.train {
            Some(_) => training::trained_policies(job, &spec, &folder).map_err(|error| folder.kept(error))?,
            None => found,
        };
        let mut parts = Vec::new();
        for &part in job.collect.dataset.parts() {
            let journal = Journal::open(&folder.journal.join(format!("{}.episodes", part.name())))?;
            let mut quota = match part {
                Part::Replay => EpisodeQuota::all(&journal),
                _ => EpisodeQuota::steps(job.collect.steps),
            };
            quota.advance(&journal);
            parts.push(PartUnderWay { part, journal, quota });
        }
        Ok(Self { job: job.clone(), output: output.into(), spec, folder, found, parts, _steps: steps })
    }

    /// What is collected, with the options of the environment that its policies were trained in.
    #[must_use]
    pub fn job(&self) -> &CollectJob {
        &self.job
    }

    /// Plays all episodes that are missing in this process.
    ///
    /// # Errors
    /// As [`Collection::begin`].
    pub fn play(&mut self) -> Result<()> {
        for PartUnderWay { part, journal, quota } in &mut self.parts {
            let found = self.found.iter().find(|(of, _)| of == part).map(|(_, found)| found);
            play(&self.job, *part, found, journal, quota).map_err(|error| self.folder.kept(error))?;
        }
        Ok(())
    }

    /// The parts that lie behind one another in the dataset, by name: their steps so far, and how many are wanted at least.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        self.parts.iter().map(|part| (part.part.name(), part.quota.steps, part.quota.wanted))
    }

    /// What another machine needs to play a part's episodes: the files of its behaviour policy, by name; none where actions are uniform.
    ///
    /// # Errors
    /// Names the file that cannot be read, or the part that there is not.
    pub fn policy_files(&self, part: &str) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let part = self.part(part)?.part;
        let Some((_, found)) = self.found.iter().find(|(of, _)| *of == part) else { return Ok(Vec::new()) };
        let read = |name: &'static str| {
            let path = found.folder.join(name);
            Ok((name, fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?))
        };
        [checkpoint::DESCRIPTION, checkpoint::WEIGHTS].into_iter().map(read).collect()
    }

    /// Whether episodes with these numbers are all there.
    ///
    /// # Errors
    /// Names the part that there is not.
    pub fn has(&self, part: &str, numbers: std::ops::Range<u64>) -> Result<bool> {
        let records = self.part(part)?.journal.records();
        Ok(numbers.into_iter().all(|number| records.contains_key(&number)))
    }

    /// Takes episodes that another process played; says whether the part has enough now. Episodes that are there already, and those
    /// beyond what is wanted, change nothing.
    ///
    /// - `records`: as [`play_range`](super::play_range) gives them
    ///
    /// # Errors
    /// If they are damaged, the part is not there, or the disk refuses.
    pub fn take(&mut self, part: &str, records: &[u8]) -> Result<bool> {
        let at = self.parts.iter().position(|of| of.part.name() == part);
        let part = &mut self.parts[at.with_context(|| no_part(part))?];
        part.journal.append_records(records)?;
        Ok(part.quota.advance(&part.journal))
    }

    fn part(&self, name: &str) -> Result<&PartUnderWay> {
        self.parts.iter().find(|part| part.part.name() == name).with_context(|| no_part(name))
    }

    /// Writes the dataset.
    ///
    /// # Errors
    /// If episodes are missing, or the disk refuses.
    pub fn finish(mut self) -> Result<Summary> {
        for PartUnderWay { part, journal, quota } in &mut self.parts {
            journal.sync()?;
            ensure!(quota.advance(journal), "episodes of the part {} are missing", part.name());
            ensure!(quota.episodes > 0, "the training ended before an episode did; let it make more steps");
        }
        let Self { job, output, spec, folder, found, parts, _steps } = self;
        let policy = |part: Part| found.iter().find(|(of, _)| *of == part || part == Part::Replay).map(|(_, found)| found);
        let summaries: Vec<PartSummary> = parts
            .iter()
            .map(|PartUnderWay { part, journal, quota }| summarize(&job, *part, journal, quota.episodes, policy(*part)))
            .collect();

        let about = describe(&job, &spec, &summaries)?;
        let episodes = Parts { parts: parts.iter().map(|part| (&part.journal, part.quota.episodes)).collect() };
        let mut written = Vec::new();
        for &format in job.collect.format.each() {
            let path = job.destination(&output, format);
            aaren_data::remove_leftovers(&path)?;
            if !is_written(&path, format) {
                let progress = Progress::new(1, &format!("writing {format}"));
                aaren_data::save_episodes(&about, &episodes, &path, format, false)?;
                progress.finish();
            }
            written.push((format, path));
        }
        folder.finish()?;
        Ok(Summary { id: job.id(), parts: summaries, written })
    }
}

fn no_part(name: &str) -> String {
    format!("the collection has no part {name}")
}

/// The job, whose environment has the options that its behaviour policies were trained with where it does not say them itself.
fn in_the_policies_environment(job: &CollectJob) -> Result<CollectJob> {
    let mut job = job.clone();
    let (id, options) = match job.collect.train {
        Some(_) => {
            let trained = training::job_that_trains(&job)?.env;
            (trained.id, trained.options)
        }
        None => {
            let env = trained_in(&job)?;
            (env["id"].as_str().unwrap_or_default().into(), env["options"].as_object().cloned().unwrap_or_default())
        }
    };
    // Policies of another task are refused where they are read.
    if id == job.env.id {
        for (key, value) in options {
            if !job.env.options.contains_key(&key) {
                tracing::info!("env.options.{key}: {value}, as the behaviour policies were trained");
                job.env.options.insert(key, value);
            }
        }
    }
    Ok(job)
}
