//! Behaviour policies on disk: finding those that fit a task, saving them, and where they come from.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aaren_data::score;
use aaren_envs::{Spec, read_text};
use aaren_policy::{ActorCriticPolicy, AnyDescription, AnyPolicy, checkpoint};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Changes, CollectJob, EnvConfig, Job, Part};
use crate::device::{CPU, Cpu};
use crate::play::saved::{PROVENANCE, shipped};
use crate::play::spaces::action_spec;
use crate::run::files::{UNFINISHED, if_there, remove, remove_leftovers};
use crate::run::interrupt::Whole;
use crate::run::report::{number, short_name};
use crate::run::{RunDir, made_by, write_json_atomically};

/// Where a saved policy comes from, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// How it was trained.
    pub algorithm: Option<String>,
    /// Environment steps of training behind it, where it learned online.
    pub env_steps: Option<u64>,
    /// Optimizer steps of training behind it, where it learned from trajectories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer_steps: Option<u64>,
    /// Mean undiscounted return when it was evaluated then.
    pub return_mean: Option<f64>,
    /// Of the same, in percent.
    pub normalised_score: Option<f64>,
    /// The job that trained it.
    pub job: Option<Value>,
    /// Versions of what trained it; empty where they are not known.
    pub versions: Map<String, Value>,
}

/// Versions of this build, for provenance.
pub(crate) fn versions() -> Map<String, Value> {
    let mut versions = Map::new();
    versions.insert("aaren".into(), env!("CARGO_PKG_VERSION").into());
    if let Some(version) = aaren_envs::mujoco_version() {
        versions.insert("mujoco".into(), version.into());
    }
    versions
}

/// A policy found on disk.
#[derive(Clone, Debug)]
pub(crate) struct FoundPolicy {
    /// What acts.
    pub policy: ActorCriticPolicy<Cpu>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// Of the file of weights: says whether two policies are the same.
    pub checksum: u32,
    /// Where it is.
    pub folder: PathBuf,
}

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PolicyLevel {
    /// The first whose evaluation reached this mean return.
    Reaches(f64),
    /// The best one.
    Best,
}

/// Reads a policy for a task; `level` says which one of a run.
///
/// # Errors
/// If there is none, or it was trained for another task, or its sizes are not the task's.
pub(crate) fn find(path: &Path, level: PolicyLevel, spec: &Spec) -> Result<FoundPolicy> {
    let folder = locate(path, level)?;
    let context = || format!("the policy {}", folder.display());
    let policy = match checkpoint::load_any::<Cpu>(&folder, &CPU)? {
        AnyPolicy::ActorCritic(policy) => policy,
        AnyPolicy::Decision(_) => bail!(
            "{} is a decision policy, which must be asked for a return; a behaviour policy is an actor-critic, as a job with the key \
             \"ppo\" trains them",
            context()
        ),
    };
    let description = &policy.description;
    if let Some(id) = description.environment["id"].as_str() {
        let name = |id: &str| id.rsplit_once("-v").map_or(id, |(name, _)| name).to_string();
        ensure!(name(id) == name(&spec.id), "{} was trained in {id}, this collection is in {}", context(), spec.id);
    }
    ensure!(
        description.normalizer.width() == spec.observation_space.width() && description.action == action_spec(&spec.action_space),
        "{} takes {} numbers and gives {} ({}), {} shows {} and takes {}",
        context(),
        description.normalizer.width(),
        description.action.width(),
        if description.action.is_discrete() { "choices" } else { "numbers" },
        spec.id,
        spec.observation_space.width(),
        spec.action_space.width()
    );
    let weights = folder.join(checkpoint::WEIGHTS);
    let checksum = crc32fast::hash(&fs::read(&weights).with_context(|| format!("cannot read {}", weights.display()))?);
    let provenance = match folder.join(PROVENANCE) {
        path if path.is_file() => {
            let text = read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| path.display().to_string())?
        }
        _ => checkpoint_provenance(&folder)?,
    };
    Ok(FoundPolicy { policy, provenance, checksum, folder })
}

/// The policies that a job's parts need, from disk.
pub(super) fn find_policies(job: &CollectJob, spec: &Spec) -> Result<Vec<(Part, FoundPolicy)>> {
    let mut found = Vec::new();
    for &part in job.collect.dataset.parts() {
        if let Some((path, level)) = place(job, part)? {
            found.push((part, find(&path, level, spec).context(key(part))?));
        }
    }
    Ok(found)
}

