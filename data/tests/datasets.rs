//! Datasets of every format: recorded samples, damaged files, real data, and round trips.
//!
//! The samples live outside of the repository; without them a test says so and passes.

use aaren_data::{
    Actions, Dataset, DatasetError, Episode, Format, LoadOptions, Loaded, Statistics, StepInfos, Summary, Trajectory, load,
    load_with, minari, save, save_episodes,
    verify::{Check, Strictness, verify_source},
};
use aaren_envs::{Dtype, Space, StepEnd};
use proptest::prelude::*;
use serde_json::Value;
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A path in the shared samples, or nothing and a line that says why.
fn sample(relative: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(relative);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not here", path.display());
    None
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn load_path(path: &Path) -> Result<Loaded, DatasetError> {
    load(path.to_str().unwrap())
}

fn load_as(path: &Path, strictness: Strictness) -> Result<Loaded, DatasetError> {
    load_with(path.to_str().unwrap(), &LoadOptions { strictness, ..LoadOptions::default() })
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}[{index}]: {a} against {b}");
    }
}

/// The last action of an episode, or the one at `step`, in double precision.
fn action(trajectory: &Trajectory, step: usize) -> Vec<f64> {
    match &trajectory.actions {
        Actions::Discrete(indices) => vec![indices[step] as f64],
        Actions::Continuous(numbers) => {
            let width = numbers.len() / trajectory.len();
            numbers[step * width..][..width].iter().map(|&number| number.into()).collect()
        }
    }
}

