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
mod tests {
    use super::*;
    use crate::offline::source::SegmentSource;
    use aaren_data::{Actions, Dataset, Trajectory};
    use aaren_envs::{Dtype, Space, StepEnd};
    use aaren_policy::{ActionSpec, DecisionRows, Description, Normalizer, PolicyConfig};

    /// Trajectories whose observations name them: 1000 * trajectory + time.
    fn dataset(lengths: &[usize]) -> Dataset {
        let trajectory = |(index, &length): (usize, &usize)| Trajectory {
            observations: (0..length).map(|t| (1000 * index + t) as f64).collect(),
            actions: Actions::Discrete((0..length).map(|t| (t % 3) as i64).collect()),
            rewards: vec![1.0; length],
            end: StepEnd { terminated: true, truncated: false },
            seed: None,
        };
        Dataset {
            id: "test".into(),
            env_id: None,
            observation_space: Space::uniform_box(1, -1.0, 1.0, Dtype::Float32),
            action_space: Space::Discrete { n: 3, start: 0 },
            max_episode_steps: None,
            reference_scores: None,
            metadata: Default::default(),
            trajectories: lengths.iter().enumerate().map(trajectory).collect(),
        }
    }

    fn description() -> Description {
        Description {
            format: Description::FORMAT,
            config: PolicyConfig { return_scale: Some(1.0), max_timesteps: 10_000, ..Default::default() },
            normalizer: Normalizer::identity(1),
            action: ActionSpec::Discrete { n: 3, start: 0 },
            environment: serde_json::Value::Null,
        }
    }

    fn sampler(lengths: &[usize], config: TrainConfig) -> SegmentSampler<SegmentSource> {
        SegmentSampler::new(SegmentSource::new(dataset(lengths), description()).unwrap(), &config, 5)
    }

    /// `(observation, reset)` of every timestep, a row of the batch a row.
    fn rows(sampler: &SegmentSampler<SegmentSource>, batch: &Batch<DecisionRows>) -> Vec<Vec<(usize, bool)>> {
        let inputs = batch.rows.timesteps.to_tensors::<crate::device::Cpu>(
            sampler.rows,
            aaren_policy::Tokens::Merged,
            &crate::device::CPU,
        );
        let observations: Vec<f32> = inputs.observations.into_data().to_vec().unwrap();
        let length = sampler.row_length;
        let timestep = |row: usize, t: usize| (observations[row * length + t] as usize, inputs.reset.at(row, t));
        (0..sampler.rows).map(|row| (0..length).map(|t| timestep(row, t)).collect()).collect()
    }

    #[test]
    fn rows_are_full_and_every_segment_begins_with_a_reset() {
        let config = TrainConfig {
            batch_size: 4,
            context_length: ContextLength::Timesteps(7),
            row_length: Some(23),
            ..Default::default()
        };
        let sampler = sampler(&[3, 40, 1, 11], config);
        for step in 0..50 {
            for row in rows(&sampler, &sampler.batch(step, &[])) {
                assert!(row[0].1, "a row begins with a reset");
                let mut run = 0;
                for pair in row.windows(2) {
                    run += 1;
                    let ((before, _), (now, reset)) = (pair[0], pair[1]);
                    assert!(reset || now == before + 1, "{now} follows {before} without a reset");
                    assert!(reset || run < 7, "a segment of more than 7 timesteps");
                    run = if reset { 0 } else { run };
                }
            }
        }
    }

    #[test]
    fn continued_segments_go_on_in_the_next_batch() {
        let config = TrainConfig {
            batch_size: 3,
            context_length: ContextLength::Episode,
            row_length: Some(10),
            cut_segments: CutSegments::Continue,
            ..Default::default()
        };
        let sampler = sampler(&[33, 4, 17], config);
        let mut cut = Vec::new();
        let mut last: Vec<Option<usize>> = vec![None; 3];
        let mut continued = 0;
        for step in 0..30 {
            let batch = sampler.batch(step, &cut);
            for (row, timesteps) in rows(&sampler, &batch).into_iter().enumerate() {
                let (first, reset) = timesteps[0];
                assert_eq!(reset, last[row].is_none(), "step {step}, row {row}");
                if let Some(last) = last[row] {
                    assert_eq!(first, last + 1);
                    continued += 1;
                }
                let end = timesteps[9].0;
                let whole = [33, 4, 17][end / 1000];
                last[row] = (end % 1000 + 1 < whole).then_some(end);
            }
            cut = batch.cut;
        }
        assert!(continued > 20, "{continued}");
    }

