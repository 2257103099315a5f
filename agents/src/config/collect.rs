//! A collection as a config file asks for it: which task, whose behaviour, how much of it, and how it is stored.

use std::fmt;
use std::path::{Path, PathBuf};

use aaren_data::{Format, minari};
use aaren_envs::Spec;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{EnvConfig, default_seed};

/// A whole collection, as written in a config file and, complete, in the dataset's metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectJob {
    /// Root of every random number of the collection.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Whether what looks wrong with the job or its data is an error; else it is a warning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The task.
    pub env: EnvConfig,
    /// The dataset.
    pub collect: CollectConfig,
}

/// The dataset to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectConfig {
    /// Whose behaviour it holds.
    pub dataset: DatasetKind,
    /// Environment steps of each behaviour policy: episodes are taken in order until they have as many, the last one whole.
    /// The replay of a training takes all that there is.
    #[serde(default = "default_steps")]
    pub steps: u64,
    /// Behaviour policies from disk.
    #[serde(default)]
    pub(crate) policies: Policies,
    /// A PPO job that trains the behaviour policies, and whose episodes are the replay. Default (null): none.
    #[serde(default)]
    pub train: Option<PathBuf>,
    /// What medium means: the share, above 0, of the way from the random policy's reference return to the expert's.
    #[serde(default = "default_fraction")]
    pub fraction: f64,
    /// Whether actions are drawn from the policy's distribution, as D4RL's are, or are its most likely ones.
    #[serde(default = "default_sampled")]
    pub sampled: bool,
    /// Actor threads.
    #[serde(default = "default_actors")]
    pub actors: usize,
    /// Environments that each actor steps together.
    #[serde(default = "default_envs_per_actor")]
    pub envs_per_actor: usize,
    /// The formats to write.
    #[serde(default)]
    pub format: Formats,
    /// The dataset's own name, in Minari's form. Default (null): the robot and the kind, such as `hopper/medium-v0`.
    #[serde(default)]
    pub id: Option<String>,
}

fn default_steps() -> u64 {
    1_000_000
}

fn default_fraction() -> f64 {
    1.0 / 3.0
}

fn default_sampled() -> bool {
    true
}

fn default_actors() -> usize {
    2
}

fn default_envs_per_actor() -> usize {
    8
}

/// Folders of saved policies, or of the runs that trained them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Policies {
    /// The medium one. Default (null): the robot's in `policies/`.
    pub medium: Option<PathBuf>,
    /// The expert. Default (null): the robot's in `policies/`.
    pub expert: Option<PathBuf>,
}

/// Whose behaviour a dataset holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetKind {
    /// Actions drawn uniformly from the action space.
    Random,
    /// A policy from the middle of its training.
    Medium,
    /// Every episode that a training saw until it reached medium.
    MediumReplay,
    /// The best policy of a training.
    Expert,
    /// Medium, then expert.
    MediumExpert,
}

impl DatasetKind {
    /// The parts that lie behind one another in the dataset.
    pub(crate) fn parts(self) -> &'static [Part] {
        match self {
            DatasetKind::Random => &[Part::Random],
            DatasetKind::Medium => &[Part::Medium],
            DatasetKind::MediumReplay => &[Part::Replay],
            DatasetKind::Expert => &[Part::Expert],
            DatasetKind::MediumExpert => &[Part::Medium, Part::Expert],
        }
    }
}

impl fmt::Display for DatasetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The episodes of one behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Of uniform actions.
    Random,
    /// Of the medium policy.
    Medium,
    /// Of the expert.
    Expert,
    /// Of a training.
    Replay,
}

impl Part {
    /// Its name, and that of its journal.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Random => "random",
            Part::Medium => "medium",
            Part::Expert => "expert",
            Part::Replay => "replay",
        }
    }
}

/// Which formats to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Formats {
    /// A folder with JSON metadata and an HDF5 file.
    Minari,
    /// One flat HDF5 file.
    D4rl,
    /// Both.
    #[default]
    Both,
}

