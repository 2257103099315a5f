//! A policy on disk: of a run, one of its checkpoints, exported, or one that comes with aaren.

use std::fs;
use std::path::{Path, PathBuf};

use aaren_envs::read_text;
use aaren_policy::{AnyPolicy, checkpoint};
use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::config::{Changes, Job};
use crate::device::{CPU, Cpu};
use crate::run::RunDir;
use crate::run::files::{CONFIG, if_there};

/// The folder of the policies that come with aaren.
const POLICIES: &str = "policies";

/// Beside a saved policy: where it comes from.
pub(crate) const PROVENANCE: &str = "provenance.json";

/// Paths below any folder, and what the files contain.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// A policy on disk.
///
/// ```no_run
/// use aaren_agents::{config::Changes, play::{Evaluation, SavedPolicy, evaluate}};
///
/// let saved = SavedPolicy::find("policies/hopper-medium".as_ref(), |run| Ok(run.latest_checkpoint()?.expect("a checkpoint")))?;
/// let job = saved.job(&Changes::default())?.expect("it says which job trained it").ppo()?;
/// println!("{}", evaluate(&saved.load()?, &saved.name, saved.step, &Evaluation::from(&job))?);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct SavedPolicy {
    /// Where its weights and its description are.
    pub folder: PathBuf,
    /// What it is called: the run's name, or the folder's.
    pub name: String,
    /// Steps of training behind it; 0 where nobody knows.
    pub step: u64,
    /// The run that it is of.
    pub run: Option<RunDir>,
}

impl SavedPolicy {
    /// Looks for a policy: the path is of a run, of whose checkpoints `choose` takes one (step and folder), of a checkpoint, of a saved
    /// policy, or the name of one that comes with aaren.
    ///
    /// # Errors
    /// What `choose` returned, or that there is none, with what is expected.
    pub fn find(path: &Path, choose: impl FnOnce(&RunDir) -> Result<(u64, PathBuf)>) -> Result<Self> {
        let is_policy = |path: &Path| path.join(checkpoint::DESCRIPTION).is_file();
        if is_policy(path) {
            return Self::of_folder(path);
        }
        if path.join("config.json").is_file() {
            let run = RunDir::open(path)?;
            let (step, folder) = choose(&run)?;
            return Ok(Self { folder, name: run.name(), step, run: Some(run) });
        }
        match shipped(path) {
            Some(shipped) if !path.exists() && is_policy(&shipped) => Self::of_folder(&shipped),
            _ => bail!(
                "{}: {}; expected the folder of a run, of a checkpoint or of a saved policy (with {} and {}), or the name of one in {POLICIES}/",
                path.display(),
                if path.exists() { "there is no policy in it" } else { "there is no run folder or policy" },
                checkpoint::DESCRIPTION,
                checkpoint::WEIGHTS
            ),
        }
    }

    fn of_folder(folder: &Path) -> Result<Self> {
        let full = folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))?;
        let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let root = full.ancestors().nth(2).filter(|root| root.join("config.json").is_file());
        if let (Some(root), Some(step)) = (root, name.strip_prefix("step-").and_then(|step| step.parse().ok())) {
            let run = RunDir::open(root)?;
            return Ok(Self { folder: folder.into(), name: run.name(), step, run: Some(run) });
        }
        let provenance = provenance(folder)?;
        let steps = ["env_steps", "optimizer_steps"].iter().find_map(|key| provenance[*key].as_u64());
        Ok(Self { folder: folder.into(), name, step: steps.unwrap_or(0), run: None })
    }

    /// The job that trained it, with changes, where its run or its folder says so.
    ///
    /// # Errors
    /// As [`Job::load`].
    pub fn job(&self, changes: &Changes) -> Result<Option<Job>> {
        if let Some(run) = &self.run {
            return run.job(changes).map(Some);
        }
        let job = provenance(&self.folder)?["job"].take();
        let read = |job| Job::parse_stored(job, changes).with_context(|| self.folder.join(PROVENANCE).display().to_string());
        (!job.is_null()).then_some(job).map(read).transpose()
    }

    /// What another machine needs to play it as here: the files that say what it is, of which job, and its weights, by paths below any folder,
    /// and the path of the policy there.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn files(&self) -> Result<(PathBuf, Files)> {
        let name = Path::new(&self.name);
        let mut wanted = Vec::new();
        let place = match &self.run {
            Some(run) => {
                wanted.push((name.join(CONFIG), run.path().join(CONFIG)));
                let folder = self.folder.canonicalize().with_context(|| format!("cannot read {}", self.folder.display()))?;
                name.join("checkpoints").join(folder.file_name().context("a checkpoint has a name")?)
            }
            None => name.to_path_buf(),
        };
        wanted.extend([checkpoint::DESCRIPTION, checkpoint::WEIGHTS].map(|file| (place.join(file), self.folder.join(file))));
        if self.folder.join(PROVENANCE).is_file() {
            wanted.push((place.join(PROVENANCE), self.folder.join(PROVENANCE)));
        }
        let read = |(path, file): (PathBuf, PathBuf)| {
            Ok((path, fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?))
        };
        Ok((place, wanted.into_iter().map(read).collect::<Result<_>>()?))
    }

    /// The policy, to act with.
    ///
    /// # Errors
    /// Names the file that is missing or damaged.
    pub fn load(&self) -> Result<AnyPolicy<Cpu>> {
        Ok(checkpoint::load_any::<Cpu>(&self.folder, &CPU)?)
    }
}

/// What a folder says of where its policy comes from; null without a word.
fn provenance(folder: &Path) -> Result<Value> {
    let path = folder.join(PROVENANCE);
    let Some(text) = if_there(&path, read_text(&path))? else { return Ok(Value::Null) };
    serde_json::from_str(&text).with_context(|| format!("{}: not JSON", path.display()))
}

/// The folder of a policy that comes with aaren: `policies/NAME`, in the current folder, above it, or above the program.
pub(crate) fn shipped(name: &Path) -> Option<PathBuf> {
    let name = if name.starts_with(POLICIES) { name.to_path_buf() } else { Path::new(POLICIES).join(name) };
    if name.is_dir() {
        return Some(name);
    }
    let above = |start: PathBuf| start.ancestors().map(|folder| folder.join(&name)).find(|path| path.is_dir());
    [std::env::current_dir(), std::env::current_exe()].into_iter().flatten().find_map(above)
}
