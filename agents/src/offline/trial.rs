//! Optimizer steps of real size, to time them: nothing is played, and nothing is kept.

use std::time::Instant;

use aaren_data::Dataset;
use aaren_policy::Rows as _;
use anyhow::Result;

use super::batch::DeviceBatch;
use super::describe::describe;
use super::learner::Learner;
use super::segments::{SegmentSampler, Source};
use super::source::SegmentSource;
use crate::config::OfflineJob;
use crate::device::{TrainBackend, Trains, on_backend};
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
    on_backend!(job.device, trial_on(job, dataset))
}

fn trial_on<B: TrainBackend>(job: &OfflineJob, dataset: Dataset) -> Result<Trial> {
    let description = describe(&job.env, &job.policy, &dataset)?;
    let sampler = SegmentSampler::new(SegmentSource::new(dataset, description.clone())?, &job.train, job.seed);
    time(Learner::<B>::new(description, &job.train, job.seed)?, &sampler, job.train.shards)
}

/// Times the steps of a learner that has made none.
pub(super) fn time<B: TrainBackend, N: Trains<B>>(
    mut learner: Learner<B, N>,
    sampler: &SegmentSampler<impl Source<Rows = N::Rows>>,
    shards: usize,
) -> Result<Trial> {
    let (mut started, mut timesteps) = (Instant::now(), 0);
    for step in 0..=STEPS {
        if step == 1 {
            learner.read_metrics()?; // the first step also compiles kernels and fills pools of memory
            started = Instant::now();
        }
        let batch = sampler.shared_batch(step, &[], &Shards::all(shards));
        timesteps = batch.own.iter().map(|part| part.rows.len()).sum();
        learner.update(DeviceBatch::copy(batch, learner.description())?)?;
    }
    learner.read_metrics()?;
    Ok(Trial { seconds: started.elapsed().as_secs_f64() / STEPS as f64, timesteps })
}