impl Formats {
    /// One by one.
    pub fn each(self) -> &'static [Format] {
        match self {
            Formats::Minari => &[Format::Minari],
            Formats::D4rl => &[Format::D4rl],
            Formats::Both => &[Format::Minari, Format::D4rl],
        }
    }

    /// Whether the formats can hold the actions of a task.
    ///
    /// # Errors
    /// For D4RL's and discrete actions.
    pub fn check(self, spec: &Spec) -> Result<()> {
        ensure!(
            self == Formats::Minari || !spec.action_space.is_discrete(),
            "D4RL's files hold no discrete actions, and {} takes them; store the dataset as Minari alone (--format minari)",
            spec.id
        );
        Ok(())
    }
}

impl CollectJob {
    /// Refuses a task without a time limit.
    ///
    /// # Errors
    /// Names the option that sets one.
    pub(crate) fn check_episodes_end(spec: &Spec) -> Result<()> {
        ensure!(
            spec.max_episode_steps.is_some(),
            "env.options.max_episode_steps: found no limit for {}; episodes of a collection must end",
            spec.id
        );
        Ok(())
    }

    /// A collection of a kind in a task, with every other key at its default.
    pub(crate) fn new(env: EnvConfig, dataset: DatasetKind) -> Self {
        let collect = CollectConfig {
            dataset,
            steps: default_steps(),
            policies: Policies::default(),
            train: None,
            fraction: default_fraction(),
            sampled: default_sampled(),
            actors: default_actors(),
            envs_per_actor: default_envs_per_actor(),
            format: Formats::default(),
            id: None,
        };
        Self { seed: default_seed(), strict: false, env, collect }
    }

    /// A path in the job is looked for from the current folder, and then from that of the file that says it.
    pub(super) fn find_paths_beside(&mut self, folder: &Path) {
        let CollectConfig { policies, train, .. } = &mut self.collect;
        for given in [&mut policies.medium, &mut policies.expert, train].into_iter().flatten() {
            let beside = folder.join(&*given);
            if !given.exists() && beside.exists() {
                *given = beside;
            }
        }
    }

    /// Checks every value that can be judged from the config alone.
    ///
    /// # Errors
    /// The first value out of its range, with its key, what was found and what is allowed.
    pub(crate) fn check(&self) -> Result<()> {
        // A registered task that this build lacks, or a Python that this machine lacks, is no mistake in the config.
        if let Some(spec) = aaren_envs::known_spec(&self.env.id, &self.env.options).context("env")? {
            Self::check_episodes_end(&spec)?;
        }
        let CollectConfig { dataset, steps, policies, train, fraction, actors, envs_per_actor, .. } = &self.collect;
        ensure!((1..=1 << 40).contains(steps), "collect.steps: found {steps}, expected 1 to {}", 1u64 << 40);
        ensure!(fraction.is_finite() && *fraction > 0.0, "collect.fraction: found {fraction}, expected a finite number above 0");
        ensure!((1..=1024).contains(actors), "collect.actors: found {actors}, expected 1 to 1024");
        ensure!(
            (1..=1 << 16).contains(envs_per_actor),
            "collect.envs_per_actor: found {envs_per_actor}, expected 1 to {}",
            1 << 16
        );
        let given = [("medium", &policies.medium), ("expert", &policies.expert)];
        for (level, path) in given {
            let used = dataset.parts().iter().any(|part| part.name() == level);
            ensure!(
                path.is_none() || used,
                "collect.policies.{level}: a dataset of kind {dataset} has no use for it; leave it out or set it to null"
            );
            ensure!(
                path.is_none() || train.is_none(),
                "collect: found both policies.{level} and train, expected one of them at most; set the other to null"
            );
        }
        ensure!(
            train.is_some() || *dataset != DatasetKind::MediumReplay,
            "collect.train is missing: medium-replay holds the episodes of a training, so it needs the PPO job to train by"
        );
        ensure!(
            train.is_none() || *dataset != DatasetKind::Random,
            "collect.train: a dataset of kind random has no use for it; leave it out or set it to null"
        );
        let id = self.id();
        ensure!(minari::is_id(&id), "collect.id: found \"{id}\", expected a name and a version, such as hopper/medium-v0");
        Ok(())
    }

