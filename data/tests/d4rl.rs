//! Reading D4RL's files.

mod common;

use aaren_data::{Check, Dataset, Format, LoadOptions, Statistics, Strictness, Trajectory, load_with, verify_source};
use aaren_envs::StepEnd;
use common::{action, assert_close, fixture, floats, json, load_as, load_path, text};
use serde_json::Value;
use std::{fs, path::Path};

#[test]
fn d4rl_samples_match() {
    let root = fixture("d4rl");
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
    let root = fixture("d4rl/malformed");
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
fn a_file_without_timeouts_needs_a_time_limit() {
    let path = fixture("d4rl/hopper_old_no_timeouts.hdf5");
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("unknown.hdf5");
    fs::copy(path, &copy).unwrap();
    let error = text(&load_path(&copy).unwrap_err());
    assert!(error.contains("time limit is unknown"), "{error}");
    let lengths = |options: LoadOptions| {
        let loaded = load_with(copy.to_str().unwrap(), &options).unwrap();
        let said = loaded.warnings.iter().any(|warning| warning.text.contains("the limit of the job's task"));
        (loaded.dataset.trajectories.iter().map(Trajectory::len).collect::<Vec<usize>>(), said)
    };
    let cut = vec![10, 10, 4, 10, 10, 3]; // the last 9 rows stay unfinished
    let of_task = LoadOptions { task_limit: Some(10), ..LoadOptions::default() };
    assert_eq!(lengths(of_task.clone()), (cut.clone(), true));
    let options = LoadOptions { max_episode_steps: Some(10), ..LoadOptions::default() };
    assert_eq!(lengths(options.clone()), (cut, false));
    assert_ne!(lengths(LoadOptions { max_episode_steps: Some(7), ..of_task }).0[0], 10, "what is asked for comes first");
    let trajectories = load_with(copy.to_str().unwrap(), &options).unwrap().dataset.trajectories;
    assert!(trajectories[0].end.truncated && !trajectories[0].end.terminated && trajectories[2].end.terminated);
}

#[test]
fn a_width_that_is_not_the_tasks_is_refused() {
    let path = fixture("d4rl/hopper_random-v2.hdf5");
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("walker2d_random-v2.hdf5");
    fs::copy(path, &copy).unwrap();
    let error = text(&load_path(&copy).unwrap_err());
    assert!(error.contains("[56, 11]") && error.contains("[rows, 17] (task walker2d)"), "{error}");
}

/// Writes a D4RL file of two episodes of three rows, after `change` has had its way with the arrays.
fn write_flat(path: &Path, change: impl FnOnce(&mut FlatFile)) {
    let mut flat = FlatFile {
        terminals: vec![0, 0, 1, 0, 0, 0],
        timeouts: vec![0, 0, 0, 0, 0, 1],
        next_observations: (1..13).map(f64::from).collect(),
        virtual_group: false,
        limit: None,
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
    if let Some(limit) = flat.limit {
        builder.set_attr("max_episode_steps", hdf5_pure::AttrValue::I64(limit));
    }
    builder.write(path).unwrap();
}

struct FlatFile {
    terminals: Vec<u8>,
    timeouts: Vec<u8>,
    next_observations: Vec<f64>,
    virtual_group: bool,
    limit: Option<i64>,
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

/// What a kilobyte of zeros unpacks to is not read: it would only exhaust the memory.
#[test]
fn a_file_that_asks_for_far_more_than_it_is_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rows = 3 << 20;
    let mut builder = hdf5_pure::FileBuilder::new();
    for (name, width) in [("observations", 6), ("actions", 1)] {
        let array = builder.create_dataset(name);
        array.with_f32_data(&vec![0.0; rows * width]).with_shape(&[rows as u64, width as u64]);
        array.with_chunks(&[1 << 16, width as u64]).with_deflate(9);
    }
    for name in ["rewards", "terminals", "timeouts"] {
        let array = builder.create_dataset(name).with_f32_data(&vec![0.0; rows]);
        array.with_shape(&[rows as u64]).with_chunks(&[1 << 16]).with_deflate(9);
    }
    let path = folder.path().join("zeros.hdf5");
    builder.write(&path).unwrap();
    let error = text(&load_path(&path).unwrap_err());
    assert!(error.contains("zeros.hdf5") && error.contains("more than 64 times"), "{error}");
}

#[test]
fn what_nobody_needs_in_a_file_is_no_reason_to_refuse_it() {
    let root = fixture("d4rl/odd");
    let plain = load_path(&root.join("hopper_plain-v2.hdf5")).unwrap();
    for name in ["soft_links", "external_link", "user_block", "attributes"] {
        let loaded =
            load_path(&root.join(format!("hopper_{name}-v2.hdf5"))).unwrap_or_else(|error| panic!("{name}: {}", text(&error)));
        assert_eq!(loaded.dataset.trajectories, plain.dataset.trajectories, "{name}");
        // Attributes with the names of our own, and other contents.
        let skipped: Vec<Check> = loaded.warnings.iter().map(|warning| warning.check).collect();
        assert_eq!(skipped, vec![Check::Metadata; if name == "attributes" { 2 } else { 0 }], "{name}");
    }
    let error = text(&load_path(&root.join("hopper_needed_link-v2.hdf5")).unwrap_err());
    assert!(error.contains("rewards is missing, or a link, which is not followed; found observations"), "{error}");
}

#[test]
fn a_file_of_d4rl_says_the_variant_of_its_task() {
    let path = fixture("d4rl/hopper_random-v2.hdf5");
    let dataset = load_path(&path).unwrap().dataset;
    assert_eq!(dataset.task().unwrap(), "Hopper-v5 with variant=d4rl");
    assert_eq!(verify_source(path.to_str().unwrap(), &LoadOptions::default()).task, dataset.task());
    let directory = tempfile::tempdir().unwrap();
    // Gymnasium's own task, in D4RL's layout.
    let copy = directory.path().join("hopper-v5.hdf5");
    fs::copy(path, &copy).unwrap();
    assert_eq!(load_path(&copy).unwrap().dataset.env_options().unwrap().len(), 0);
}

#[test]
fn episodes_longer_than_the_limit_are_said_and_can_be_cut() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.hdf5");
    write_flat(&path, |flat| flat.terminals[2] = 0);
    assert_eq!(load_path(&path).unwrap().warnings, [], "no limit is known");
    write_flat(&path, |flat| (flat.terminals[2], flat.limit) = (0, Some(4)));
    let warning = &load_path(&path).unwrap().warnings[0];
    assert_eq!((warning.check, warning.count), (Check::EpisodeLength, 1));
    assert!(warning.text.contains("limit of 4 steps, first episode 0 with 6") && warning.text.contains("--max-episode-steps 4"));
    assert!(text(&load_as(&path, Strictness::Strict).unwrap_err()).contains("data.max_episode_steps"));

    let options = LoadOptions { max_episode_steps: Some(4), ..LoadOptions::default() };
    let loaded = load_with(path.to_str().unwrap(), &options).unwrap();
    assert_eq!((loaded.warnings.len(), loaded.dataset.max_episode_steps), (0, Some(4)));
    let [first, second] = &loaded.dataset.trajectories[..] else { panic!("two pieces") };
    let cut = StepEnd { terminated: false, truncated: true };
    assert_eq!((first.len(), first.end, second.len(), second.end), (4, cut, 2, cut));
    assert_eq!(first.observations, [0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0]);
    assert_eq!(second.observations, [4.0, 5.0, 5.0, 6.0, 6.0, 7.0]);
    // An end in time stays where it is.
    write_flat(&path, |_| ());
    let lengths =
        load_with(path.to_str().unwrap(), &options).unwrap().dataset.trajectories.iter().map(Trajectory::len).collect::<Vec<_>>();
    assert_eq!(lengths, [3, 3]);
}
