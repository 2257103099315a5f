//! `aaren collect` for datasets made the D4RL way: behaviour policies, their episodes, and the files.
//!
//! The output folder holds everything. Finished episodes go into a journal in it, so a collection that is killed goes on when the
//! same command runs again, and ends with the same bytes as one that was not. The dataset's files appear when they are complete, and
//! then the journal goes. Episodes are never in memory together; the HDF5 writer holds one file, uncompressed.

mod behaviour;
mod journal;
mod record;
mod training;

pub use crate::config::collect::{CollectConfig, CollectJob, DatasetKind, Formats, Part, Policies};
pub use behaviour::{Behaviour, Level, Provenance, export, keep, versions};
pub use journal::{Journal, Parts, Record};
pub use training::medium_return;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Instant,
};

use aaren_data::{self, Dataset, Format, JOURNAL, score, statistics::Spread};
use aaren_envs::{Spec, derive_seed};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::run::{
    differing_keys,
    interrupt::{self, Interrupted},
    progress::Progress,
    report::{self, mean_std, number},
    write_json_atomically,
};
use behaviour::Found;
use record::Rollout;

/// The place of episodes in the tree of seeds, by part.
const COLLECTION: u64 = 0x636f_6c6c; // "coll"

/// In the journal's folder: what the collection is of.
const BEGUN: &str = "begun.json";
/// In the output folder: the run that trained the behaviour policies, and these policies.
const RUN: &str = "run";
const POLICIES: &str = "policies";

/// What a collection made.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The dataset's id.
    pub id: String,
    /// Its parts in order.
    pub parts: Vec<PartSummary>,
    /// What was written, by format.
    pub written: Vec<(Format, PathBuf)>,
}

/// The episodes of one behaviour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartSummary {
    /// Its name.
    pub name: String,
    /// Episodes.
    pub episodes: u64,
    /// Environment steps.
    pub steps: u64,
    /// Undiscounted returns.
    pub returns: Spread,
    /// Steps of an episode.
    pub lengths: Spread,
    /// Episodes that the task itself ended.
    pub terminated: u64,
    /// Normalised score of the mean return, in percent, where references are known.
    pub normalised_score: Option<f64>,
    /// `uniform`, `sampled` or `most likely`; of a training `sampled`.
    pub actions: String,
    /// Who acted, and where that policy comes from.
    pub policy: Option<Value>,
}

impl Summary {
    /// As a table.
    pub fn render(&self) -> String {
        let mut table = report::table(&["part", "episodes", "steps", "return", "min", "max", "length", "terminated", "score"]);
        report::align_right(&mut table, 1);
        for part in &self.parts {
            table.add_row([
                part.name.clone(),
                part.episodes.to_string(),
                part.steps.to_string(),
                mean_std(part.returns.mean, part.returns.std),
                number(part.returns.min),
                number(part.returns.max),
                mean_std(part.lengths.mean, part.lengths.std),
                part.terminated.to_string(),
                part.normalised_score.map_or("-".into(), |score| format!("{score:.1}")),
            ]);
        }
        let written = self.written.iter().map(|(format, path)| format!("\nwrote {} as {format}", path.display()));
        format!("{}\n{table}{}", self.id, written.collect::<String>())
    }
}

