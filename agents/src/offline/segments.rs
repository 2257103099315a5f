//! Trajectories to packed batches: segments back to back in rows of one fixed length, with reset flags and without padding.

use crate::config::{ContextLength, CutSegments, TrainConfig};
use crate::exchange::Shards;
use crate::seeds;
use crate::sequence::Lengths;
use aaren_envs::derive_seed;
use aaren_policy::Rows;
use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::ops::Range;

/// Trajectories or other sequences, ready to be cut.
pub(crate) trait Source: Debug + Send + 'static {
    /// What timesteps are pushed to.
    type Rows: Rows;

    /// Where they are from, for errors.
    fn name(&self) -> &str;

    /// How long they are.
    fn lengths(&self) -> Lengths;

    /// Appends timesteps of one of them; `reset` says whether what came before the first is forgotten.
    fn push(&self, rows: &mut Self::Rows, trajectory: usize, timesteps: Range<usize>, reset: bool);
}

/// A run of timesteps of one trajectory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    trajectory: usize,
    start: usize,
    end: usize,
}

impl Segment {
    /// A trajectory in segments of a length, the last one of what is left.
    pub(crate) fn all(trajectory: usize, steps: usize, length: usize) -> impl Iterator<Item = Self> {
        (0..steps).step_by(length.max(1)).map(move |start| Self { trajectory, start, end: (start + length).min(steps) })
    }

    /// Timesteps.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// What one optimizer step learns from: `rows` packed rows.
#[derive(Debug)]
pub(crate) struct Batch<R> {
    /// `rows * row_length` timesteps.
    pub rows: R,
    /// What is left of each row's last segment, which the next batch begins with (`cut_segments: "continue"`).
    pub cut: Vec<Option<Segment>>,
}

/// The parts of a batch that a process works on.
#[derive(Debug)]
pub(crate) struct SharedBatch<R> {
    /// One for each of its shards, in order.
    pub own: Vec<Batch<R>>,
    /// What is left of the last segment of every row, those of other processes included.
    pub cut: Vec<Option<Segment>>,
}

/// Draws batches. The batch of a step is a function of the seed, the step and what the step before cut off.
#[derive(Debug)]
pub(crate) struct SegmentSampler<S> {
    source: S,
    lengths: Lengths,
    /// Timesteps before each trajectory, and after the last; empty where there is no last.
    starts: Vec<usize>,
    seed: u64,
    rows: usize,
    row_length: usize,
    context_length: ContextLength,
    cut_segments: CutSegments,
}

impl<S: Source> SegmentSampler<S> {
    /// A sampler of rows as configured; `row_length` is as long as the context or the longest trajectory unless it is given.
    pub(crate) fn new(source: S, config: &TrainConfig, seed: u64) -> Self {
        let lengths = source.lengths();
        let row_length = config.row_length.unwrap_or(match config.context_length {
            ContextLength::Timesteps(length) => length,
            ContextLength::Episode => lengths.longest(),
        });
        let mut starts = Vec::new();
        if let Lengths::Each(lengths) = &lengths {
            starts.push(0);
            lengths.iter().for_each(|length| starts.push(starts[starts.len() - 1] + length));
        }
        Self {
            source,
            lengths,
            starts,
            seed,
            rows: config.batch_size,
            row_length,
            context_length: config.context_length,
            cut_segments: config.cut_segments,
        }
    }

    /// Whether what a file says was cut off can go on in these trajectories.
    ///
    /// # Errors
    /// The first that cannot.
    pub(crate) fn check(&self, cut: &[Option<Segment>]) -> Result<()> {
        for &Segment { trajectory, start, end } in cut.iter().flatten() {
            ensure!(
                start < end && self.lengths.of(trajectory).is_some_and(|length| end <= length),
                "the run goes on at timesteps {start} to {end} of episode {trajectory}, which are not in the data ({})",
                self.source.name()
            );
        }
        Ok(())
    }