    /// The task's name without its version, in small letters: `hopper`.
    pub(crate) fn robot(&self) -> String {
        self.env.robot()
    }

    /// The dataset's id.
    pub(crate) fn id(&self) -> String {
        self.collect.id.clone().unwrap_or_else(|| format!("{}/{}-v0", self.robot(), self.collect.dataset))
    }

    /// Where the dataset goes unless said otherwise: Minari finds it by its id in a root called `datasets`.
    pub fn default_output(&self) -> PathBuf {
        Path::new("datasets").join(self.id())
    }

    /// Where a format's dataset goes in the output folder: the folder itself for Minari, a file in it for D4RL.
    pub(crate) fn destination(&self, output: &Path, format: Format) -> PathBuf {
        match format {
            Format::Minari => output.into(),
            Format::D4rl => output.join(format!("{}.hdf5", self.id().replace('/', "_"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Job, assert_says};

    fn load(text: &str, overrides: &[&str]) -> Result<CollectJob> {
        match Job::parse(text, &overrides.iter().map(ToString::to_string).collect::<Vec<_>>()[..].into())? {
            Job::Collect(job) => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    const SMALLEST: &str = r#"{"env": {"id": "Pendulum-v1"}, "collect": {"dataset": "random"}}"#;

    #[test]
    fn the_smallest_job_has_d4rls_defaults() {
        let job = load(SMALLEST, &[]).unwrap();
        assert_eq!((job.collect.steps, job.collect.sampled, job.collect.format), (1_000_000, true, Formats::Both));
        assert_eq!((job.robot(), job.id()), ("pendulum".into(), "pendulum/random-v0".into()));
        assert_eq!(job.default_output(), Path::new("datasets/pendulum/random-v0"));
        let (minari, d4rl) = (job.destination(Path::new("x"), Format::Minari), job.destination(Path::new("x"), Format::D4rl));
        assert_eq!((minari, d4rl), ("x".into(), "x/pendulum_random-v0.hdf5".into()));
        assert_eq!(load(&serde_json::to_string(&job).unwrap(), &[]).unwrap(), job);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        for (overrides, words) in [
            (&["collect.dataset=mediun"][..], &["collect.dataset", "mediun", "medium-replay"][..]),
            (&["collect.stepz=1"], &["collect.stepz", "did you mean \"steps\"?"]),
            (&["collect.steps=0"], &["collect.steps", "found 0"]),
            (&["collect.steps=many"], &["collect.steps", "many", "a whole number"]),
            (&["collect.fraction=-1"], &["collect.fraction", "found -1"]),
            (&["collect.actors=0"], &["collect.actors", "found 0"]),
            (&["collect.envs_per_actor=0"], &["collect.envs_per_actor", "found 0"]),
            (&["collect.id=hopper"], &["collect.id", "hopper", "version"]),
            (&["collect.format=csv"], &["collect.format", "csv", "minari"]),
            (&["collect.policies.medium=x"], &["collect.policies.medium", "random", "no use"]),
            (&["collect.train=x"], &["collect.train", "random", "no use"]),
            (&["collect.dataset=medium", "collect.train=x", "collect.policies.medium=y"], &["both", "policies.medium", "train"]),
            (&["collect.dataset=medium-replay"], &["collect.train is missing", "PPO"]),
            (&["env.options.max_episode_steps=null"], &["max_episode_steps", "must end"]),
            (&["env.id=Pendulum-v9"], &["env", "did you mean \"Pendulum-v1\"?"]),
        ] {
            assert_says(&format!("{:#}", load(SMALLEST, overrides).expect_err(overrides[0])), words, overrides);
        }
        let missing = r#"{"env": {"id": "Pendulum-v1"}, "collect": {}}"#;
        assert!(format!("{:#}", load(missing, &[]).unwrap_err()).contains("collect.dataset is missing"));
    }
}