/// The error and its causes, in one line.
fn text(error: &DatasetError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn minari_samples_match_what_the_library_reads() {
    let cases = [
        ("aaren/hopper/random-v0", "expected_hopper.json"),
        ("aaren/hopper/random-infos-v0", "expected_hopper_infos.json"),
        ("aaren/cartpole/random-v1", "expected_cartpole.json"),
    ];
    for (id, expected) in cases {
        let Some(root) = sample("fixtures/minari/datasets") else { return };
        let expected = json(&sample("fixtures/minari").unwrap().join(expected));
        let path = minari::find(id, &[PathBuf::from("/nonexistent"), root]).unwrap();
        let loaded = load_path(&path).unwrap();
        assert_eq!(loaded.format, Format::Minari);
        assert_eq!(loaded.warnings, [], "{id}");
        let dataset = loaded.dataset;
        assert_eq!(dataset.id, expected["dataset_id"].as_str().unwrap());
        let cartpole = id.contains("cartpole");
        assert_eq!(dataset.env_id.as_deref(), Some(if cartpole { "CartPole-v1" } else { "Hopper-v5" }));
        assert_eq!(dataset.max_episode_steps, Some(if cartpole { 500 } else { 1000 }));
        if cartpole {
            assert_eq!(dataset.action_space, Space::Discrete { n: 2, start: 0 });
        } else {
            assert_eq!(dataset.action_space, Space::uniform_box(3, -1.0, 1.0, Dtype::Float32));
            assert_eq!(dataset.observation_space, Space::uniform_box(11, f64::NEG_INFINITY, f64::INFINITY, Dtype::Float64));
        }
        let episodes = expected["episodes"].as_array().unwrap();
        assert_eq!(dataset.trajectories.len(), episodes.len());
        for (trajectory, episode) in dataset.trajectories.iter().zip(episodes) {
            let steps = episode["length"].as_u64().unwrap() as usize;
            let width = dataset.observation_space.width();
            assert_eq!(trajectory.len(), steps);
            assert_eq!(trajectory.observations.len(), (steps + 1) * width);
            assert_eq!(trajectory.rewards, floats(&episode["rewards"]), "rewards are read exactly");
            assert_close(&[trajectory.episode_return()], &[episode["return"].as_f64().unwrap()], 1e-15, "return");
            assert_eq!(trajectory.observations[..width], floats(&episode["first_observation"]));
            assert_eq!(trajectory.observations[steps * width..], floats(&episode["last_observation"]));
            assert_eq!(action(trajectory, 0), floats(&episode["first_action"]));
            assert_eq!(action(trajectory, steps - 1), floats(&episode["last_action"]));
            let flag = |key: &str| episode[key].as_array().unwrap().last().unwrap().as_bool().unwrap();
            let end = StepEnd { terminated: flag("terminations"), truncated: flag("truncations") };
            assert_eq!(trajectory.end, end);
        }
        let seeds: Vec<Option<u64>> = dataset.trajectories.iter().map(|trajectory| trajectory.seed).collect();
        let expected_seeds: Vec<Option<u64>> =
            expected["episode_attributes"].as_array().unwrap().iter().map(|attributes| attributes["seed"].as_u64()).collect();
        assert_eq!(seeds, expected_seeds);
        let statistics = Statistics::of(&dataset, None);
        if expected["obs_mean_excluding_last"].is_array() {
            let mean = floats(&expected["obs_mean_excluding_last"]);
            // The library averages CartPole's observations in single precision.
            let tolerance = if cartpole { 1e-6 } else { 1e-12 };
            assert_close(&statistics.observation_mean, &mean, tolerance, "mean");
            assert_close(&statistics.observation_std, &floats(&expected["obs_std_excluding_last"]), tolerance, "std");
            assert_close(&[statistics.returns.mean], &[expected["mean_return"].as_f64().unwrap()], 1e-14, "mean return");
        }
    }
}

#[test]
fn a_minari_dataset_is_found_by_directory_data_or_main_file() {
    let Some(path) = sample("fixtures/minari/datasets/aaren/hopper/random-v0") else { return };
    let dataset = load_path(&path).unwrap().dataset;
    assert_eq!(load_path(&path.join("data")).unwrap().dataset, dataset);
    assert_eq!(load_path(&path.join("data/main_data.hdf5")).unwrap().dataset, dataset);
}

#[test]
fn arrow_and_parquet_are_refused_by_name() {
    for format in ["arrow", "parquet"] {
        let Some(path) = sample(&format!("fixtures/minari/datasets/aaren/hopper/random-{format}-v0")) else { return };
        let error = text(&load_path(&path).unwrap_err());
        assert!(error.contains(&format!("data_format {format} is not supported, re-save as hdf5")), "{error}");
    }
}

#[test]
fn hand_written_minari_datasets_get_the_expected_verdict() {
    let Some(root) = sample("fixtures/minari/hand_written") else { return };
    let says: &[(&str, &[&str])] = &[
        ("short-observations-v0", &["episode 0", "4 observations and 4 actions", "one observation more"]),
        ("wrong-total-steps-v0", &["metadata.json", "total_steps is 11", "holds 8"]),
        ("unknown-format-v0", &["data_format zarr", "expected hdf5"]),
        ("no-dataset-id-v0", &["metadata.json", "dataset_id", "missing"]),
        ("missing-rewards-v0", &["episode_0/rewards is missing", "found actions, observations, terminations"]),
        ("missing-main-v0", &["main_data.hdf5", "cannot be read"]),
        ("episode-gap-v0", &["episode_1 is missing", "2 episodes"]),
        ("future-version-v0", &["minari_version 0.9.0", "0.4.0", "0.5.4"]),
    ];
    let verdicts = json(&root.join("expected.json"));
    for (name, verdict) in verdicts.as_object().unwrap() {
        let loaded = load_path(&root.join(name));
        assert_eq!(loaded.is_ok(), verdict["ok"].as_bool().unwrap(), "{name}: {:?}", loaded.err());
        if let Err(error) = loaded {
            let error = text(&error);
            let (_, parts) = says.iter().find(|(case, _)| case == name).expect("a case for every refused sample");
            for part in *parts {
                assert!(error.contains(part), "{name}: \"{error}\" does not say \"{part}\"");
            }
            assert!(error.contains(name.as_str()), "{name}: \"{error}\" does not name the file");
        }
    }
    let open_ended = load_path(&root.join("open-ended-v0")).unwrap();
    assert!(open_ended.dataset.trajectories.iter().all(|trajectory| trajectory.end.is_end()));
    assert_eq!(open_ended.warnings[0].check, Check::OpenEnd);
    assert_eq!(load_as(&root.join("future-version-v0"), Strictness::Lenient).unwrap().warnings[0].check, Check::Version);
    let twelve = load_path(&root.join("twelve-episodes-v0")).unwrap().dataset;
    assert_eq!(twelve.trajectories.len(), 12);
}

#[test]
fn episodes_come_in_the_order_of_their_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("twelve-v0");
    let mut dataset = small(1, 1, false);
    dataset.trajectories = (0..12).map(|k| Trajectory { rewards: vec![k as f64], ..dataset.trajectories[0].clone() }).collect();
    save(&dataset, &path, Format::Minari, false).unwrap();
    let rewards: Vec<f64> =
        load_path(&path).unwrap().dataset.trajectories.iter().map(|trajectory| trajectory.rewards[0]).collect();
    assert_eq!(rewards, (0..12).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn d4rl_samples_match() {
    let Some(root) = sample("fixtures/d4rl") else { return };
    for (name, expected) in json(&root.join("expected.json")).as_object().unwrap() {
        let loaded = load_path(&root.join(name)).unwrap_or_else(|error| panic!("{name}: {}", text(&error)));
        assert_eq!(loaded.format, Format::D4rl);
        let dataset = &loaded.dataset;
        assert_eq!(dataset.env_id.as_deref(), Some("Hopper-v5"));
        assert_eq!(dataset.max_episode_steps, Some(1000));
        let lengths: Vec<u64> = dataset.trajectories.iter().map(|trajectory| trajectory.len() as u64).collect();
        let key = if expected["episode_lengths"].is_array() { "episode_lengths" } else { "episode_lengths_closed" };
        let expected_lengths: Vec<u64> = expected[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        assert_eq!(lengths, expected_lengths, "{name}");
        let has_next = !name.contains("old");
        for trajectory in &dataset.trajectories {
            assert_eq!(trajectory.observations.len() / 11, trajectory.len() + usize::from(has_next), "{name}");
        }
        if let Some(tail) = expected["unfinished_tail_rows"].as_u64() {
            assert_eq!((loaded.warnings[0].check, loaded.warnings[0].count as u64), (Check::UnfinishedTail, tail));
            let options = LoadOptions { keep_unfinished: true, ..LoadOptions::default() };
            let kept = load_with(root.join(name).to_str().unwrap(), &options).unwrap().dataset;
            let last = kept.trajectories.last().unwrap();
            assert_eq!(last.len() as u64, tail);
            assert_eq!(last.end, StepEnd { terminated: false, truncated: true });
        } else {
            assert_eq!(loaded.warnings, [], "{name}");
        }
        if expected["ends_in_terminal"].is_array() {
            let terminated: Vec<Value> = dataset.trajectories.iter().map(|trajectory| trajectory.end.terminated.into()).collect();
            assert_eq!(terminated, *expected["ends_in_terminal"].as_array().unwrap());
        }
        if expected["obs_mean"].is_array() {
            compare_d4rl(dataset, expected, name);
        }
        if let Some(metadata) = expected["metadata"].as_object() {
            assert_eq!(dataset.metadata["algorithm_name"], metadata["algorithm"]);
            assert_eq!(dataset.metadata["iteration"], metadata["iteration"]);
        }
    }
    let both = load_path(&root.join("hopper_terminal_and_timeout.hdf5")).unwrap().dataset;
    assert_eq!(both.trajectories[0].end, StepEnd { terminated: true, truncated: true });
    assert_eq!(Statistics::of(&both, None).terminated, 2, "both flags are one end, counted as terminated");
}

fn compare_d4rl(dataset: &Dataset, expected: &Value, name: &str) {
    let statistics = Statistics::of(dataset, None);
    let returns: Vec<f64> = dataset.trajectories.iter().map(Trajectory::episode_return).collect();
    assert_close(&returns, &floats(&expected["episode_returns_f64_sum_of_f32"]), 1e-14, "returns");
    assert_close(&statistics.observation_mean, &floats(&expected["obs_mean"]), 1e-6, "mean");
    assert_close(&statistics.observation_std, &floats(&expected["obs_std_population"]), 1e-6, "std");
    let first = &dataset.trajectories[0];
    let last = dataset.trajectories.last().unwrap();
    let width = 11;
    assert_eq!(first.observations[..width], floats(&expected["first_observation"]), "{name}");
    assert_eq!(last.observations[(last.len() - 1) * width..][..width], floats(&expected["last_observation"]));
    assert_eq!(last.observations[last.len() * width..], floats(&expected["last_next_observation"]));
    assert_close(&action(first, 0), &floats(&expected["first_action"]), 1e-7, "first action");
    assert_close(&[first.rewards[0]], &[expected["first_reward"].as_f64().unwrap()], 0.0, "first reward");
    assert_close(&first.returns_to_go(), &floats(&expected["return_to_go_first_episode_f32"]), 1e-6, "return to go");
    assert_close(&[statistics.returns.mean], &[expected["mean_return"].as_f64().unwrap()], 1e-14, "mean return");
    let score = expected["normalized_score_of_mean_return_x100"].as_f64().unwrap();
    assert_close(&[statistics.score.unwrap()], &[score], 1e-12, "score");
    assert!(statistics.references.unwrap().source.starts_with("D4RL"));
}

#[test]
fn malformed_d4rl_files_are_refused_with_a_reason() {
    let Some(root) = sample("fixtures/d4rl/malformed") else { return };
    let says: &[(&str, &[&str])] = &[
        ("missing_array.hdf5", &["rewards is missing", "found actions, observations, terminals, timeouts"]),
        ("length_mismatch.hdf5", &["lengths differ", "actions 19", "observations 20", "rewards 20"]),
        ("nan_observation.hdf5", &["observations hold NaN", "1 in total", "row 9, column 4"]),
        ("inf_reward.hdf5", &["rewards hold NaN or infinity", "1 in total", "row 9"]),
        ("wrong_rank.hdf5", &["observations has shape [220]", "expected [rows, width]"]),
        ("empty.hdf5", &["zero rows", "nothing can be trained on"]),
        ("no_datasets.hdf5", &["observations is missing", "nothing in its place"]),
        ("string_rewards.hdf5", &["rewards has type string", "expected float or integer"]),
        ("not_hdf5.hdf5", &["not an HDF5 file (bad signature)"]),
        ("truncated.hdf5", &["truncated", "22273 bytes", "37122"]),
    ];
    let mut refused = 0;
    for name in json(&root.join("expected.json")).as_object().unwrap().keys() {
        let path = root.join(name);
        if name == "action_out_of_bounds.hdf5" {
            let warning = &load_path(&path).unwrap().warnings[0];
            assert_eq!((warning.check, warning.count), (Check::ActionBounds, 1));
            assert!(warning.text.contains("row 9, column 1"), "{warning}");
            let error = text(&load_as(&path, Strictness::Strict).unwrap_err());
            assert!(error.contains("row 9, column 1"), "{error}");
            continue;
        }
        let error = text(&load_path(&path).expect_err(name));
        let (_, parts) = says.iter().find(|(case, _)| case == name).expect("a case for every sample");
        for part in *parts {
            assert!(error.contains(part), "{name}: \"{error}\" does not say \"{part}\"");
        }
        assert!(error.contains(name.as_str()), "{name}: \"{error}\" does not name the file");
        let report = verify_source(path.to_str().unwrap(), &LoadOptions::default());
        assert!(!report.is_ok() && !report.errors[0].text.is_empty(), "{name}");
        refused += 1;
    }
    assert_eq!(refused, says.len());
}

#[test]
fn a_source_that_is_nothing_says_what_was_expected() {
    let directory = tempfile::tempdir().unwrap();
    let error = text(&load_path(directory.path()).unwrap_err());
    assert!(error.contains("expected a Minari dataset directory"), "{error}");
    let error = text(&load("no/such/file.hdf5").unwrap_err());
    assert!(error.contains("no dataset \"no/such/file.hdf5\""), "{error}");
    let error = text(&minari::find("ab/nowhere-v7", &["/first".into(), "/second".into()]).unwrap_err());
    assert!(error.contains("/first/ab/nowhere-v7") && error.contains("/second/ab/nowhere-v7"), "{error}");
}

#[test]
fn real_hopper_datasets_load() {
    let cases = [("medium-v0", 1241.39, 281), ("medium-replay-v0", 686.0, 371), ("expert-v0", 3245.19, 56)];
    for (name, mean, episodes) in cases {
        let Some(path) = sample(&format!("data/minari/hopper/{name}")) else { return };
        let loaded = load_path(&path).unwrap();
        let summary = Summary::of(&loaded, Some((-20.272305, 3234.3)));
        let statistics = &summary.statistics;
        assert_eq!(statistics.episodes, episodes);
        assert!((statistics.returns.mean - mean).abs() < 0.01, "{name}: {}", statistics.returns.mean);
        assert_eq!(statistics.terminated + statistics.truncated, episodes);
        let total = json(&path.join("data/metadata.json"))["total_steps"].as_u64().unwrap();
        assert_eq!(statistics.steps as u64, total);
        let printed = serde_json::to_value(&summary).unwrap();
        assert_eq!(printed["env_id"], "Hopper-v5");
        assert_eq!(printed["references"]["source"], "given");
        assert_eq!(printed["observation_mean"].as_array().unwrap().len(), 11);
        assert_eq!(loaded.warnings, [], "{name}");
        assert_eq!(loaded.dataset.reference_scores, None);
        let published = Statistics::of(&loaded.dataset, None);
        assert_eq!(published.score, statistics.score, "the task's references are known");
        assert!(published.references.unwrap().source.contains("D4RL"));
    }
}

#[test]
fn a_cut_file_is_an_error_at_every_length() {
    let Some(path) = sample("data/minari/hopper/expert-v0/data/main_data.hdf5") else { return };
    let bytes = fs::read(&path).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::copy(path.with_file_name("metadata.json"), directory.path().join("metadata.json")).unwrap();
    let cut = directory.path().join("main_data.hdf5");
    let lengths = (0..200).chain((200..bytes.len()).step_by(bytes.len() / 60)).chain([bytes.len() - 1]);
    for length in lengths {
        fs::write(&cut, &bytes[..length]).unwrap();
        let error = text(&load_path(directory.path()).expect_err("a cut file"));
        assert!(error.contains("truncated") || error.contains("bad signature"), "{length} bytes: {error}");
    }
    fs::write(&cut, &bytes).unwrap();
    load_path(directory.path()).expect("the whole file");
}

#[test]
fn damaged_bytes_never_panic() {
    let Some(root) = sample("fixtures") else { return };
    let minari = root.join("minari/datasets/aaren/hopper/random-v0/data");
    let directory = tempfile::tempdir().unwrap();
    fs::copy(minari.join("metadata.json"), directory.path().join("metadata.json")).unwrap();
    let targets = [
        (minari.join("main_data.hdf5"), directory.path().join("main_data.hdf5"), directory.path().to_path_buf()),
        (
            root.join("d4rl/hopper_medium-v2.hdf5"),
            directory.path().join("hopper_medium-v2.hdf5"),
            directory.path().join("hopper_medium-v2.hdf5"),
        ),
    ];
    let mut state = 88172645463325252u64; // xorshift64: the test needs variety, not quality
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut refused, mut accepted) = (0, 0);
    for (source, copy, load_from) in targets {
        let bytes = fs::read(source).unwrap();
        for _ in 0..400 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + next() % 24 {
                // The structure sits mostly at the front of these files.
                let range = if next() % 2 == 0 { 8192.min(bytes.len()) } else { bytes.len() };
                damaged[(next() % range as u64) as usize] = (next() >> 32) as u8;
            }
            fs::write(&copy, &damaged).unwrap();
            match load_path(&load_from) {
                Ok(loaded) => accepted += usize::from(!loaded.dataset.trajectories.is_empty()),
                Err(error) => refused += usize::from(!text(&error).is_empty()),
            }
        }
    }
    assert_eq!(refused + accepted, 800);
    assert!(refused > 100, "damage is noticed: {refused} refused");
}

#[test]
fn a_shape_that_cannot_be_in_the_file_is_refused_before_memory_is_asked_for() {
    for name in ["hopper_random-v2.hdf5", "hopper_old_no_timeouts.hdf5"] {
        let Some(path) = sample(&format!("fixtures/d4rl/{name}")) else { return };
        let mut bytes = fs::read(path).unwrap();
        let shape = |rows: u64| [rows.to_le_bytes(), 11u64.to_le_bytes()].concat();
        let mut changed = 0;
        for at in 0..bytes.len() - 16 {
            if bytes[at..at + 16] == shape(56) {
                bytes[at..at + 16].copy_from_slice(&shape(1 << 45));
                changed += 1;
            }
        }
        assert!(changed > 0, "observations have a shape");
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join(name);
        fs::write(&copy, bytes).unwrap();
        let error = text(&load_path(&copy).unwrap_err());
        assert!(error.contains("[35184372088832, 11]") && error.contains("does not fit"), "{error}");
    }
}

/// A dataset of one episode with given sizes.
fn small(width: usize, steps: usize, discrete: bool) -> Dataset {
    let actions = if discrete { Actions::Discrete(vec![1; steps]) } else { Actions::Continuous(vec![0.5; steps * 2]) };
    Dataset {
        id: "test/small-v0".into(),
        env_id: Some("Test-v0".into()),
        observation_space: Space::uniform_box(width, f64::NEG_INFINITY, 9.5, Dtype::Float64),
        action_space: if discrete {
            Space::Discrete { n: 3, start: 0 }
        } else {
            Space::uniform_box(2, -1.0, 1.0, Dtype::Float32)
        },
        max_episode_steps: Some(77),
        reference_scores: Some((-1.5, 1e3)),
        metadata: serde_json::from_str(r#"{"algorithm_name": "SAC", "iteration": 12, "note": "größer"}"#).unwrap(),
        trajectories: vec![Trajectory {
            observations: vec![0.25; (steps + 1) * width],
            actions,
            rewards: vec![1.0; steps],
            end: StepEnd { terminated: true, truncated: false },
            seed: Some(u64::MAX),
        }],
    }
}

#[test]
fn saving_never_replaces_unless_asked() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (small(3, 4, false), small(3, 5, false));
    for format in [Format::Minari, Format::D4rl] {
        let path = directory.path().join(format!("{format}-v0"));
        save(&first, &path, format, false).unwrap();
        assert!(matches!(save(&second, &path, format, false), Err(DatasetError::Exists { .. })));
        assert_eq!(load_path(&path).unwrap().dataset.trajectories[0].len(), 4);
        save(&second, &path, format, true).unwrap();
        assert_eq!(load_path(&path).unwrap().dataset.trajectories[0].len(), 5);

        // One that cannot be written leaves the old one as it was, and nothing else behind.
        let mut broken = first.clone();
        broken.trajectories[0].rewards[2] = f64::NAN;
        assert!(matches!(save(&broken, &path, format, true), Err(DatasetError::Content { .. })));
        broken.trajectories.push(Trajectory {
            observations: vec![0.0; 3],
            rewards: vec![],
            actions: Actions::Continuous(vec![]),
            ..broken.trajectories[0].clone()
        });
        let error = text(&save(&broken, &path, format, true).unwrap_err());
        assert!(error.contains("episode 1 has no steps"), "{error}");
        broken.trajectories.pop();
        broken.trajectories[0].rewards[2] = 1e300;
        if format == Format::D4rl {
            let error = text(&save(&broken, &path, format, true).unwrap_err());
            assert!(error.contains("too large"), "{error}");
        }
        broken.id = "no version".into();
        if format == Format::Minari {
            assert!(text(&save(&broken, &path, format, true).unwrap_err()).contains("no version"));
        }
        assert_eq!(load_path(&path).unwrap().dataset.trajectories[0].len(), 5);
    }
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    assert!(matches!(save(&first, &other, Format::Minari, true), Err(DatasetError::WrongKind { .. })));
    assert!(matches!(save(&first, &other, Format::D4rl, true), Err(DatasetError::WrongKind { .. })));
}

#[test]
fn what_a_format_cannot_hold_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let error = text(&save(&small(3, 4, true), &directory.path().join("x.hdf5"), Format::D4rl, false).unwrap_err());
    assert!(error.contains("no discrete actions"), "{error}");
    let mut short = small(3, 4, false);
    short.trajectories[0].observations.truncate(4 * 3);
    let error = text(&save(&short, &directory.path().join("x-v0"), Format::Minari, false).unwrap_err());
    assert!(error.contains("episode 0 lacks the observation after its last step"), "{error}");
    let path = directory.path().join("short.hdf5");
    save(&short, &path, Format::D4rl, false).unwrap();
    assert_eq!(load_path(&path).unwrap().dataset.trajectories[0].observations.len(), 4 * 3);
}