/// Where the policy of a part is, and which one of a run; none where nothing acts that is kept.
fn place(job: &CollectJob, part: Part) -> Result<Option<(PathBuf, PolicyLevel)>> {
    let given = match part {
        Part::Medium => &job.collect.policies.medium,
        Part::Expert => &job.collect.policies.expert,
        Part::Random | Part::Replay => return Ok(None),
    };
    let path = match given {
        Some(path) => path.clone(),
        None => committed(&job.robot(), part.name()).with_context(|| key(part))?,
    };
    // A saved policy is what it is; only in a run the level must be found.
    let medium = medium_return(&job.env, job.collect.fraction);
    let level = match medium {
        Ok(medium) if part == Part::Medium => PolicyLevel::Reaches(medium),
        _ => PolicyLevel::Best,
    };
    Ok(Some((path, level)))
}

/// What the first policy of a job's parts says of the environment that it was trained in; null where there is none, or it says nothing.
pub(super) fn trained_in(job: &CollectJob) -> Result<Value> {
    for &part in job.collect.dataset.parts() {
        if let Some((path, level)) = place(job, part)? {
            let description = checkpoint::load_any_description(&locate(&path, level).context(key(part))?)?;
            return Ok(match description {
                AnyDescription::ActorCritic(description) => description.environment,
                _ => Value::Null,
            });
        }
    }
    Ok(Value::Null)
}

fn key(part: Part) -> String {
    format!("collect.policies.{}", part.name())
}

/// The folder of a policy that comes with aaren: `policies/ROBOT-LEVEL`, in the current folder, above it, or above the program.
fn committed(robot: &str, level: &str) -> Result<PathBuf> {
    let name = format!("{robot}-{level}");
    shipped(Path::new(&name)).with_context(|| {
        format!(
            "there is no policy policies/{name} in the current folder, above it or above the program; run this in a checkout of aaren that has \
             it, name a saved policy or the folder of a run here, or set collect.train to a PPO job that trains one"
        )
    })
}

/// The mean return from which on a policy is medium: a share of the way from the random policy's reference to the expert's.
///
/// # Errors
/// If there are no references for the task.
pub(crate) fn medium_return(env: &EnvConfig, fraction: f64) -> Result<f64> {
    let reference = score::of_env(&env.id, &env.options)
        .with_context(|| format!("there are no reference returns for {}, so nothing says what medium is", env.id))?;
    Ok(reference.min + fraction * (reference.max - reference.min))
}

/// The folder with the policy itself: the path, or a checkpoint of a run.
fn locate(path: &Path, level: PolicyLevel) -> Result<PathBuf> {
    if path.join(checkpoint::DESCRIPTION).is_file() {
        return Ok(path.into());
    }
    if path.join("config.json").is_file() {
        let run = RunDir::open(path)?;
        let step = match level {
            PolicyLevel::Best => run.best()?.map(|(step, _)| step),
            PolicyLevel::Reaches(wanted) => {
                let reached = evaluations(&run)?.into_iter().find(|evaluation| evaluation.return_mean >= wanted);
                let missing =
                    || format!("no evaluation of the run {} reached a mean return of {}", path.display(), number(wanted));
                Some(reached.with_context(missing)?.step)
            }
        };
        return match step {
            Some(step) => run.checkpoint_at(step).context(
                "the one that is asked for is no longer there: train with a larger ppo.keep_checkpoints, or let aaren collect train",
            ),
            None => Ok(run.latest_checkpoint()?.with_context(|| format!("the run {} has no checkpoint yet", path.display()))?.1),
        };
    }
    bail!(
        "{}: {}; expected a saved policy (a folder with {} and {}), or the folder of a run",
        path.display(),
        if path.exists() { "there is no policy in it" } else { "there is nothing" },
        checkpoint::DESCRIPTION,
        checkpoint::WEIGHTS
    )
}

/// What the run around a checkpoint says of it; nothing where there is no run around.
fn checkpoint_provenance(folder: &Path) -> Result<Provenance> {
    let Some(root) = folder.parent().and_then(Path::parent).filter(|root| root.join("config.json").is_file()) else {
        return Ok(Provenance::default());
    };
    let run = RunDir::open(root)?;
    let step = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("step-")?.parse().ok());
    let job = run.job(&Changes::default())?;
    let (algorithm, env_steps, optimizer_steps) = match &job {
        Job::Ppo(_) => ("PPO", step, None),
        Job::Offline(job) if job.policy.tokens.has_return_to_go() => ("Decision Transformer", None, step),
        _ => ("behaviour cloning", None, step),
    };
    // Runs of older versions do not say what made them.
    let made_by = made_by::read(root)?.pop().map(serde_json::to_value).transpose()?;
    let evaluated = step.map(|step| evaluation_of(&run, step)).transpose()?.flatten();
    Ok(Provenance {
        algorithm: Some(algorithm.into()),
        env_steps,
        optimizer_steps,
        return_mean: evaluated.map(|evaluated| evaluated.return_mean),
        normalised_score: evaluated.and_then(|evaluated| evaluated.normalised_score),
        job: Some(serde_json::to_value(&job)?),
        versions: made_by.and_then(|made_by| made_by.as_object().cloned()).unwrap_or_default(),
    })
}

