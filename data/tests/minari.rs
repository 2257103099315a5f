//! Reading and writing Minari datasets.

mod common;

use aaren_data::{Actions, Check, Format, LoadOptions, Statistics, Strictness, Trajectory, load_with, minari, save};
use aaren_envs::{Dtype, Space, StepEnd};
use common::{action, assert_close, fixture, floats, json, load_as, load_path, small, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn minari_samples_match_what_the_library_reads() {
    let cases = [
        ("aaren/hopper/random-v0", "expected_hopper.json"),
        ("aaren/hopper/random-infos-v0", "expected_hopper_infos.json"),
        ("aaren/cartpole/random-v1", "expected_cartpole.json"),
    ];
    for (id, expected) in cases {
        let root = fixture("minari/datasets");
        let expected = json(&fixture("minari").join(expected));
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
    let path = fixture("minari/datasets/aaren/hopper/random-v0");
    let dataset = load_path(&path).unwrap().dataset;
    assert_eq!(load_path(&path.join("data")).unwrap().dataset, dataset);
    assert_eq!(load_path(&path.join("data/main_data.hdf5")).unwrap().dataset, dataset);
}

#[test]
fn hand_written_minari_datasets_get_the_expected_verdict() {
    let root = fixture("minari/hand_written");
    let says: &[(&str, &[&str])] = &[
        ("short-observations-v0", &["episode 0", "4 observations and 4 actions", "one observation more"]),
        ("wrong-total-steps-v0", &["metadata.json", "total_steps is 11", "holds 8"]),
        ("unknown-format-v0", &["data_format zarr", "expected hdf5, arrow or parquet"]),
        ("no-dataset-id-v0", &["metadata.json", "dataset_id", "missing"]),
        ("missing-rewards-v0", &["episode_0/rewards is missing", "found actions, observations, terminations"]),
        ("missing-main-v0", &["main_data.hdf5", "cannot be read"]),
        ("future-version-v0", &["minari_version 0.9.0", "0.4.0", "0.5.4"]),
        ("episode-gap-v0", &["episode_1 is missing", "2 episodes"]),
    ];
    let verdicts = json(&root.join("expected.json"));
    for (name, verdict) in verdicts.as_object().unwrap() {
        // A newer release's stamp alone is a warning; the official library refuses it.
        let strictness = if name == "future-version-v0" { Strictness::Strict } else { Strictness::Normal };
        let loaded = load_as(&root.join(name), strictness);
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
    let future = &load_path(&root.join("future-version-v0")).unwrap().warnings[0];
    assert_eq!(future.check, Check::Version);
    assert!(future.text.contains("0.9.0") && future.text.contains("0.5.4"), "{future}");
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
        (
            replaced("\"type\\\": \\\"Box", "\"type\\\": \\\"Dict"),
            "observation_space.subspaces: found nothing (the key is missing), expected spaces by name",
        ),
        (replaced("float64", "complex64"), "observation_space.dtype: found \"complex64\""),
        (replaced("\"shape\\\": [3]", "\"shape\\\": [3, 1]"), "has shape [5, 3], expected [rows, 3, 1] (observation_space)"),
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

#[test]
fn episodes_are_cut_where_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    for discrete in [false, true] {
        let path = directory.path().join(format!("long-{discrete}"));
        let mut dataset = small(1, 5, discrete);
        dataset.id = "test/long-v0".into();
        dataset.trajectories[0].observations = (0..6).map(f64::from).collect();
        dataset.trajectories[0].rewards = (0..5).map(f64::from).collect();
        save(&dataset, &path, Format::Minari, false).unwrap();
        let options = LoadOptions { max_episode_steps: Some(2), ..LoadOptions::default() };
        let cut = load_with(path.to_str().unwrap(), &options).unwrap().dataset;
        assert_eq!(cut.max_episode_steps, Some(2));
        let all = &dataset.trajectories[0];
        let shown: Vec<&[f64]> = cut.trajectories.iter().map(|piece| &piece.observations[..]).collect();
        assert_eq!(shown, [&[0.0, 1.0, 2.0][..], &[2.0, 3.0, 4.0], &[4.0, 5.0]]);
        assert_eq!(cut.trajectories.iter().flat_map(|piece| piece.rewards.clone()).collect::<Vec<_>>(), all.rewards);
        let truncated = StepEnd { terminated: false, truncated: true };
        assert_eq!(cut.trajectories.iter().map(|piece| piece.end).collect::<Vec<_>>(), [truncated, truncated, all.end]);
        assert_eq!(cut.trajectories.iter().map(|piece| piece.seed).collect::<Vec<_>>(), [all.seed, None, None]);
        let kinds = |piece: &Trajectory| match &piece.actions {
            Actions::Continuous(numbers) => numbers.len() / 2,
            Actions::Discrete(indices) => indices.len(),
        };
        assert_eq!(cut.trajectories.iter().map(kinds).collect::<Vec<_>>(), [2, 2, 1]);
    }
}

#[test]
fn a_wrapper_may_hold_the_time_limit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wrapped-v0");
    let wrapped = r#"\"additional_wrappers\":[{\"name\":\"TimeLimit\",\"kwargs\":{\"max_episode_steps\":33}}]"#;
    let change = |text: String| text.replace(r#"\"additional_wrappers\":[]"#, wrapped);
    write_minari(&path, change, &[0, 0, 0, 1], &[1.0; 4]);
    let dataset = load_path(&path).unwrap().dataset;
    assert_eq!((dataset.max_episode_steps, dataset.wrappers().len()), (Some(33), 0));
}