#[test]
fn a_file_without_timeouts_needs_a_time_limit() {
    let Some(path) = sample("fixtures/d4rl/hopper_old_no_timeouts.hdf5") else { return };
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("unknown.hdf5");
    fs::copy(path, &copy).unwrap();
    let error = text(&load_path(&copy).unwrap_err());
    assert!(error.contains("time limit is unknown"), "{error}");
    let options = LoadOptions { max_episode_steps: Some(10), ..LoadOptions::default() };
    let trajectories = load_with(copy.to_str().unwrap(), &options).unwrap().dataset.trajectories;
    let lengths: Vec<usize> = trajectories.iter().map(Trajectory::len).collect();
    assert_eq!(lengths, [10, 10, 4, 10, 10, 3], "the last 9 rows stay unfinished");
    assert!(trajectories[0].end.truncated && !trajectories[0].end.terminated && trajectories[2].end.terminated);
}

#[test]
fn a_width_that_is_not_the_tasks_is_refused() {
    let Some(path) = sample("fixtures/d4rl/hopper_random-v2.hdf5") else { return };
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("walker2d_random-v2.hdf5");
    fs::copy(path, &copy).unwrap();
    let error = text(&load_path(&copy).unwrap_err());
    assert!(error.contains("[56, 11]") && error.contains("[rows, 17] (task walker2d)"), "{error}");
}

