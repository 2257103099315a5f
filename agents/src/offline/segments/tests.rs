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
    let inputs =
        batch.rows.timesteps.to_tensors::<crate::device::Cpu>(sampler.rows, aaren_policy::Tokens::Merged, &crate::device::CPU);
    let observations: Vec<f32> = inputs.observations.into_data().to_vec().unwrap();
    let length = sampler.row_length;
    let timestep = |row: usize, t: usize| (observations[row * length + t] as usize, inputs.reset.at(row, t));
    (0..sampler.rows).map(|row| (0..length).map(|t| timestep(row, t)).collect()).collect()
}

#[test]
fn rows_are_full_and_every_segment_begins_with_a_reset() {
    let config =
        TrainConfig { batch_size: 4, context_length: ContextLength::Timesteps(7), row_length: Some(23), ..Default::default() };
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
        let inputs = batch.rows.timesteps.to_tensors::<crate::device::Cpu>(5, aaren_policy::Tokens::Merged, &crate::device::CPU);
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