    /// A row for each of some segments of one length.
    pub(crate) fn batch_of(&self, segments: &[Segment]) -> S::Rows {
        let mut rows = S::Rows::default();
        for segment in segments {
            self.source.push(&mut rows, segment.trajectory, segment.start..segment.end, true);
        }
        rows
    }

    /// The batch of an optimizer step, whole. `cut` is what the step before left over, empty for the first.
    #[cfg(test)]
    pub(crate) fn batch(&self, step: u64, cut: &[Option<Segment>]) -> Batch<S::Rows> {
        let SharedBatch { mut own, cut } = self.shared_batch(step, cut, &Shards::all(1));
        Batch { cut, ..own.remove(0) }
    }

    /// The batch of an optimizer step: its rows in equal parts, of which this process's are filled. All segments are drawn, from the one
    /// generator, so that the rows are the same whoever works on them.
    pub(crate) fn shared_batch(&self, step: u64, cut: &[Option<Segment>], shards: &Shards) -> SharedBatch<S::Rows> {
        let mut generator = Pcg64Mcg::seed_from_u64(derive_seed(self.seed, &[seeds::SEGMENTS, step]));
        let rows = self.rows / shards.count;
        let empty = || Batch { rows: S::Rows::default(), cut: vec![None; rows] };
        let mut batch = SharedBatch { own: shards.own.clone().map(|_| empty()).collect(), cut: Vec::with_capacity(self.rows) };
        for row in 0..self.rows {
            let mut part = (row / rows).checked_sub(shards.own.start).and_then(|part| batch.own.get_mut(part));
            let mut continued = cut.get(row).copied().flatten();
            let mut free = self.row_length;
            let (mut left_over, mut drawn) = (None, 0);
            while free > 0 {
                let is_continued = continued.is_some();
                let segment = continued.take().unwrap_or_else(|| {
                    drawn += 1;
                    self.draw(&mut generator, (step, row, drawn - 1))
                });
                let end = segment.end.min(segment.start + free);
                if let Some(part) = &mut part {
                    self.source.push(&mut part.rows, segment.trajectory, segment.start..end, !is_continued);
                }
                free -= end - segment.start;
                if end < segment.end && self.cut_segments == CutSegments::Continue {
                    left_over = Some(Segment { start: end, ..segment });
                }
            }
            batch.cut.push(left_over);
        }
        batch
    }

    /// A segment of `context_length` from any transition, all equally likely, so that long trajectories are drawn more often; or a
    /// whole trajectory, all equally likely, so that every transition is learnt from equally often. Where there is no last trajectory,
    /// one that no other segment is of.
    ///
    /// - `place`: step, row, and how many segments were drawn for the row
    fn draw(&self, generator: &mut Pcg64Mcg, (step, row, drawn): (u64, usize, usize)) -> Segment {
        let starts = &self.starts;
        if let Lengths::Fresh(all) = self.lengths {
            let window = self.context_length.window();
            // Segments that begin anywhere may be of one timestep.
            let most = window.map_or(self.row_length.div_ceil(all), |_| self.row_length);
            let trajectory = (step as usize).wrapping_mul(self.rows).wrapping_add(row).wrapping_mul(most).wrapping_add(drawn);
            let start = window.map_or(0, |_| generator.random_range(0..all));
            return Segment { trajectory, start, end: window.map_or(all, |length| all.min(start + length)) };
        }
        match self.context_length {
            ContextLength::Timesteps(length) => {
                let transition = generator.random_range(0..starts[starts.len() - 1]);
                let trajectory = starts.partition_point(|&start| start <= transition) - 1;
                let start = transition - starts[trajectory];
                let end = (start + length).min(starts[trajectory + 1] - starts[trajectory]);
                Segment { trajectory, start, end }
            }
            ContextLength::Episode => loop {
                let trajectory = generator.random_range(0..starts.len() - 1);
                let end = starts[trajectory + 1] - starts[trajectory];
                if end > 0 {
                    break Segment { trajectory, start: 0, end };
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