/// What is left of a dataset in D4RL: single precision, and no seeds.
fn through_d4rl(mut dataset: Dataset) -> Dataset {
    for trajectory in &mut dataset.trajectories {
        trajectory.seed = None;
        trajectory.observations.iter_mut().for_each(|number| *number = f64::from(*number as f32));
        trajectory.rewards.iter_mut().for_each(|number| *number = f64::from(*number as f32));
    }
    dataset
}

#[test]
fn minari_to_d4rl_and_back_loses_only_precision_and_seeds() {
    let directory = tempfile::tempdir().unwrap();
    for source in ["data/minari/hopper/expert-v0", "fixtures/minari/datasets/aaren/hopper/random-v0"] {
        let Some(path) = sample(source) else { return };
        let original = load_path(&path).unwrap().dataset;
        let (flat, back) = (directory.path().join("flat.hdf5"), directory.path().join("back-v0"));
        save(&original, &flat, Format::D4rl, true).unwrap();
        let loaded = load_path(&flat).unwrap();
        assert_eq!(loaded.warnings, []);
        assert!(loaded.dataset == through_d4rl(original.clone()), "{source} to D4RL");
        save(&loaded.dataset, &back, Format::Minari, true).unwrap();
        assert!(load_path(&back).unwrap().dataset == loaded.dataset, "{source} back to Minari");
        let copy = directory.path().join("copy-v0");
        save(&original, &copy, Format::Minari, true).unwrap();
        assert!(load_path(&copy).unwrap().dataset == original, "Minari to Minari is exact");
    }
}

