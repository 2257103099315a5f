//! The run folder: the job as resolved, its checkpoints, its logs and its results.
//!
//! Nothing in it is ever half written under its final name: files and folders are written under a temporary name, synced,
//! then renamed. A killed job leaves at most temporary names behind, which readers ignore and [`RunDir::resume`] removes.

mod best;
mod job;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use thiserror::Error;

use super::files::{
    BEST, CHECKPOINTS, CONFIG, UNFINISHED, entries, refuse_link, remove, sync_folder, sync_tree, write_json_atomically,
};
use super::lock::Lock;
use super::output::check_folder;
use crate::config::Changes;

/// Begins the name of a checkpoint that is being replaced by a newer one of the same step.
const REPLACED: &str = ".replaced-";
/// Begins the name of a checkpoint that could not be read.
const DAMAGED: &str = "damaged-";
/// Locked by the process that writes the run.
const LOCK: &str = "lock";
/// Evaluations after the training.
pub(crate) const EVALUATIONS: &str = "evaluations";
/// Where a run's first weights come from, if they were not drawn.
pub(crate) const CONVERTED: &str = "converted.json";
pub(crate) const BEGUN_FROM: &str = "begun_from.json";
pub(crate) const AGENT: &str = "agent.json";
pub(crate) const IMPORTED: &str = "imported.json";

/// A run folder that cannot be had.
#[derive(Debug, Error)]
pub enum Taken {
    /// A run or other files are in it.
    #[error("the run folder {} is not empty; continue that run with --resume, remove it, or choose another folder with --run", .0.display())]
    NotEmpty(PathBuf),
    /// Another process has locked it.
    #[error("another process{} is writing the run {}{advice}", process.map(|id| format!(" ({id})")).unwrap_or_default(), path.display())]
    Writing {
        /// The folder.
        path: PathBuf,
        /// The process, where it is known.
        process: Option<u32>,
        /// What to do about it.
        advice: &'static str,
    },
}

/// One run's folder.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    keep_checkpoints: usize,
    /// Held while this process writes the run, so that two jobs cannot write the same one. None in a run opened to read.
    _lock: Option<Lock>,
    /// Whether this process made the folder.
    is_made: bool,
}

impl RunDir {
    /// Makes a new run folder, with the folders above it, and writes the job as `config.json`.
    ///
    /// # Errors
    /// As [`RunDir::claim`] and [`RunDir::begin`].
    pub fn create(path: &Path, job: &impl Serialize, keep_checkpoints: usize) -> Result<RunDir> {
        let run = Self::claim(path, keep_checkpoints)?;
        run.begin(job)?;
        Ok(run)
    }

    /// Makes a new run folder, with the folders above it, that is no run yet: what a run begins with goes in before its job does.
    ///
    /// # Errors
    /// If the folder exists and is not free, another process is making a run of it, or it cannot be made or written.
    pub fn claim(path: &Path, keep_checkpoints: usize) -> Result<RunDir> {
        Self::check_free(path)?;
        let advice = "; choose another folder with --run";
        Ok(Self::try_claim(path, keep_checkpoints)?.ok_or_else(|| Taken::Writing { path: path.into(), process: None, advice })?)
    }

