//! Playing the episodes of a behaviour, which are numbered: each has seeds of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use aaren_envs::{Spec, derive_seed};
use anyhow::{Context, Result, ensure};

use super::journal::{Journal, record};
use super::policies::{FoundPolicy, PolicyLevel, find};
use crate::config::{CollectJob, Part};
use crate::play::PlayedEpisode;
use crate::play::agent::{ActorCriticAgent, Agent, UniformAgent};
use crate::play::episodes::{Actors, EpisodeStart, play_episodes};
use crate::run::interrupt::Steps;
use crate::run::progress::Progress;
use crate::run::report;

/// The place of episodes in the tree of seeds, by part.
const COLLECTION: u64 = 0x636f_6c6c; // "coll"

/// The agent of a part's episodes.
fn agent(job: &CollectJob, part: Part, found: Option<&FoundPolicy>, spec: &Spec, rows: usize) -> Box<dyn Agent> {
    match found {
        Some(found) if part != Part::Random => Box::new(ActorCriticAgent::new(found.policy.clone(), job.collect.sampled, rows)),
        _ => Box::new(UniformAgent::new(spec, rows)),
    }
}

/// Plays episodes of a part with these numbers, in this order, and hands each over as it ends, until `finished` says that it is enough.
fn play_numbers(
    job: &CollectJob,
    part: Part,
    found: Option<&FoundPolicy>,
    mut numbers: impl Iterator<Item = u64> + Send,
    finished: impl FnMut(PlayedEpisode) -> Result<bool>,
) -> Result<()> {
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
    let make_env = || aaren_envs::make(&job.env.id, &job.env.options);
    // A module is shared memory with reference counts; every actor holds its own handle.
    let found = found.cloned().map(Mutex::new);
    let make_agent = |spec: &Spec, rows| {
        let found = found.as_ref().map(|found| found.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Ok(agent(job, part, found.as_ref(), spec, rows))
    };
    play_episodes(&make_env, &make_agent, actors, move || numbers.next().map(start), finished)
}

/// Plays a part's episodes into its journal until the first of them, by number, have enough steps.
pub(super) fn play(
    job: &CollectJob,
    part: Part,
    found: Option<&FoundPolicy>,
    journal: &mut Journal,
    quota: &mut EpisodeQuota,
) -> Result<()> {
    if quota.advance(journal) {
        return Ok(());
    }
    let had: BTreeSet<u64> = journal.records().keys().copied().collect();
    let progress = Progress::new(quota.wanted, &format!("collecting {}", part.name()));
    progress.set(quota.steps);
    let (mut returns, mut episodes) = (0.0, 0);
    let started = Instant::now();
    let mut steps = 0;
    play_numbers(job, part, found, (0..).filter(move |number| !had.contains(number)), |played| {
        let episode = played.recorded.context("an episode that was not recorded")?;
        journal.append(played.index, 0, &episode, played.result.diverged)?;
        (returns, episodes) = (returns + episode.trajectory.episode_return(), episodes + 1);
        steps += episode.trajectory.len();
        let is_enough = quota.advance(journal);
        progress.show(quota.steps.min(quota.wanted), format!("return {}", report::number(returns / f64::from(episodes))));
        Ok(!is_enough)
    })?;
    progress.finish();
    tracing::info!("{}: {:.0} steps a second", part.name(), steps as f64 / started.elapsed().as_secs_f64());
    Ok(())
}

/// Plays the episodes of a part of a collection that have these numbers, and gives their records, in order: for
/// [`Collection::take`](super::Collection::take) in the process that holds the collection.
///
/// - `part`: its name
/// - `policy`: folder of its behaviour policy; none for uniform actions
///
/// # Errors
/// If the job has no such part or the policy is not the task's, or an environment that fails, or an interrupt.
pub fn play_range(job: &CollectJob, part: &str, policy: Option<&Path>, numbers: Range<u64>) -> Result<Vec<u8>> {
    let parts = job.collect.dataset.parts();
    let known = parts.iter().find(|of| of.name() == part && **of != Part::Replay);
    let part = *known.with_context(|| format!("a dataset of kind {} has no part {part} to be played", job.collect.dataset))?;
    ensure!(
        policy.is_some() == (part != Part::Random),
        "the part {} takes {} policy",
        part.name(),
        if policy.is_some() { "no" } else { "a" }
    );
    let spec = aaren_envs::make(&job.env.id, &job.env.options).context("env")?.spec().clone();
    let found = policy.map(|policy| find(policy, PolicyLevel::Best, &spec)).transpose()?;
    let _steps = Steps::new();
    let mut records = BTreeMap::new();
    play_numbers(job, part, found.as_ref(), numbers.clone(), |played| {
        let episode = played.recorded.context("an episode that was not recorded")?;
        records.insert(played.index, record(played.index, 0, &episode, played.result.diverged));
        Ok(true)
    })?;
    ensure!(records.len() as u64 == numbers.end - numbers.start, "episodes were lost");
    Ok(records.into_values().flatten().collect())
}

/// The first episodes of a journal, as many as it takes.
#[derive(Debug)]
pub(super) struct EpisodeQuota {
    pub(super) episodes: u64,
    pub(super) steps: u64,
    pub(super) wanted: u64,
}

impl EpisodeQuota {
    /// As many as have so many steps.
    pub(super) fn steps(wanted: u64) -> Self {
        Self { episodes: 0, steps: 0, wanted }
    }

    /// All that there are.
    pub(super) fn all(journal: &Journal) -> Self {
        Self::steps(journal.records().values().map(|record| record.steps as u64).sum())
    }

    /// Takes what has come in; whether it is enough.
    pub(super) fn advance(&mut self, journal: &Journal) -> bool {
        while self.steps < self.wanted {
            let Some(record) = journal.records().get(&self.episodes) else { return false };
            (self.episodes, self.steps) = (self.episodes + 1, self.steps + record.steps as u64);
        }
        true
    }
}