/// Asks the official library to read what we write.
#[test]
fn the_official_library_reads_our_minari_datasets() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import minari.dataset._storages.hdf5_storage"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: {python} cannot import minari with its HDF5 storage (pip install 'minari[hdf5]' pillow)");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let script = r#"
import minari, sys
d = minari.load_dataset(sys.argv[1])
e = list(d.iterate_episodes())
seeds = [m.get("seed") for m in d.storage.get_episode_metadata(range(len(e)))]
print(d.id, d.total_episodes, d.total_steps, d.env_spec.id, [len(x.rewards) for x in e], seeds,
      e[0].observations.dtype, e[0].actions.dtype, e[0].rewards.dtype, e[0].terminations.dtype,
      e[-1].observations.shape, bool(e[-1].terminations[-1]), bool(e[-1].truncations[-1]), float(e[-1].observations.sum()),
      d.observation_space.shape, d.action_space)
assert [m["total_steps"] for m in d.storage.get_episode_metadata(range(len(e)))] == [len(x.rewards) for x in e]
assert d.observation_space.contains(e[0].observations[0])
print("listed" if sys.argv[1] in minari.list_local_datasets() else "not listed")
"#;
    for discrete in [false, true] {
        let mut dataset = small(3, 4, discrete);
        dataset.id = if discrete { "test/kind/discrete-v0" } else { "test/kind/box-v3" }.into();
        let mut second = small(3, 7, discrete).trajectories.remove(0);
        second.seed = Some(5);
        second.end = StepEnd { terminated: false, truncated: true };
        dataset.trajectories.push(second);
        save(&dataset, &root.path().join(&dataset.id), Format::Minari, false).unwrap();
        let output =
            Command::new(&python).args(["-c", script, &dataset.id]).env("MINARI_DATASETS_PATH", root.path()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{err}");
        let actions = if discrete { "int64" } else { "float32" };
        let space = if discrete { "Discrete(3)" } else { "Box(-1.0, 1.0, (2,), float32)" };
        let expected = format!(
            "{} 2 11 Test-v0 [4, 7] [18446744073709551615, 5] float64 {actions} float64 bool (8, 3) False True 6.0 (3,) {space}\nlisted\n",
            dataset.id
        );
        assert_eq!(out, expected, "{err}");
    }
}

