//! Batches on the device that is trained on, prepared ahead of the optimizer.

use super::segments::{Batch, Segment, SegmentSampler, SharedBatch, Source};
use crate::device::{TrainBackend, Trains};
use crate::{exchange::Shards, run::process::panic_message};
use aaren_policy::{DecisionNetwork, DecisionRows, Description, Rows, Timesteps};
use anyhow::{Context, Result, anyhow};
use crossbeam::channel::Receiver;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Batches that are prepared ahead of the optimizer, on a thread of their own.
const BATCHES_AHEAD: usize = 2;

/// The batches of a training, in order.
pub(crate) struct Batches<B: TrainBackend, N: Trains<B>>(Receiver<Result<DeviceBatch<B, N>>>);

impl<B: TrainBackend, N: Trains<B>> Batches<B, N> {
    /// Batches from `first_step` to the last before `steps`; the thread ends with them, or when this is dropped.
    ///
    /// - `shards`: whose rows are filled
    /// - `cut`: what the batch before left over of its rows' segments
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn prepare(
        sampler: SegmentSampler<impl Source<Rows = N::Rows>>,
        description: N::Description,
        shards: Shards,
        first_step: u64,
        steps: u64,
        mut cut: Vec<Option<Segment>>,
    ) -> Result<Self> {
        let (sender, batches) = crossbeam::channel::bounded(BATCHES_AHEAD);
        let prepare = move || {
            for step in first_step..steps {
                let batch = sampler.shared_batch(step, &cut, &shards);
                cut.clone_from(&batch.cut);
                let batch = DeviceBatch::copy(batch, &description);
                let is_last = batch.is_err();
                if sender.send(batch).is_err() || is_last {
                    return; // the training has ended early, or will
                }
            }
        };
        std::thread::Builder::new().spawn(prepare).context("the system has no room for a thread that prepares batches")?;
        Ok(Self(batches))
    }

    /// The next batch.
    ///
    /// # Errors
    /// If the device has no memory for it, or the thread that prepares batches has ended.
    pub(crate) fn next(&self) -> Result<DeviceBatch<B, N>> {
        self.0.recv().context("the thread that prepares batches has ended")?
    }
}

/// A batch on the device that is trained on. Made on the thread that prepares batches, so that copying does not hold up a step.
pub struct DeviceBatch<B: TrainBackend, N: Trains<B> = DecisionNetwork<B>> {
    /// Of the shards that this process works on, in order.
    pub(super) parts: Vec<DevicePart<B, N>>,
    /// Of all parts here together.
    pub(super) size: BatchSize,
    /// Of all rows, those of other processes included.
    pub(super) cut: Vec<Option<Segment>>,
}

/// A shard of a batch: a forward and a backward pass.
pub(super) struct DevicePart<B: TrainBackend, N: Trains<B>> {
    pub(super) batch: N::Batch,
    pub(super) rows: usize,
}

impl<B: TrainBackend> DeviceBatch<B> {
    /// Copies a batch of whole episodes or segments to the device.
    ///
    /// - `timesteps`: inputs, row by row
    /// - `actions`: what was done, encoded, `[timesteps, action width]`
    ///
    /// # Errors
    /// If the device has no memory for it.
    pub fn new(timesteps: Timesteps, actions: Vec<f32>, rows: usize, description: &Description) -> Result<Self> {
        let cut = vec![None; rows];
        Self::copy(
            SharedBatch { own: vec![Batch { rows: DecisionRows { timesteps, actions }, cut: cut.clone() }], cut },
            description,
        )
    }
}

impl<B: TrainBackend, N: Trains<B>> DeviceBatch<B, N> {
    /// Copies this process's part of a batch to the device.
    ///
    /// # Errors
    /// If the device has no memory for it.
    pub(crate) fn copy(batch: SharedBatch<N::Rows>, description: &N::Description) -> Result<Self> {
        let SharedBatch { own, cut } = batch;
        let sum = |of: fn(&Batch<N::Rows>) -> usize| own.iter().map(of).sum();
        let [rows, timesteps, bytes] = [sum(|part| part.cut.len()), sum(|part| part.rows.len()), sum(|part| part.rows.bytes())];
        let size = BatchSize { rows, timesteps, bytes };
        on_device::<B, _>(|| {
            let part = |part: &Batch<N::Rows>| {
                let rows = part.cut.len();
                DevicePart { batch: N::batch(&part.rows, rows, description, &B::device()), rows }
            };
            Self { parts: own.iter().map(part).collect(), size, cut }
        })
        .with_context(|| format!("with {size}"))
    }
}

/// What a device holds of a batch, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchSize {
    pub(super) rows: usize,
    pub(super) timesteps: usize,
    bytes: usize,
}

impl std::fmt::Display for BatchSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, timesteps, bytes } = self;
        write!(f, "a batch of {rows} rows, {timesteps} timesteps and {bytes} bytes of inputs")
    }
}

/// Work on a device. A GPU does it later, on a thread of its own; this asks for what failed there, such as an allocation.
///
/// # Errors
/// What failed, with what to do.
pub(super) fn on_device<B: TrainBackend, T>(work: impl FnOnce() -> T) -> Result<T> {
    if B::IS_SYNCHRONOUS {
        return Ok(work());
    }
    let done = catch_unwind(AssertUnwindSafe(work));
    B::check()
        .and_then(|()| done.map_err(|panic| anyhow!("the device failed: {}", panic_message(&*panic))))
        .map_err(|failure| anyhow!("{failure:#}; lower train.batch_size or train.context_length if it has not the memory"))
}