    /// As [`RunDir::claim`], but of a name that is taken the next one: `NAME`, `NAME-2`, `NAME-3`, ... Jobs that begin together get
    /// different folders.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn claim_next(path: &Path, keep_checkpoints: usize) -> Result<RunDir> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let numbered = (2..).map(|number: u64| path.with_file_name(format!("{name}-{number}")));
        let mut names = std::iter::once(path.to_path_buf()).chain(numbered);
        names.find_map(|name| Self::try_claim(&name, keep_checkpoints).transpose()).context("every name is taken")?
    }

    /// The folder, if nobody else has it.
    fn try_claim(path: &Path, keep_checkpoints: usize) -> Result<Option<RunDir>> {
        if !is_free(path)? {
            return Ok(None);
        }
        let is_made = !path.exists();
        fs::create_dir_all(path).with_context(|| format!("cannot make the run folder {}", path.display()))?;
        let Ok(lock) = lock(path)? else { return Ok(None) };
        // Another process may have made a run between the look and the lock.
        if !is_free(path)? {
            return Ok(None);
        }
        let run = RunDir { path: path.to_path_buf(), keep_checkpoints, _lock: Some(lock), is_made };
        run.clean(path)?;
        let make = |checkpoints: &Path| remove(checkpoints).and_then(|()| fs::create_dir(checkpoints));
        let origins = || [CONVERTED, BEGUN_FROM, IMPORTED, AGENT].iter().try_for_each(|name| remove(&path.join(name)));
        let made = make(&run.checkpoints()).and_then(|()| origins());
        made.with_context(|| format!("cannot write to {}", path.display()))?;
        Ok(Some(run))
    }

    /// Makes a run of a claimed folder by writing its job as `config.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(&self, job: &impl Serialize) -> Result<()> {
        self.write_json(CONFIG, job)
    }

    /// Leaves a claimed folder as it was before, since no run will be made of it; gives the reason back.
    pub fn abandon(self, reason: anyhow::Error) -> anyhow::Error {
        // What cannot be removed is what a killed job leaves: the folder is still free.
        let made = [CONFIG, CHECKPOINTS, CONVERTED, BEGUN_FROM, AGENT, LOCK];
        let removed = made.iter().try_for_each(|name| remove(&self.path.join(name)));
        if removed.is_ok() && self.is_made {
            let _ = fs::remove_dir(&self.path);
        }
        reason
    }

    /// Says in a claimed folder which policy the run begins with, and how many steps are behind that.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note_origin(&self, policy: &Path, step: u64) -> Result<()> {
        self.write_json(BEGUN_FROM, &serde_json::json!({ "policy": policy, "step": step }))
    }

    /// Says in a claimed folder what the agent is called that the run is of.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn name_agent(&self, name: &str) -> Result<()> {
        self.write_json(AGENT, &serde_json::json!({ "name": name }))
    }

    /// Whether a new run could be made here, as far as can be told without making it: a look before long work.
    ///
    /// # Errors
    /// If the folder exists and is not free.
    pub fn check_free(path: &Path) -> Result<()> {
        if is_free(path)? { Ok(()) } else { Err(Taken::NotEmpty(path.into()).into()) }
    }

    /// Opens a run to continue it, and removes what a killed job left unfinished.
    ///
    /// # Errors
    /// If there is no run, or another process is writing it.
    pub fn resume(path: &Path) -> Result<RunDir> {
        let mut run = Self::open(path)?;
        let held = lock(path)?.map_err(|process| Taken::Writing { path: path.into(), process, advice: "" });
        run._lock = Some(held?);
        refuse_link(&run.checkpoints())?;
        run.clean(&run.path)?;
        if run.checkpoints().is_dir() {
            run.clean(&run.checkpoints())?;
        } else {
            fs::create_dir(run.checkpoints()).with_context(|| format!("cannot write to {}", path.display()))?;
        }
        Ok(run)
    }

    /// Opens a finished or running run to read it, or to add results to it.
    ///
    /// # Errors
    /// If there is no run here.
    pub fn open(path: &Path) -> Result<RunDir> {
        ensure!(path.exists(), "there is no run folder {}", path.display());
        ensure!(
            path.join("config.json").is_file(),
            "{} is not a run folder: it has no config.json; `aaren train` makes run folders",
            path.display()
        );
        let run = RunDir { path: path.to_path_buf(), keep_checkpoints: 1, _lock: None, is_made: false };
        let keep_checkpoints = run.job(&Changes::default())?.keep_checkpoints();
        Ok(RunDir { keep_checkpoints, ..run })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder's name, which names the run in tables and reports.
    pub fn name(&self) -> String {
        let full = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        full.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// Writes the checkpoint of a step: `fill` gets an empty folder, which appears under its name only when it is complete
    /// and on disk. Then prunes old checkpoints.
    ///
    /// # Errors
    /// What `fill` returned, or what the file system refused; the checkpoints that were there are still there.
    pub(crate) fn checkpoint(&self, step: u64, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let name = checkpoint_name(step);
        let (unfinished, finished) = (self.checkpoints().join(format!("{UNFINISHED}{name}")), self.checkpoints().join(&name));
        let context = || format!("cannot write the checkpoint {}", finished.display());
        ensure!(
            self.path.join(LOCK).exists(),
            "the run folder {} is gone: it was removed or renamed while the run was written",
            self.path.display()
        );
        remove(&unfinished).with_context(context)?;
        fs::create_dir(&unfinished).with_context(context)?;
        fill(&unfinished).with_context(context)?;
        sync_tree(&unfinished)?;
        let replaced = self.checkpoints().join(format!("{REPLACED}{name}"));
        if finished.exists() {
            remove(&replaced).with_context(context)?;
            fs::rename(&finished, &replaced).with_context(context)?;
        }
        fs::rename(&unfinished, &finished).with_context(context)?;
        sync_folder(&self.checkpoints()).with_context(context)?;
        remove(&replaced).with_context(context)?;
        self.prune()?;
        Ok(finished)
    }

    /// Step and folder of the newest complete checkpoint.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn latest_checkpoint(&self) -> Result<Option<(u64, PathBuf)>> {
        Ok(self.all_checkpoints()?.pop())
    }

    /// What `load` makes of the newest checkpoint, or of the newest that it can read: those that it cannot are said and set aside, so
    /// that they are neither pruned for nor taken for the newest again. None if there is no checkpoint.
    ///
    /// # Errors
    /// What `load` says of the newest, if it can read none.
    pub(crate) fn load_newest<T>(&self, mut load: impl FnMut(&Path) -> Result<T>) -> Result<Option<T>> {
        let mut damaged = Vec::new();
        for (step, folder) in self.all_checkpoints()?.into_iter().rev() {
            match load(&folder) {
                Err(error) => damaged.push((step, folder, error)),
                Ok(loaded) => {
                    damaged.iter().try_for_each(|(step, path, error)| {
                        let aside = self.checkpoints().join(format!("{DAMAGED}{}", checkpoint_name(*step)));
                        let (aside_path, older) = (aside.display(), folder.display());
                        tracing::warn!(
                            "{error:#}; that checkpoint is set aside as {aside_path}, and training goes on from {older}"
                        );
                        let unmarked =
                            self.marked().is_some_and(|(best, _)| best == *step).then(|| remove(&self.path.join(BEST)));
                        unmarked
                            .unwrap_or(Ok(()))
                            .and_then(|()| remove(&aside))
                            .and_then(|()| fs::rename(path, &aside))
                            .with_context(|| format!("cannot rename {}", path.display()))
                    })?;
                    // What a checkpoint did not come to is done now; one that is marked best has come to it.
                    if self.marked().is_none_or(|(best, _)| best != step) {
                        self.prune()?;
                    }
                    return Ok(Some(loaded));
                }
            }
        }
        if damaged.is_empty() && self.path.join("train.json").is_file() {
            let path = self.path.display();
            tracing::warn!("{path}: this run had come to its end, and its checkpoints are gone: it is trained anew from step 0");
        }
        damaged.into_iter().next().map_or(Ok(None), |(.., error)| Err(error.context("cannot resume")))
    }

    /// The checkpoint of a step.
    ///
    /// # Errors
    /// Says which steps there are.
    pub fn checkpoint_at(&self, step: u64) -> Result<PathBuf> {
        let all = self.all_checkpoints()?;
        let steps: Vec<String> = all.iter().map(|(step, _)| step.to_string()).collect();
        all.into_iter().find(|(at, _)| *at == step).map(|(_, path)| path).ok_or_else(|| match steps.is_empty() {
            true => anyhow!("the run {} has no checkpoint", self.path.display()),
            false => anyhow!(
                "the run {} has no checkpoint of step {step}; it has those of steps {}",
                self.path.display(),
                steps.join(", ")
            ),
        })
    }

    /// Writes a value as indented JSON, all at once: readers see the old file or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_json_atomically(&self.path.join(name), value)
    }

    /// Whether a later evaluation could be written, as far as can be told before it is made.
    ///
    /// # Errors
    /// If the folder cannot be written, or a link or a file is in the place of `evaluations/`.
    pub fn check_evaluations(&self) -> Result<()> {
        let folder = self.path.join(EVALUATIONS);
        refuse_link(&folder)?;
        check_folder(&folder)
    }

    /// Writes a later evaluation of the run as `evaluations/NAME.json`; gives its path.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_evaluation(&self, name: &str, report: &impl Serialize) -> Result<PathBuf> {
        let folder = self.path.join(EVALUATIONS);
        refuse_link(&folder)?;
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make the folder {}", folder.display()));
            }
            _ => {}
        }
        let path = folder.join(format!("{name}.json"));
        write_json_atomically(&path, report)?;
        Ok(path)
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Complete checkpoints, oldest first.
    fn all_checkpoints(&self) -> Result<Vec<(u64, PathBuf)>> {
        let folder = self.checkpoints();
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in entries(&folder)? {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            let step = path.file_name().and_then(|name| name.to_str()).and_then(parse_checkpoint_name);
            found.extend(step.filter(|_| path.is_dir()).map(|step| (step, path)));
        }
        found.sort();
        Ok(found)
    }

    fn prune(&self) -> Result<()> {
        let (all, best) = (self.all_checkpoints()?, self.marked().map(|(step, _)| step));
        let kept_from = all.len().saturating_sub(self.keep_checkpoints.max(1));
        for (step, path) in &all[..kept_from] {
            if Some(*step) != best {
                // Renamed first, so that a kill in the middle leaves no folder that looks complete.
                let unfinished = self.checkpoints().join(format!("{UNFINISHED}{}", checkpoint_name(*step)));
                fs::rename(path, &unfinished)
                    .and_then(|()| remove(&unfinished))
                    .with_context(|| format!("cannot remove the old checkpoint {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Removes leftovers in a folder; a checkpoint that was moved away and not yet replaced comes back.
    fn clean(&self, folder: &Path) -> Result<()> {
        let context = || format!("cannot clean up {}", folder.display());
        for entry in entries(folder)? {
            let path = entry.with_context(context)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if let Some(name) = name.strip_prefix(REPLACED) {
                let finished = folder.join(name);
                match finished.exists() {
                    true => remove(&path).with_context(context)?,
                    false => fs::rename(&path, finished).with_context(context)?,
                }
            } else if name.starts_with(UNFINISHED) {
                remove(&path).with_context(context)?;
            }
        }
        Ok(())
    }
}

fn checkpoint_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// Whether a folder can hold the checkpoint of a step: it has not the name of another's.
pub(crate) fn is_of_step(folder: &Path, step: u64) -> bool {
    let named = folder.file_name().and_then(|name| parse_checkpoint_name(name.to_str()?));
    named.is_none_or(|named| named == step)
}

fn parse_checkpoint_name(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (checkpoint_name(step) == name).then_some(step)
}

/// Whether a new run can be made in a folder: it is not there or empty, or in it is what a run that never began left behind.
fn is_free(path: &Path) -> Result<bool> {
    if !path.is_dir() {
        return Ok(true);
    }
    let names = entries(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> =
        names.collect::<std::io::Result<_>>().with_context(|| format!("cannot read the folder {}", path.display()))?;
    let is_leftover = |name: &String| {
        [LOCK, CHECKPOINTS, CONVERTED, BEGUN_FROM, IMPORTED, AGENT].contains(&name.as_str()) || name.starts_with(UNFINISHED)
    };
    Ok(names.is_empty() || names.iter().any(|name| name == LOCK) && names.iter().all(is_leftover))
}

/// The lock of a run folder, or the process that has it, where it is known.
fn lock(path: &Path) -> Result<Result<Lock, Option<u32>>, anyhow::Error> {
    refuse_link(&path.join(LOCK))?;
    Lock::take(&path.join(LOCK)).with_context(|| format!("cannot write to the run folder {}", path.display()))
}

#[cfg(test)]
mod tests;