/// Asks HDF5's own library to read our long arrays: it checks the chunks' encoding, and short arrays have one chunk only.
#[test]
fn the_hdf5_library_reads_our_long_arrays() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import h5py"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: {python} has no h5py");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut dataset = small(3, 70_001, false);
    dataset.trajectories[0].observations.iter_mut().enumerate().for_each(|(index, number)| *number = -(index as f64));
    let script = r#"
import h5py, sys
f = h5py.File(sys.argv[1])
e = f["episode_0"] if "episode_0" in f else f
o = e["observations"][:]
last = e["terminations" if "episode_0" in f else "terminals"]
print(o.shape[1], (o.ravel() == -1.0 * __import__("numpy").arange(o.size)).all(), e["rewards"][:].sum(), last.dtype, last[:].sum(),
      e["actions"].shape, f["metadata/algorithm"][()] if "metadata" in f else "", e["observations"].compression)
"#;
    for (name, format, expected) in [
        ("long-v0", Format::Minari, "3 True 70001.0 bool 1 (70001, 2)  None\n"),
        ("long.hdf5", Format::D4rl, "3 True 70001.0 bool 1 (70001, 2) b'SAC' gzip\n"),
    ] {
        let path = directory.path().join(name);
        save(&dataset, &path, format, false).unwrap();
        let main = path.join("data/main_data.hdf5");
        let file = if format == Format::Minari { &main } else { &path };
        let output = Command::new(&python).args(["-c", script, file.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{format}");
        assert_eq!(load_path(&path).unwrap().dataset.trajectories[0].len(), 70_001);
    }
}

/// Two episodes of 5 and 3 steps with all that D4RL keeps of a step: positions of 3 numbers, velocities of 2.
fn episodes() -> (Dataset, Vec<Episode>) {
    let mut about = small(3, 4, false);
    let episode = |steps: usize| Episode {
        trajectory: small(3, steps, false).trajectories.remove(0),
        infos: StepInfos {
            action_log_probs: Some((0..steps).map(|step| -0.5 * step as f32).collect()),
            qpos: Some((0..3 * steps).map(|index| index as f64).collect()),
            qvel: Some((0..2 * steps).map(|index| -(index as f64)).collect()),
        },
    };
    about.trajectories.clear();
    about.id = "test/both-v0".into();
    (about, vec![episode(5), episode(3)])
}

#[test]
fn episodes_from_a_source_are_written_as_those_in_memory_are() {
    let (about, episodes) = episodes();
    let whole = Dataset { trajectories: episodes.iter().map(|episode| episode.trajectory.clone()).collect(), ..about.clone() };
    let directory = tempfile::tempdir().unwrap();
    for format in [Format::Minari, Format::D4rl] {
        let [one, other] = ["one", "other"].map(|name| directory.path().join(format!("{name}-{format}")));
        save(&whole, &one, format, false).unwrap();
        save_episodes(&about, &episodes.as_slice(), &other, format, false).unwrap();
        assert_eq!(load_path(&one).unwrap().dataset, load_path(&other).unwrap().dataset, "{format}");
        let taken = save_episodes(&about, &episodes.as_slice(), &other, format, false).unwrap_err();
        assert!(matches!(taken, DatasetError::Exists { .. }), "{taken}");
    }
    let path = directory.path().join("none");
    let none = save_episodes(&about, &[].as_slice() as &&[Episode], &path, Format::D4rl, false).unwrap_err();
    assert!(none.to_string().contains("nothing can be trained on"), "{none}");
    let mut wrong = episodes.clone();
    wrong[1].trajectory.rewards[2] = f64::NAN;
    let wrong = save_episodes(&about, &wrong.as_slice(), &path, Format::D4rl, false).unwrap_err();
    assert!(wrong.to_string().contains("episode 1 of the source: rewards hold NaN"), "{wrong}");
    assert!(!path.exists());
}

#[test]
fn what_is_known_of_a_step_is_written_where_every_episode_has_it() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import h5py"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: {python} has no h5py");
        return;
    }
    let (about, mut episodes) = episodes();
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
import h5py, sys
f = h5py.File(sys.argv[1])
i = f["infos"] if "infos" in f else {}
print([(k, i[k].shape, str(i[k].dtype), i[k].compression, float(i[k][-1].sum())) for k in sorted(i)])
"#;
    let seen = |name: &str, episodes: &[Episode]| {
        let path = directory.path().join(name);
        save_episodes(&about, &episodes, &path, Format::D4rl, false).unwrap();
        let output = Command::new(&python).args(["-c", script, path.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let all = "[('action_log_probs', (8,), 'float32', 'gzip', -1.0), ('qpos', (8, 3), 'float32', 'gzip', 21.0), \
               ('qvel', (8, 2), 'float32', 'gzip', -9.0)]\n";
    assert_eq!(seen("all.hdf5", &episodes), all);
    episodes[1].infos.qvel = None;
    assert_eq!(seen("some.hdf5", &episodes), "[('action_log_probs', (8,), 'float32', 'gzip', -1.0)]\n");
    episodes[0].infos.action_log_probs = None;
    assert_eq!(seen("none.hdf5", &episodes), "[]\n");
}

#[test]
fn a_collection_that_was_stopped_says_to_resume_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("x/journal")).unwrap();
    let error = load_path(&directory.path().join("x")).unwrap_err();
    assert!(matches!(error, DatasetError::Unfinished { .. }), "{error}");
    assert!(error.to_string().contains("run the same `aaren collect` again"), "{error}");
    let (about, episodes) = episodes();
    let path = directory.path().join("half.hdf5");
    save_episodes(&about, &episodes.as_slice(), &path, Format::D4rl, false).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = load_path(&path).unwrap_err();
    assert!(matches!(error, DatasetError::Truncated { .. }), "{error}");
    assert!(error.to_string().contains("`aaren collect` left it"), "{error}");
    // A Minari dataset appears beside the journal, which stays until its collector removes it.
    let (about, episodes) = self::episodes();
    let folder = directory.path().join("x");
    save_episodes(&about, &episodes.as_slice(), &folder, Format::Minari, false).unwrap();
    assert_eq!(load_path(&folder).unwrap().dataset.trajectories.len(), 2);
    assert!(folder.join("journal").is_dir());
}

