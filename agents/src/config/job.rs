//! A job of any kind.

use serde::Serialize;

use super::{CollectJob, Device, EnvConfig, LogConfig, OfflineJob, PpoJob, Precision, SequenceJob, StopConfig};

/// A job: what one config file, or several laid over each other, ask for. Its kind is that of its keys: `ppo` learns online,
/// `collect` makes a dataset, `task` is learnt on sequences, anything else learns from `data`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Job {
    /// Learns from trajectories.
    Offline(OfflineJob),
    /// Learns online.
    Ppo(PpoJob),
    /// Makes a dataset.
    Collect(CollectJob),
    /// Learns a task on sequences.
    Sequence(SequenceJob),
}

impl Job {
    /// Root of every random number of the job.
    pub(crate) fn seed(&self) -> u64 {
        match self {
            Job::Offline(job) => job.seed,
            Job::Ppo(job) => job.seed,
            Job::Collect(job) => job.seed,
            Job::Sequence(job) => job.seed,
        }
    }

    /// The task, if the job has one.
    pub fn env(&self) -> Option<&EnvConfig> {
        match self {
            Job::Offline(job) => job.env.as_ref(),
            Job::Ppo(job) => Some(&job.env),
            Job::Collect(job) => Some(&job.env),
            Job::Sequence(_) => None,
        }
    }

    /// Where tensors live.
    pub fn device(&self) -> Device {
        match self {
            Job::Offline(job) => job.device,
            Job::Ppo(job) => job.device,
            Job::Collect(_) => Device::Cpu,
            Job::Sequence(job) => job.device,
        }
    }

    /// What dense layers multiply in while training.
    pub fn precision(&self) -> Precision {
        match self {
            Job::Offline(job) => job.train.precision,
            Job::Sequence(job) => job.train.precision,
            // They learn on the CPU, where a probability is compared with that of the policy which acted.
            Job::Ppo(_) | Job::Collect(_) => Precision::F32,
        }
    }

    /// The parts of a batch that several processes can share, and the key that says how many.
    pub(crate) fn shards(&self) -> (&'static str, usize) {
        match self {
            Job::Offline(job) => ("train.shards", job.train.shards),
            Job::Ppo(job) => ("ppo.shards", job.ppo.shards),
            Job::Collect(_) => ("collect", 1),
            Job::Sequence(job) => ("train.shards", job.train.shards),
        }
    }

    /// The steps after which a training ends, as its checkpoints count them, and the key that says so.
    pub(crate) fn length(&self) -> Option<(u64, &'static str)> {
        match self {
            Job::Offline(job) => Some((job.train.steps, "train.steps")),
            Job::Ppo(job) => Some((job.ppo.iterations() * job.ppo.steps_per_iteration(), "ppo.env_steps")),
            Job::Sequence(job) => Some((job.train.steps, "train.steps")),
            Job::Collect(_) => None,
        }
    }

    /// When a training ends early, if it may.
    pub(crate) fn stop(&self) -> Option<StopConfig> {
        match self {
            Job::Offline(job) => job.evaluation.stop,
            Job::Ppo(job) => job.evaluation.stop,
            Job::Sequence(job) => job.evaluation.stop,
            Job::Collect(_) => None,
        }
    }

    /// What is logged beside the lines that every run has.
    pub(crate) fn log(&self) -> LogConfig {
        match self {
            Job::Offline(job) => job.log,
            Job::Ppo(job) => job.log,
            Job::Sequence(job) => job.log,
            Job::Collect(_) => LogConfig::default(),
        }
    }

    /// Newest checkpoints that a run of the job keeps.
    pub(crate) fn keep_checkpoints(&self) -> usize {
        match self {
            Job::Offline(job) => job.train.keep_checkpoints,
            Job::Ppo(job) => job.ppo.keep_checkpoints,
            Job::Sequence(job) => job.train.keep_checkpoints,
            Job::Collect(_) => 0,
        }
    }
}