/// An evaluation in a run's log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Evaluated {
    pub(super) step: u64,
    pub(super) return_mean: f64,
    pub(super) normalised_score: Option<f64>,
}

fn evaluations(run: &RunDir) -> Result<Vec<Evaluated>> {
    // A run that was imported or converted has not logged anything yet.
    let path = run.path().join("metrics.jsonl");
    let text = if_there(&path, fs::read_to_string(&path))?.unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let evaluated = lines.filter_map(|line| {
        let return_mean = line.get("evaluation/return_mean")?.as_f64()?;
        let normalised_score = line.get("evaluation/normalised_score").and_then(Value::as_f64);
        Some(Evaluated { step: line["step"].as_u64()?, return_mean, normalised_score })
    });
    Ok(evaluated.collect())
}

/// The last evaluation that a run's log has of a step.
pub(super) fn evaluation_of(run: &RunDir, step: u64) -> Result<Option<Evaluated>> {
    Ok(evaluations(run)?.into_iter().rfind(|evaluated| evaluated.step == step))
}

/// Writes a policy into a new folder, all at once.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn keep(policy: &ActorCriticPolicy<Cpu>, provenance: &Provenance, folder: &Path) -> Result<()> {
    put(folder, |folder| {
        checkpoint::save(policy, folder)?;
        write_json_atomically(&folder.join(PROVENANCE), provenance)
    })
}

/// Copies a policy out of a run or from another folder into a new one, with where it comes from.
///
/// Of a run it is the best checkpoint; with `medium` the first whose evaluation is this share of the way from the random policy's
/// reference return to the expert's.
///
/// # Errors
/// If there is no policy, no reference return where one is needed, or something is in the way.
pub fn export(path: &Path, medium: Option<f64>, folder: &Path) -> Result<Provenance> {
    let reaches = |fraction| {
        let job = RunDir::open(path)?.job(&Changes::default())?;
        let env = job.env().with_context(|| format!("the run {} has no environment to reach a return in", path.display()))?;
        medium_return(env, fraction).map(PolicyLevel::Reaches)
    };
    let level = medium.map_or(Ok(PolicyLevel::Best), reaches).context("--medium")?;
    let source = locate(path, level)?;
    let path_of_provenance = source.join(PROVENANCE);
    let provenance: Provenance = match if_there(&path_of_provenance, read_text(&path_of_provenance))? {
        Some(text) => serde_json::from_str(&text).with_context(|| path_of_provenance.display().to_string())?,
        None => checkpoint_provenance(&source)?,
    };
    checkpoint::load_any::<Cpu>(&source, &CPU)?;
    put(folder, |folder| {
        for name in [checkpoint::DESCRIPTION, checkpoint::WEIGHTS] {
            fs::copy(source.join(name), folder.join(name))
                .with_context(|| format!("cannot copy {}", source.join(name).display()))?;
        }
        write_json_atomically(&folder.join(PROVENANCE), &provenance)
    })?;
    Ok(provenance)
}

/// Fills a folder under a temporary name, then gives it its own.
fn put(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    ensure!(!folder.exists(), "{} already exists; choose another folder, or remove it", folder.display());
    let name = folder.file_name().with_context(|| format!("{} is no folder name", folder.display()))?.to_string_lossy();
    // Two processes that write one folder do not meet; the first to end has the name.
    let unfinished = |process: u32| folder.with_file_name(format!("{UNFINISHED}{process}-{}", short_name(&name, 200)));
    let mine = unfinished(std::process::id());
    let context = || format!("cannot write {}", folder.display());
    let _whole = Whole::new();
    remove(&mine).with_context(context)?;
    fs::create_dir_all(&mine).with_context(context)?;
    let put = || {
        fill(&mine).with_context(context)?;
        remove_leftovers(folder, &unfinished).with_context(context)?;
        fs::rename(&mine, folder).map_err(|error| match error.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                anyhow!("{}: another command has just written there; choose another folder, or remove it", folder.display())
            }
            _ => anyhow!(error).context(context()),
        })
    };
    put().inspect_err(|_| drop(remove(&mine)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medium_is_a_third_of_the_way_from_random_to_expert() {
        let env = EnvConfig { id: "Hopper-v5".into(), options: Default::default() };
        assert_eq!(medium_return(&env, 1.0 / 3.0).unwrap().round(), 1065.0);
    }
}