/// Writes a D4RL file of two episodes of three rows, after `change` has had its way with the arrays.
fn write_flat(path: &Path, change: impl FnOnce(&mut FlatFile)) {
    let mut flat = FlatFile {
        terminals: vec![0, 0, 1, 0, 0, 0],
        timeouts: vec![0, 0, 0, 0, 0, 1],
        next_observations: (1..13).map(f64::from).collect(),
        virtual_group: false,
    };
    change(&mut flat);
    let mut builder = hdf5_pure::FileBuilder::new();
    let observations: Vec<f64> = (0..12).map(f64::from).collect();
    // Two columns, of which the next row repeats the second: 0 1, 1 2, ...
    let columns = |numbers: &[f64]| -> Vec<f64> { (0..6).flat_map(|row| [numbers[row], numbers[row] + 1.0]).collect() };
    builder.create_dataset("observations").with_f64_data(&columns(&observations)).with_shape(&[6, 2]);
    builder.create_dataset("next_observations").with_f64_data(&columns(&flat.next_observations)).with_shape(&[6, 2]);
    builder.create_dataset("actions").with_f64_data(&[0.5; 6]).with_shape(&[6, 1]);
    builder.create_dataset("rewards").with_f64_data(&[1.0; 6]).with_shape(&[6, 1]);
    builder.create_dataset("terminals").with_u8_data(&flat.terminals);
    builder.create_dataset("timeouts").with_u8_data(&flat.timeouts).with_shape(&[6, 1]);
    builder.create_dataset("an_extra_array").with_u8_data(&[1]);
    if flat.virtual_group {
        let group = builder.create_group("virtual").finish();
        builder.add_group(group);
    }
    builder.write(path).unwrap();
}

struct FlatFile {
    terminals: Vec<u8>,
    timeouts: Vec<u8>,
    next_observations: Vec<f64>,
    virtual_group: bool,
}

#[test]
fn flat_files_of_other_writers_are_read_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.hdf5");
    write_flat(&path, |_| ());
    let loaded = load_path(&path).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.dataset.trajectories[1].observations, [3.0, 4.0, 4.0, 5.0, 5.0, 6.0, 6.0, 7.0]);
    assert_eq!(loaded.dataset.trajectories[0].end, StepEnd { terminated: true, truncated: false });
    assert_eq!(loaded.dataset.trajectories[1].end, StepEnd { terminated: false, truncated: true });

    write_flat(&path, |flat| flat.next_observations[3] = 4.5);
    let warning = &load_path(&path).unwrap().warnings[0];
    assert_eq!((warning.check, warning.count), (Check::NextObservations, 1));
    assert!(warning.text.contains("row 3, column 0: 4.5 and then 4"), "{warning}");
    assert!(load_as(&path, Strictness::Strict).is_err());

    write_flat(&path, |flat| flat.timeouts[4] = 2);
    let error = text(&load_path(&path).unwrap_err());
    assert!(error.contains("timeouts holds 2 at row 4"), "{error}");
    write_flat(&path, |flat| flat.virtual_group = true);
    let error = text(&load_path(&path).unwrap_err());
    assert!(error.contains("virtual/ groups"), "{error}");
    write_flat(&path, |flat| (flat.terminals[2], flat.timeouts[5]) = (0, 0));
    let error = text(&load_path(&path).unwrap_err());
    assert!(error.contains("no finished episode in 6 rows"), "{error}");
}

/// Writes a Minari dataset and changes the text of its metadata and the flags of its only episode.
fn write_minari(path: &Path, change: impl Fn(String) -> String, terminations: &[u8], rewards: &[f64]) {
    let _ = fs::remove_dir_all(path);
    let dataset = small(3, 4, true);
    save(&dataset, path, Format::Minari, false).unwrap();
    let metadata = path.join("data/metadata.json");
    fs::write(&metadata, change(fs::read_to_string(&metadata).unwrap())).unwrap();
    let mut builder = hdf5_pure::FileBuilder::new();
    let mut group = builder.create_group("episode_0");
    group.create_dataset("observations").with_f64_data(&[0.5; 15]).with_shape(&[5, 3]);
    group.create_dataset("actions").with_i64_data(&[0, 1, 2, 0]);
    group.create_dataset("rewards").with_f64_data(rewards);
    group.create_dataset("terminations").with_u8_data(terminations);
    group.create_dataset("truncations").with_u8_data(&[0, 0, 0, 1]);
    builder.add_group(group.finish());
    builder.write(path.join("data/main_data.hdf5")).unwrap();
}