    #[test]
    fn the_parts_of_a_batch_are_the_rows_of_the_whole_whoever_has_them() {
        let config = TrainConfig {
            batch_size: 8,
            context_length: ContextLength::Episode,
            row_length: Some(10),
            cut_segments: CutSegments::Continue,
            ..Default::default()
        };
        let sampler = sampler(&[33, 4, 17], config);
        let mut cut = Vec::new();
        for step in 0..5 {
            let whole = sampler.batch(step, &cut);
            for own in [0..4, 0..2, 2..4, 3..4] {
                let shared = sampler.shared_batch(step, &cut, &Shards { count: 4, own: own.clone() });
                assert_eq!(shared.cut, whole.cut);
                assert_eq!(shared.own.len(), own.len());
                let actions = shared.own.iter().flat_map(|part| part.rows.actions.iter().copied()).collect::<Vec<_>>();
                assert_eq!(actions, whole.rows.actions[own.start * 2 * 10 * 3..own.end * 2 * 10 * 3]);
                assert!(shared.own.iter().all(|part| part.rows.timesteps.len() == 2 * 10));
            }
            cut = whole.cut;
        }
        assert!(cut.iter().any(Option::is_some));
    }

    #[test]
    fn transitions_are_drawn_equally_often() {
        let config = TrainConfig { batch_size: 64, context_length: ContextLength::Timesteps(1), ..Default::default() };
        let sampler = sampler(&[2, 8], config);
        let mut count = [0usize; 2];
        for step in 0..200 {
            for row in rows(&sampler, &sampler.batch(step, &[])) {
                count[row[0].0 / 1000] += 1;
            }
        }
        let share = count[1] as f64 / 12_800.0;
        assert!((share - 0.8).abs() < 0.015, "{share}"); // four standard deviations
    }