/// Makes the dataset that a job asks for in an output folder, or goes on making it.
///
/// # Errors
/// If something else is in the folder, a behaviour policy is missing or not the task's, the disk refuses, or [`Interrupted`]; what
/// was collected is then kept.
pub fn collect(job: &CollectJob, output: &Path) -> Result<Summary> {
    let env = aaren_envs::make(&job.env.id, &job.env.options).context("env")?;
    let spec = env.spec().clone();
    drop(env);
    if job.collect.train.is_some() {
        training::check(job)?;
    }
    // All that can be refused is refused before anything is written.
    check_output(job, output)?;
    let found = if job.collect.train.is_none() { find_policies(job, &spec)? } else { Vec::new() };
    let folder = Folder::open(job, output, &found)?;
    interrupt::check()?;

    let found = match &job.collect.train {
        Some(_) => training::policies(job, &spec, &folder).map_err(|error| folder.kept(error))?,
        None => found,
    };
    let mut journals = Vec::new();
    for part in job.collect.dataset.parts() {
        let path = folder.journal.join(format!("{}.episodes", part.name()));
        let mut journal = Journal::open(&path)?;
        let count = match part {
            Part::Replay => journal.records().len() as u64,
            _ => play(job, *part, behaviour(job, *part, &found)?, &mut journal).map_err(|error| folder.kept(error))?,
        };
        journal.sync()?;
        ensure!(count > 0, "the training ended before an episode did; let it make more steps");
        journals.push((*part, journal, count));
    }
    let policy = |part: Part| found.iter().find(|(of, _)| *of == part || part == Part::Replay).map(|(_, found)| found);
    let parts: Vec<PartSummary> =
        journals.iter().map(|(part, journal, count)| summarise(job, *part, journal, *count, policy(*part))).collect();

    let about = describe(job, &spec, &parts)?;
    let episodes = Parts { parts: journals.iter().map(|(_, journal, count)| (journal, *count)).collect() };
    let mut written = Vec::new();
    for &format in job.collect.format.each() {
        let path = job.destination(output, format);
        aaren_data::remove_leftovers(&path)?;
        if !is_written(&path, format) {
            let progress = Progress::new(1, &format!("writing {format}"));
            aaren_data::save_episodes(&about, &episodes, &path, format, false)?;
            progress.finish();
        }
        written.push((format, path));
    }
    folder.finish()?;
    Ok(Summary { id: job.id(), parts, written })
}

/// Whether a format's dataset is in place.
fn is_written(path: &Path, format: Format) -> bool {
    match format {
        Format::Minari => path.join("data").is_dir(),
        Format::D4rl => path.is_file(),
    }
}

/// Refuses an output folder in which something else is.
fn check_output(job: &CollectJob, output: &Path) -> Result<()> {
    let advice = "choose another place with --output";
    ensure!(!output.exists() || output.is_dir(), "{} is a file, expected a folder for the dataset; {advice}", output.display());
    let journal = output.join(JOURNAL);
    if journal.join(BEGUN).is_file() || !output.is_dir() {
        return Ok(());
    }
    for &format in Formats::Both.each() {
        let path = job.destination(output, format);
        ensure!(!is_written(&path, format), "{} already holds a dataset ({format}); {advice}", output.display());
    }
    // A kill may have come between making the folders and writing what they are of.
    let mut entries = fs::read_dir(output).with_context(|| format!("cannot read the folder {}", output.display()))?;
    let others = entries.find(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != JOURNAL));
    if let Some(Ok(entry)) = others {
        let name = entry.file_name().to_string_lossy().into_owned();
        bail!("{} is not empty (there is {name}), and no collection was begun in it; {advice}", output.display());
    }
    Ok(())
}

/// The output folder of a collection under way.
struct Folder {
    output: PathBuf,
    /// Journals, and what they are of.
    journal: PathBuf,
    /// Held so that two processes cannot write the same collection.
    _lock: File,
}

