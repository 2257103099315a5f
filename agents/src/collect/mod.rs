//! `aaren collect` for datasets made the D4RL way: behaviour policies, their episodes, and the files.
//!
//! The output folder holds everything. Finished episodes go into a journal in it, so a collection that is killed continues when the
//! same command runs again, and ends with the same bytes as one that was not. The dataset's files appear when they are complete, and
//! then the journal goes. Episodes are never in memory together; the HDF5 writer holds one file, uncompressed.
//!
//! ```
//! use aaren_agents::{collect::collect, config::{Changes, Job}};
//!
//! let text = r#"{"env": {"id": "Pendulum-v1"}, "collect": {"dataset": "random", "steps": 300}}"#;
//! let Job::Collect(job) = Job::parse(text, &Changes::default())? else { unreachable!() };
//! let folder = std::env::temp_dir().join(format!("aaren-collect-{}", std::process::id()));
//! let summary = collect(&job, &folder)?;
//! // Whole episodes, of 200 steps each.
//! assert_eq!((summary.parts[0].episodes, summary.parts[0].steps), (2, 400));
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod folder;
mod journal;
mod policies;
mod summary;
mod training;

pub use policies::{Provenance, export};
pub use summary::{PartSummary, Summary};

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use aaren_envs::{Spec, derive_seed};
use anyhow::{Context, Result, ensure};

use crate::config::{CollectJob, Part};
use crate::play::agent::{ActorCriticAgent, Agent, UniformAgent};
use crate::play::episodes::{Actors, EpisodeStart, play_episodes};
use crate::run::interrupt::{self, Steps};
use crate::run::progress::Progress;
use crate::run::report;
use folder::{Folder, check_output, is_written};
use journal::{Journal, Parts};
use policies::{FoundPolicy, find_policies};
use summary::{describe, summarize};

/// The place of episodes in the tree of seeds, by part.
const COLLECTION: u64 = 0x636f_6c6c; // "coll"

/// Makes the dataset that a job asks for in an output folder, or continues one.
///
/// # Errors
/// If something else is in the folder, a behaviour policy is missing or not the task's, the disk refuses, or an interrupt; what
/// was collected is then kept.
pub fn collect(job: &CollectJob, output: &Path) -> Result<Summary> {
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
    let _steps = Steps::new();
    let folder = Folder::open(job, output, &found)?;
    interrupt::check()?;

    let found = match &job.collect.train {
        Some(_) => training::trained_policies(job, &spec, &folder).map_err(|error| folder.kept(error))?,
        None => found,
    };
    let mut journals = Vec::new();
    for part in job.collect.dataset.parts() {
        let path = folder.journal.join(format!("{}.episodes", part.name()));
        let mut journal = Journal::open(&path)?;
        let count = match part {
            Part::Replay => journal.records().len() as u64,
            _ => play(job, *part, found.iter().find(|(of, _)| of == part).map(|(_, found)| found), &mut journal)
                .map_err(|error| folder.kept(error))?,
        };
        journal.sync()?;
        ensure!(count > 0, "the training ended before an episode did; let it make more steps");
        journals.push((*part, journal, count));
    }
    let policy = |part: Part| found.iter().find(|(of, _)| *of == part || part == Part::Replay).map(|(_, found)| found);
    let parts: Vec<PartSummary> =
        journals.iter().map(|(part, journal, count)| summarize(job, *part, journal, *count, policy(*part))).collect();

    let about = describe(job, &spec, &parts)?;
    let episodes = Parts { parts: journals.iter().map(|(_, journal, count)| (journal, *count)).collect() };
    let mut written = Vec::new();
    for format in job.collect.format {
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

/// The agent of a part's episodes.
fn agent(job: &CollectJob, part: Part, found: Option<&FoundPolicy>, spec: &Spec, rows: usize) -> Box<dyn Agent> {
    match found {
        Some(found) if part != Part::Random => Box::new(ActorCriticAgent::new(found.policy.clone(), job.collect.sampled, rows)),
        _ => Box::new(UniformAgent::new(spec, rows)),
    }
}

/// Plays a part's episodes into its journal until the first of them, by number, have enough steps. Gives how many that are.
fn play(job: &CollectJob, part: Part, found: Option<&FoundPolicy>, journal: &mut Journal) -> Result<u64> {
    let mut quota = EpisodeQuota { episodes: 0, steps: 0, wanted: job.collect.steps };
    if quota.advance(journal) {
        return Ok(quota.episodes);
    }
    // The medium episodes of a medium-expert dataset are those of the medium one.
    let seed = derive_seed(job.seed, &[COLLECTION, part as u64]);
    let start = move |index| EpisodeStart {
        index,
        seed: derive_seed(seed, &[index, 0]),
        action_seed: derive_seed(seed, &[index, 1]),
        target_return: 0.0,
        keeps_moments: false,
    };
    let actors = Actors {
        env_id: &job.env.id,
        threads: job.collect.actors,
        envs_per_actor: job.collect.envs_per_actor,
        records: true,
        stops_on_failure: true,
        stops_when_asked: true,
    };
    let had: BTreeSet<u64> = journal.records().keys().copied().collect();
    let next = {
        let mut numbers = (0..).filter(move |number| !had.contains(number));
        move || numbers.next().map(start)
    };
    let make_env = || aaren_envs::make(&job.env.id, &job.env.options);
    // A module is shared memory with reference counts; every actor holds its own handle.
    let found = found.cloned().map(Mutex::new);
    let make_agent = |spec: &Spec, rows| {
        let found = found.as_ref().map(|found| found.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Ok(agent(job, part, found.as_ref(), spec, rows))
    };
    let progress = Progress::new(quota.wanted, &format!("collecting {}", part.name()));
    progress.set(quota.steps);
    let (mut returns, mut episodes) = (0.0, 0);
    let started = Instant::now();
    let mut steps = 0;
    play_episodes(&make_env, &make_agent, actors, next, |played| {
        let episode = played.recorded.context("an episode that was not recorded")?;
        journal.append(played.index, 0, &episode, played.diverged)?;
        (returns, episodes) = (returns + episode.trajectory.episode_return(), episodes + 1);
        steps += episode.trajectory.len();
        let is_enough = quota.advance(journal);
        progress.show(quota.steps.min(quota.wanted), format!("return {}", report::number(returns / f64::from(episodes))));
        Ok(!is_enough)
    })?;
    progress.finish();
    tracing::info!("{}: {:.0} steps a second", part.name(), steps as f64 / started.elapsed().as_secs_f64());
    Ok(quota.episodes)
}

/// The first episodes of a journal, as many as it takes.
struct EpisodeQuota {
    episodes: u64,
    steps: u64,
    wanted: u64,
}

impl EpisodeQuota {
    /// Takes what has come in; whether it is enough.
    fn advance(&mut self, journal: &Journal) -> bool {
        while self.steps < self.wanted {
            let Some(record) = journal.records().get(&self.episodes) else { return false };
            (self.episodes, self.steps) = (self.episodes + 1, self.steps + record.steps as u64);
        }
        true
    }
}