#[test]
fn minari_contradictions_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("odd-v0");
    let verdict = |change: &dyn Fn(String) -> String, terminations: &[u8], rewards: &[f64]| {
        write_minari(&path, change, terminations, rewards);
        load_path(&path).map(|loaded| loaded.dataset).map_err(|error| text(&error))
    };
    let (flags, rewards) = ([0, 0, 0, 1], [1.0; 4]);
    let good = verdict(&|text| text, &flags, &rewards).unwrap();
    assert_eq!(good.trajectories[0].end, StepEnd { terminated: true, truncated: true });

    let replaced = |from: &'static str, to: &'static str| {
        verdict(
            &move |text: String| {
                assert!(text.contains(from), "{text}");
                text.replace(from, to)
            },
            &flags,
            &rewards,
        )
        .unwrap_err()
    };
    let cases = [
        (replaced("\"total_episodes\":1", "\"total_episodes\":4"), "total_episodes is 4 in metadata.json, but the file holds 1"),
        (replaced("\"total_steps\":4", "\"total_steps\":-4"), "total_steps: found -4, expected a count"),
        (replaced("\"type\\\": \\\"Box", "\"type\\\": \\\"Dict"), "observation_space.type: found \"Dict\""),
        (replaced("float64", "uint8"), "observation_space.dtype: found \"uint8\""),
        (replaced("\"shape\\\": [3]", "\"shape\\\": [3, 1]"), "observation_space.shape: found [3,1]"),
        (replaced("9.5, 9.5, 9.5", "9.5, 9.5, NaN"), "observation_space.high"),
        (replaced("action_space", "reaction_space"), "action_space: found nothing (the key is missing)"),
        (replaced("\"n\\\": 3", "\"n\\\": 2"), "actions outside 2 choices starting at 0: 1 in total, first at row 2"),
        (replaced("{", "["), "metadata.json is not JSON"),
        (
            verdict(&|text| text, &[0, 1, 0, 1], &rewards).unwrap_err(),
            "episode 0: terminations is true at step 1, before the last step 3",
        ),
        (verdict(&|text| text, &[0, 0, 0, 7], &rewards).unwrap_err(), "terminations holds 7 at row 3"),
        (verdict(&|text| text, &[0, 0, 1], &rewards).unwrap_err(), "episode_0/terminations 3"),
        (
            verdict(&|text| text, &flags, &[0.0, 1.0, f64::NAN, f64::INFINITY]).unwrap_err(),
            "rewards hold NaN or infinity: 2 in total, first at row 2, column 0 (episode 0, step 2): NaN",
        ),
    ];
    for (error, part) in cases {
        assert!(error.contains(part), "\"{error}\" does not say \"{part}\"");
    }
    write_minari(&path, |text| text, &flags, &rewards);
    let alone = directory.path().join("alone.hdf5");
    fs::copy(path.join("data/main_data.hdf5"), &alone).unwrap();
    assert!(text(&load_path(&alone).unwrap_err()).contains("main file of a Minari dataset"));
    fs::remove_file(path.join("data/metadata.json")).unwrap();
    assert!(text(&load_path(&path).unwrap_err()).contains("metadata.json: cannot be read"));
}

fn numbers(count: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-1e6f64..1e6).prop_map(|number| number), count)
}

fn any_trajectory(width: usize, actions: usize, discrete: bool) -> impl Strategy<Value = Trajectory> {
    (1usize..7).prop_flat_map(move |steps| {
        let ends = (any::<bool>(), any::<bool>())
            .prop_map(|(terminated, truncated)| StepEnd { terminated, truncated: truncated || !terminated });
        let continuous = prop::collection::vec(-1.0f32..=1.0, steps * actions);
        let indices = prop::collection::vec(-2i64..3, steps);
        (numbers((steps + 1) * width), numbers(steps), continuous, indices, ends, any::<Option<u64>>()).prop_map(
            move |(observations, rewards, continuous, indices, end, seed)| Trajectory {
                observations,
                actions: if discrete { Actions::Discrete(indices) } else { Actions::Continuous(continuous) },
                rewards,
                end,
                seed,
            },
        )
    })
}

fn any_dataset() -> impl Strategy<Value = Dataset> {
    (1usize..5, 1usize..4, any::<bool>()).prop_flat_map(|(width, actions, discrete)| {
        prop::collection::vec(any_trajectory(width, actions, discrete), 1..13).prop_map(move |trajectories| {
            let mut dataset = small(width, 1, discrete);
            dataset.action_space = if discrete {
                Space::Discrete { n: 5, start: -2 }
            } else {
                Space::uniform_box(actions, -1.0, 1.0, Dtype::Float32)
            };
            dataset.trajectories = trajectories;
            dataset
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_dataset_survives_minari_exactly_and_d4rl_rounded(dataset in any_dataset()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("any-v0");
        save(&dataset, &path, Format::Minari, false).unwrap();
        let mut expected = dataset.clone();
        // The writer adds an env_spec, which the reader keeps.
        let mut read = load_path(&path).unwrap().dataset;
        prop_assert!(read.metadata.shift_remove("env_spec").is_some());
        prop_assert!(read == expected, "Minari");
        if !dataset.action_space.is_discrete() {
            let path = directory.path().join("any.hdf5");
            save(&dataset, &path, Format::D4rl, false).unwrap();
            expected = through_d4rl(expected);
            prop_assert!(load_path(&path).unwrap().dataset == expected, "D4RL");
        }
    }
}