impl Folder {
    fn open(job: &CollectJob, output: &Path, found: &[(Part, Found)]) -> Result<Folder> {
        let journal = output.join(JOURNAL);
        let context = || format!("cannot write to the folder {}", output.display());
        fs::create_dir_all(&journal).with_context(context)?;
        let lock = File::options().create(true).append(true).open(journal.join("lock")).with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => bail!("another process is collecting in {}", output.display()),
            Err(fs::TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        let policies: Map<String, Value> =
            found.iter().map(|(part, found)| (part.name().to_string(), found.checksum.into())).collect();
        let mut asked = serde_json::to_value(job)?;
        // How many threads there are, and which formats are written, changes no episode.
        if let Some(collect) = asked["collect"].as_object_mut() {
            collect.retain(|key, _| key != "actors" && key != "format");
        }
        let begun = json!({ "job": asked, "versions": versions(), "checksums of policies": policies });
        let path = journal.join(BEGUN);
        if path.is_file() {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let before: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
            let changed = differing_keys(&before, &begun);
            let changed: Vec<&str> = changed.iter().map(|key| key.strip_prefix("job.").unwrap_or(key)).collect();
            ensure!(
                changed.is_empty(),
                "the collection in {} was begun with another {}; go on without that change, choose another place with --output, or \
                 remove the folder",
                output.display(),
                changed.join(" and ")
            );
        } else {
            write_json_atomically(&path, &begun)?;
        }
        Ok(Folder { output: output.into(), journal, _lock: lock })
    }

    /// An error after which the collection can go on.
    fn kept(&self, error: anyhow::Error) -> anyhow::Error {
        if !error.is::<Interrupted>() {
            return error;
        }
        error.context(format!(
            "stopped; what was collected is kept in {}, run the same command again to go on",
            self.output.display()
        ))
    }

    /// Removes the journal of a dataset that is in place.
    fn finish(self) -> Result<()> {
        let context = || format!("cannot remove {}", self.journal.display());
        // Under a name that is no collection's, so that a kill in the middle leaves nothing to go on with.
        let removed = self.output.join(format!(".{JOURNAL}.removed"));
        if removed.exists() {
            fs::remove_dir_all(&removed).with_context(context)?;
        }
        fs::rename(&self.journal, &removed).with_context(context)?;
        fs::remove_dir_all(&removed).with_context(context)
    }
}

/// The policies that a job's parts need, from disk.
fn find_policies(job: &CollectJob, spec: &Spec) -> Result<Vec<(Part, Found)>> {
    let mut found = Vec::new();
    for &part in job.collect.dataset.parts() {
        let given = match part {
            Part::Medium => &job.collect.policies.medium,
            Part::Expert => &job.collect.policies.expert,
            Part::Random | Part::Replay => continue,
        };
        let key = format!("collect.policies.{}", part.name());
        let path = match given {
            Some(path) => path.clone(),
            None => committed(&job.robot(), part.name()).with_context(|| key.clone())?,
        };
        // A saved policy is what it is; only in a run the level must be found.
        let medium = training::medium_return(&job.env, job.collect.fraction);
        let level = match medium {
            Ok(medium) if part == Part::Medium => Level::Reaches(medium),
            _ => Level::Best,
        };
        found.push((part, behaviour::find(&path, level, spec).context(key)?));
    }
    Ok(found)
}

/// The folder of a policy that comes with aaren: `policies/ROBOT-LEVEL`, in the current folder, above it, or above the program.
fn committed(robot: &str, level: &str) -> Result<PathBuf> {
    let name = Path::new(POLICIES).join(format!("{robot}-{level}"));
    if name.is_dir() {
        return Ok(name);
    }
    let above = |start: PathBuf| start.ancestors().map(|folder| folder.join(&name)).find(|path| path.is_dir());
    let starts = [std::env::current_dir(), std::env::current_exe()];
    starts.into_iter().flatten().find_map(above).with_context(|| {
        format!(
            "there is no policy {} in the current folder, above it or above the program; run this in a checkout of aaren that has \
             it, name a saved policy or the folder of a run here, or set collect.train to a PPO job that trains one",
            name.display()
        )
    })
}

fn behaviour(job: &CollectJob, part: Part, found: &[(Part, Found)]) -> Result<Behaviour> {
    if part == Part::Random {
        return Ok(Behaviour::Random);
    }
    let (_, found) = found.iter().find(|(of, _)| *of == part).with_context(|| format!("no {} policy", part.name()))?;
    Ok(Behaviour::Policy { policy: Box::new(found.policy.clone()), sampled: job.collect.sampled })
}

/// Plays a part's episodes into its journal until the first of them, by number, have enough steps. Gives how many that are.
fn play(job: &CollectJob, part: Part, behaviour: Behaviour, journal: &mut Journal) -> Result<u64> {
    let mut taken = Taken { episodes: 0, steps: 0, wanted: job.collect.steps };
    if taken.advance(journal) {
        return Ok(taken.episodes);
    }
    let rollout = Rollout {
        env_id: &job.env.id,
        env_options: &job.env.options,
        // The medium episodes of a medium-expert dataset are those of the medium one.
        seed: derive_seed(job.seed, &[COLLECTION, part as u64]),
        actors: job.collect.actors,
        envs_per_actor: job.collect.envs_per_actor,
    };
    let had: BTreeSet<u64> = journal.records().keys().copied().collect();
    let next = {
        let mut numbers = (0..).filter(move |number| !had.contains(number));
        move || numbers.next()
    };
    let progress = Progress::new(taken.wanted, &format!("collecting {}", part.name()));
    progress.set(taken.steps);
    let (mut returns, mut episodes) = (0.0, 0);
    let started = Instant::now();
    let mut steps = 0;
    record::record(&behaviour, &rollout, next, |number, episode| {
        journal.append(number, 0, &episode)?;
        (returns, episodes) = (returns + episode.trajectory.episode_return(), episodes + 1);
        steps += episode.trajectory.len();
        let is_enough = taken.advance(journal);
        progress.message(format!("return {}", report::number(returns / f64::from(episodes))));
        progress.set(taken.steps.min(taken.wanted));
        Ok(!is_enough)
    })?;
    progress.finish();
    tracing::info!("{}: {:.0} steps a second", part.name(), steps as f64 / started.elapsed().as_secs_f64());
    Ok(taken.episodes)
}

/// The first episodes of a journal, as many as it takes.
struct Taken {
    episodes: u64,
    steps: u64,
    wanted: u64,
}

impl Taken {
    /// Takes what has come in; whether it is enough.
    fn advance(&mut self, journal: &Journal) -> bool {
        while self.steps < self.wanted {
            let Some(record) = journal.records().get(&self.episodes) else { return false };
            (self.episodes, self.steps) = (self.episodes + 1, self.steps + record.steps as u64);
        }
        true
    }
}

fn summarise(job: &CollectJob, part: Part, journal: &Journal, count: u64, found: Option<&Found>) -> PartSummary {
    let records = journal.records().range(..count).map(|(_, record)| record);
    let returns = Spread::of(records.clone().map(|record| record.episode_return));
    let reference = score::of_env(&job.env.id, &job.env.options);
    let actions = match part {
        Part::Random => "uniform",
        Part::Replay => "sampled",
        _ if job.collect.sampled => "sampled",
        _ => "most likely",
    };
    PartSummary {
        name: part.name().into(),
        episodes: count,
        steps: records.clone().map(|record| record.steps as u64).sum(),
        lengths: Spread::of(records.clone().map(|record| record.steps as f64)),
        terminated: records.filter(|record| record.terminated).count() as u64,
        normalised_score: reference.map(|reference| score::normalised_score(returns.mean, reference.min, reference.max)),
        returns,
        actions: actions.into(),
        policy: found.map(|found| {
            let provenance = serde_json::to_value(&found.provenance).unwrap_or_default();
            json!({ "weights_crc32": found.checksum, "provenance": provenance })
        }),
    }
}

/// Everything about the dataset but its episodes.
fn describe(job: &CollectJob, spec: &Spec, parts: &[PartSummary]) -> Result<Dataset> {
    let kind = job.collect.dataset;
    let mut metadata = Map::new();
    let policies: Vec<&Value> = parts.iter().filter_map(|part| part.policy.as_ref()).collect();
    let algorithm = policies.first().and_then(|policy| policy["provenance"]["algorithm"].as_str());
    metadata.insert(
        "algorithm_name".into(),
        if kind == DatasetKind::Random { "uniform random actions" } else { algorithm.unwrap_or("a saved policy") }.into(),
    );
    if let [policy] = &policies[..]
        && let Some(step) = policy["provenance"]["env_steps"].as_u64()
    {
        metadata.insert("iteration".into(), step.into());
    }
    metadata.insert("description".into(), format!("{kind} episodes of {}, collected by aaren", spec.id).into());
    if !job.env.options.is_empty() {
        metadata.insert("env_options".into(), job.env.options.clone().into());
    }
    let mut asked = serde_json::to_value(job)?;
    // The dataset is the same whatever these are.
    if let Some(collect) = asked["collect"].as_object_mut() {
        collect.retain(|key, _| key != "actors" && key != "format");
    }
    let stop_rule = match kind {
        DatasetKind::MediumReplay => "every episode that ended before the training reached medium",
        _ => "each part: episodes in the order of their numbers until they have collect.steps steps; the last one whole",
    };
    metadata.insert(
        "collection".into(),
        json!({ "job": asked, "versions": versions(), "stop_rule": stop_rule, "parts": serde_json::to_value(parts)? }),
    );
    let reference = score::of_env(&job.env.id, &job.env.options);
    if let Some(reference) = reference {
        metadata.insert("reference_scores_from".into(), reference.source.into());
    }
    Ok(Dataset {
        id: job.id(),
        env_id: Some(spec.id.clone()),
        observation_space: spec.observation_space.clone(),
        action_space: spec.action_space.clone(),
        max_episode_steps: spec.max_episode_steps,
        reference_scores: reference.map(|reference| (reference.min, reference.max)),
        metadata,
        trajectories: Vec::new(),
    })
}