    #[test]
    fn a_timestep_in_a_batch_is_what_acting_shows_at_that_time() {
        let config = TrainConfig { batch_size: 5, context_length: ContextLength::Timesteps(4), ..Default::default() };
        let sampler = sampler(&[9, 6], config);
        for step in 0..20 {
            let batch = sampler.batch(step, &[]);
            let inputs =
                batch.rows.timesteps.to_tensors::<crate::device::Cpu>(5, aaren_policy::Tokens::Merged, &crate::device::CPU);
            let list = |tensor: burn::Tensor<crate::device::Cpu, 2>| tensor.into_data().to_vec::<f32>().unwrap();
            let (observations, previous) = (list(inputs.observations), list(inputs.previous_actions));
            let (is_first, returns_to_go) = (list(inputs.is_first), list(inputs.returns_to_go));
            let positions = inputs.timesteps.into_data().convert::<i64>().to_vec::<i64>().unwrap();
            let one_hot = |action: usize| [0, 1, 2].map(|i| if i == action % 3 { 1.0 } else { 0.0 });
            for row in 0..20 {
                let (trajectory, t) = (observations[row] as usize / 1000, observations[row] as usize % 1000);
                assert_eq!(positions[row], t as i64);
                assert_eq!(returns_to_go[row], ([9, 6][trajectory] - t) as f32);
                assert_eq!(batch.rows.actions[3 * row..][..3], one_hot(t));
                // A segment that begins inside an episode begins after an action, as that step did.
                assert_eq!(is_first[row], if t == 0 { 1.0 } else { 0.0 });
                assert_eq!(previous[3 * row..][..3], if t == 0 { [0.0; 3] } else { one_hot(t - 1) });
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_dropped_unless_it_continues() {
        let config =
            TrainConfig { batch_size: 3, context_length: ContextLength::Episode, row_length: Some(10), ..Default::default() };
        let sampler = sampler(&[33, 4, 17], config);
        for step in 0..20 {
            let batch = sampler.batch(step, &[]);
            assert_eq!(batch.cut, [None; 3]);
            for row in rows(&sampler, &batch) {
                assert!(row[0].1 && row[0].0 % 1000 == 0, "a row begins with an episode's first timestep");
            }
        }
    }

    #[test]
    fn a_batch_is_a_function_of_the_seed_and_the_step() {
        let config = TrainConfig { batch_size: 3, context_length: ContextLength::Timesteps(4), ..Default::default() };
        let drawn = |step| {
            let sampler = sampler(&[33, 4, 17], config.clone());
            sampler.batch(7, &[]); // drawing one leaves no trace on another
            rows(&sampler, &sampler.batch(step, &[]))
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn empty_trajectories_are_never_drawn() {
        for context_length in [ContextLength::Episode, ContextLength::Timesteps(3)] {
            let config = TrainConfig { batch_size: 8, context_length, ..Default::default() };
            let sampler = sampler(&[0, 3, 0, 0, 2, 0], config);
            let drawn: Vec<usize> = rows(&sampler, &sampler.batch(0, &[])).concat().iter().map(|(name, _)| name / 1000).collect();
            assert!(drawn.contains(&1) && drawn.contains(&4) && drawn.iter().all(|name| [1, 4].contains(name)), "{drawn:?}");
        }
        let message = SegmentSource::new(dataset(&[]), description()).unwrap_err().to_string();
        assert!(message.contains("dataset test") && message.contains("no transition"), "{message}");
    }

    /// Sequences without a last one, whose timesteps say which they are of.
    #[derive(Debug)]
    struct Endless;

    impl Source for Endless {
        type Rows = aaren_policy::SequenceRows;

        fn name(&self) -> &str {
            "endless"
        }

        fn lengths(&self) -> Lengths {
            Lengths::Fresh(6)
        }

        fn push(&self, rows: &mut Self::Rows, sequence: usize, timesteps: Range<usize>, reset: bool) {
            rows.resets.extend(timesteps.clone().map(|t| reset && t == timesteps.start));
            rows.positions.extend(timesteps.map(|t| 10 * sequence + t));
        }
    }

    #[test]
    fn where_there_is_no_last_sequence_each_is_seen_once() {
        for (context_length, row_length, cut_segments) in [
            (ContextLength::Episode, None, CutSegments::Drop),
            (ContextLength::Episode, Some(15), CutSegments::Drop),
            (ContextLength::Episode, Some(4), CutSegments::Continue),
            (ContextLength::Timesteps(3), Some(7), CutSegments::Continue),
        ] {
            let config = TrainConfig { batch_size: 4, context_length, row_length, cut_segments, ..Default::default() };
            let sampler = SegmentSampler::new(Endless, &config, 5);
            let (mut cut, mut seen) = (Vec::new(), std::collections::HashSet::new());
            for step in 0..20 {
                let batch = sampler.batch(step, &cut);
                assert_eq!(batch.rows.positions.len(), 4 * row_length.unwrap_or(6));
                assert!(batch.rows.positions.iter().all(|timestep| seen.insert(*timestep)), "{config:?}, step {step}");
                sampler.check(&batch.cut).unwrap();
                cut = batch.cut;
            }
            // Whole rows of whole sequences are numbered without a gap.
            if row_length.is_none() {
                assert_eq!(seen.len(), 480);
                assert!((0..80).all(|sequence| seen.contains(&(10 * sequence + 5))));
            }
        }
    }

    #[test]
    fn rows_are_as_long_as_the_longest_episode_unless_told_otherwise() {
        let length = |context_length, row_length| {
            let config = TrainConfig { context_length, row_length, ..Default::default() };
            sampler(&[3, 40, 11], config).row_length
        };
        assert_eq!(length(ContextLength::Episode, None), 40);
        assert_eq!(length(ContextLength::Timesteps(7), None), 7);
        assert_eq!(length(ContextLength::Episode, Some(13)), 13);
    }
}
