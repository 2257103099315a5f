//! All environments of an online training, in groups that actor threads play.

use std::ops::Range;
use std::{fs, path::Path, thread::ScopedJoinHandle};

use aaren_envs::{Env, EnvError};
use aaren_policy::ActorCriticPolicy;
use anyhow::{Context, Result, ensure};

use super::episodes::too_many_actors;
use super::group_rollout::GroupRollout;
use super::rollout::{EnvGroup, GroupSnapshot, RolloutSpec};
use crate::run::process::panic_message;
use crate::{config::PpoConfig, device::Cpu};

/// The file of a checkpoint that says where every environment is.
const ENVIRONMENTS: &str = "environments.mpk";

/// Groups of environments: all of a training, or those that one of several processes plays.
pub(crate) struct EnvGroups {
    groups: Vec<EnvGroup>,
    /// Their numbers among all.
    own: Range<usize>,
    /// How many there are in all.
    all: usize,
    env_id: String,
    actors: usize,
    spec: RolloutSpec,
}

impl EnvGroups {
    /// Environments at the start of their first episodes.
    ///
    /// - `own`: the groups that are played here
    /// - `seed`: the job's
    /// - `record`: whether episodes are kept whole
    ///
    /// # Errors
    /// Those of `make` and of the reset.
    pub(crate) fn new(
        make: &dyn Fn() -> Result<Box<dyn Env>, EnvError>,
        policy: &ActorCriticPolicy<Cpu>,
        config: &PpoConfig,
        own: Range<usize>,
        seed: u64,
        record: bool,
    ) -> Result<Self> {
        let task = make()?.spec().clone();
        let spec =
            RolloutSpec { seed, iteration: 0, rollout_len: config.rollout_len, time_limit: task.max_episode_steps, record };
        let envs = config.envs_per_group;
        // All are made before the first begins, for some take long to start, side by side.
        let groups = own.clone().map(|group| EnvGroup::new(make, policy, group * envs, envs));
        let mut groups = groups.collect::<Result<Vec<_>>>()?;
        groups
            .iter_mut()
            .zip(own.clone())
            .try_for_each(|(group, index)| group.begin(&spec).with_context(|| group_name(index)))?;
        Ok(Self { groups, own, all: config.groups(), env_id: task.id, actors: config.actors, spec })
    }

    /// Plays a rollout in every environment with as many threads as the job has actors.
    ///
    /// # Errors
    /// The first group's that failed, by its number; or a panic, named.
    pub(crate) fn play(&mut self, policy: &ActorCriticPolicy<Cpu>, iteration: u64) -> Result<()> {
        let spec = RolloutSpec { iteration, ..self.spec };
        play_all(&mut self.groups, self.own.start, policy, &spec, self.actors).with_context(|| self.env_id.clone())
    }

    /// Takes what the last rollout gave, a group each.
    pub(crate) fn take_rollouts(&mut self) -> Vec<GroupRollout> {
        self.groups.iter_mut().map(EnvGroup::take_rollout).collect()
    }

    /// Where every environment here is, as bytes for [`EnvGroups::save`].
    ///
    /// # Errors
    /// [`EnvError::Unsupported`].
    pub(crate) fn share(&mut self) -> Result<Vec<u8>> {
        let stored = self.groups.iter_mut().map(EnvGroup::store).collect::<Result<Vec<_>>>()?;
        Ok(rmp_serde::to_vec(&stored)?)
    }

    /// Writes where every environment is into a folder that exists.
    ///
    /// - `shares`: of all processes, in order, as [`EnvGroups::share`] gives them
    ///
    /// # Errors
    /// The file if it cannot be written.
    pub(crate) fn save(folder: &Path, shares: &[Vec<u8>]) -> Result<()> {
        let stored = shares.iter().map(|share| rmp_serde::from_slice::<Vec<GroupSnapshot>>(share)).collect::<Result<Vec<_>, _>>();
        let stored = stored.context("states of environments of another kind")?.concat();
        let path = folder.join(ENVIRONMENTS);
        fs::write(&path, rmp_serde::to_vec(&stored)?).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Continues from a folder that [`EnvGroups::save`] wrote. Environments whose episodes cannot be stored begin new ones, and a
    /// warning says so.
    ///
    /// # Errors
    /// If the file is missing, damaged, or of another task or policy.
    pub(crate) fn load(&mut self, folder: &Path, policy: &ActorCriticPolicy<Cpu>) -> Result<()> {
        let path = folder.join(ENVIRONMENTS);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let stored: Vec<GroupSnapshot> =
            rmp_serde::from_slice(&bytes).with_context(|| format!("{}: not the states of environments", path.display()))?;
        let (found, expected) = (stored.len(), self.all);
        ensure!(found == expected, "{}: {found} groups of environments, expected {expected}", path.display());
        if !self.groups.iter().all(EnvGroup::is_restorable) {
            tracing::warn!(
                "{}: its episodes cannot be stored, so every environment begins a new one; the run goes on, but not to the same bits",
                self.env_id
            );
        }
        let spec = &self.spec;
        let own = stored.into_iter().skip(self.own.start);
        let restored = self.groups.iter_mut().zip(own).try_for_each(|(group, stored)| group.restore(stored, policy, spec));
        restored.with_context(|| path.display().to_string())
    }
}

/// What errors call a group.
fn group_name(index: usize) -> String {
    format!("group {index}")
}

/// Plays groups, numbered from `first` on, with some threads.
///
/// # Errors
/// The first group's that failed, by its number; or a panic, named.
fn play_all(
    groups: &mut [EnvGroup],
    first: usize,
    policy: &ActorCriticPolicy<Cpu>,
    play: &RolloutSpec,
    actors: usize,
) -> Result<()> {
    let queue = crossbeam::queue::SegQueue::new();
    (first..).zip(groups.iter_mut()).for_each(|group| queue.push(group));
    let mut failures: Vec<(usize, anyhow::Error)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..actors)
            .map(|number| {
                let (queue, policy) = (&queue, policy.clone());
                let started = std::thread::Builder::new().spawn_scoped(scope, move || {
                    let mut failures = Vec::new();
                    while let Some((index, group)) = queue.pop() {
                        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| group.play(&policy, play)));
                        let played = played.unwrap_or_else(|panic| Err(anyhow::anyhow!("panicked: {}", panic_message(&*panic))));
                        failures.extend(played.err().map(|error| (index, error.context(group_name(index)))));
                    }
                    failures
                });
                started.with_context(|| too_many_actors(number, actors))
            })
            .collect();
        let failures = |thread: Result<ScopedJoinHandle<'_, Vec<_>>>| match thread {
            Ok(thread) => thread.join().unwrap_or_default(),
            Err(error) => vec![(0, error)],
        };
        threads.into_iter().flat_map(failures).collect()
    });
    failures.sort_by_key(|(index, _)| *index);
    failures.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}
