//! Optimizer steps of real size, to time them: nothing is played, and nothing is kept.

use std::{sync::Arc, time::Instant};

use aaren_data::Dataset;
use anyhow::Result;

use super::batch::DeviceBatch;
use super::describe::describe;
use super::learner::Learner;
use super::segments::{SegmentSampler, SegmentSource};
use crate::config::{Device, OfflineJob};
use crate::device::{Graph, TrainBackend};
use crate::exchange::Shards;
use crate::session::Trained;

/// Steps that are timed, after one that is not.
const STEPS: u64 = 2;

/// A step of a job.
pub(crate) struct Trial {
    /// What it takes, in seconds.
    pub(crate) seconds: f64,
    /// Timesteps that it learns from.
    pub(crate) timesteps: usize,
}

/// Makes steps as [`super::train::train`] would and times them, on the job's device.
///
/// # Errors
/// As there.
pub(crate) fn trial(job: &OfflineJob, dataset: Dataset) -> Result<Trial> {
    match job.device {
        Device::Cpu => trial_on::<Graph>(job, dataset),
        #[cfg(feature = "vulkan")]
        Device::Vulkan => trial_on::<burn::backend::Autodiff<aaren_kernels::device::Vulkan>>(job, dataset),
        #[cfg(feature = "cuda")]
        Device::Cuda => trial_on::<burn::backend::Autodiff<aaren_kernels::device::Cuda>>(job, dataset),
        #[allow(unreachable_patterns, reason = "a build with every feature has every device")]
        missing => anyhow::bail!("device: this build has no {missing} backend"),
    }
}

fn trial_on<B: TrainBackend>(job: &OfflineJob, dataset: Dataset) -> Result<Trial> {
    let description = describe(&job.env, &job.policy, &dataset)?;
    let source = Arc::new(SegmentSource::new(dataset)?);
    let mut learner = Learner::<B>::new(description.clone(), &job.train, job.seed)?;
    let sampler = SegmentSampler::new(source, description.clone(), &job.train, job.seed);
    let (mut started, mut timesteps) = (Instant::now(), 0);
    for step in 0..=STEPS {
        if step == 1 {
            learner.read_metrics()?; // the first step also compiles kernels and fills pools of memory
            started = Instant::now();
        }
        let batch = sampler.shared_batch(step, &[], &Shards::all(job.train.shards));
        timesteps = batch.own.iter().map(|part| part.timesteps.len()).sum();
        learner.update(DeviceBatch::copy(batch, &description)?)?;
    }
    learner.read_metrics()?;
    Ok(Trial { seconds: started.elapsed().as_secs_f64() / STEPS as f64, timesteps })
}
