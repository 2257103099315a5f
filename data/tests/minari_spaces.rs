//! Minari datasets of every storage, of spaces beyond one box, and with episodes that are not there whole.

mod common;

use aaren_data::{Actions, Check, Incomplete, LoadOptions, Loaded, load_with, verify_source};
use aaren_envs::Space;
use common::{fixture, floats, json, load_path, text};
use std::fs;
use std::path::Path;

fn storages() -> &'static [&'static str] {
    if cfg!(feature = "arrow") { &["hdf5", "arrow", "parquet"] } else { &["hdf5"] }
}

#[test]
fn observations_and_actions_are_what_gymnasium_makes_of_them() {
    let expected = json(&fixture("minari/expected_spaces.json"));
    for (name, (observations, actions), recorded) in [
        (
            "mixed",
            (16, Space::Discrete { n: 12, start: 0 }),
            (
                Some("Dict(a: Discrete(3), b: Box(2, 2), m: MultiDiscrete(2, 3), t: Tuple(MultiBinary(2), Box(2)))"),
                Some("MultiDiscrete(2, 3, 2)"),
            ),
        ),
        ("discrete", (4, Space::Discrete { n: 2, start: -1 }), (Some("Discrete(4)"), None)),
        ("flags", (3, Space::Discrete { n: 8, start: 0 }), (Some("Box(3)"), Some("MultiBinary(3)"))),
        (
            "bytes",
            (6, Space::Box { low: vec![-1.0, -2.0, -2.0], high: vec![1.0, 2.0, 2.0], dtype: aaren_envs::Dtype::Float32 }),
            (Some("Box(2, 3)"), Some("Tuple(Box(1), Box(1, 2))")),
        ),
    ] {
        for storage in storages() {
            let dataset = load_path(&fixture(&format!("minari/spaces/{name}-{storage}-v0"))).unwrap().dataset;
            let case = format!("{name} in {storage}");
            assert_eq!((dataset.observation_space.width(), &dataset.action_space), (observations, &actions), "{case}");
            let words = |key| dataset.recorded_space(key);
            assert_eq!((words("observation_space").as_deref(), words("action_space").as_deref()), recorded, "{case}");
            let episodes = expected[name].as_array().unwrap();
            assert_eq!(dataset.trajectories.len(), episodes.len());
            for (index, (trajectory, episode)) in dataset.trajectories.iter().zip(episodes).enumerate() {
                let rows = episode["observations"].as_array().unwrap().iter().flat_map(floats).collect::<Vec<_>>();
                assert_eq!(trajectory.observations, rows, "{case}");
                assert_eq!(trajectory.rewards, floats(&episode["rewards"]), "{case}");
                assert_eq!((trajectory.end.terminated, trajectory.end.truncated), (index == 0, index == 1), "{case}");
                assert_eq!(trajectory.seed, Some(100 + index as u64), "{case}");
                let steps = episode["actions"].as_array().unwrap();
                match &trajectory.actions {
                    Actions::Discrete(indices) => {
                        assert_eq!(*indices, steps.iter().map(|step| step.as_i64().unwrap()).collect::<Vec<_>>(), "{case}");
                    }
                    Actions::Continuous(numbers) => {
                        let expected: Vec<f32> = steps.iter().flat_map(floats).map(|number| number as f32).collect();
                        assert_eq!(*numbers, expected, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_flattened_dataset_that_is_saved_again_says_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = load_path(&fixture("minari/spaces/mixed-hdf5-v0")).unwrap().dataset;
    let path = folder.path().join("again");
    aaren_data::save(&dataset, &path, aaren_data::Format::Minari, false).unwrap();
    let again = load_path(&path).unwrap().dataset;
    assert_eq!(again.trajectories, dataset.trajectories);
    assert_eq!(again.recorded_space("action_space"), dataset.recorded_space("action_space"));
}

#[test]
fn every_storage_holds_the_same_episodes() {
    let hopper = |name: &str| load_path(&fixture(&format!("minari/datasets/aaren/hopper/random-{name}v0")));
    let hdf5 = hopper("").unwrap().dataset;
    for storage in ["arrow", "parquet"] {
        let read = hopper(&format!("{storage}-"));
        if cfg!(feature = "arrow") {
            let loaded = read.unwrap();
            assert_eq!((loaded.warnings.len(), &loaded.dataset.trajectories), (0, &hdf5.trajectories), "{storage}");
        } else {
            let error = text(&read.unwrap_err());
            assert!(error.contains(&format!("data_format is {storage}")) && error.contains("`--features arrow`"), "{error}");
        }
    }
}

#[test]
fn spaces_that_no_policy_serves_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd-v0");
    let refused = |key: &str, space: &str| {
        let _ = fs::remove_dir_all(&path);
        copy(&fixture("minari/spaces/flags-hdf5-v0"), &path);
        let metadata = path.join("data/metadata.json");
        let mut about = json(&metadata);
        about[key] = space.into();
        fs::write(&metadata, about.to_string()).unwrap();
        text(&load_path(&path).unwrap_err())
    };
    let zeros = |n: usize| vec!["0"; n].join(",");
    let image = |shape: &str, dtype: &str, n: usize| {
        format!(r#"{{"type": "Box", "dtype": "{dtype}", "shape": {shape}, "low": [{0}], "high": [{0}]}}"#, zeros(n))
    };
    let nested = |image: &str| format!(r#"{{"type": "Dict", "subspaces": {{"camera": {image}}}}}"#);
    for (key, space, words) in [
        ("observation_space", image("[32, 32]", "uint8", 1024), &["observation_space.dtype", "uint8 of shape [32,32]", "images are not supported"][..]),
        ("observation_space", nested(&image("[3, 32, 32]", "float32", 3072)), &["observation_space.subspaces.camera.dtype", "images"]),
        ("observation_space", r#"{"type": "Text", "max_length": 3}"#.into(), &["observation_space.type", "\"Text\"", "FlattenObservation"]),
        ("observation_space", r#"{"type": "Discrete", "n": 70000}"#.into(), &["70000", "at most 65536 numbers"]),
        ("observation_space", r#"{"type": "Dict", "subspaces": {}}"#.into(), &["at least one number"]),
        ("action_space", r#"{"type": "MultiDiscrete", "nvec": [100, 41]}"#.into(), &["action_space has 100 x 41 joint choices", "4096 at most", "action wrapper"]),
        ("action_space", r#"{"type": "MultiBinary", "n": 13}"#.into(), &["2 x 2", "4096 at most"]),
        (
            "action_space",
            r#"{"type": "Tuple", "subspaces": [{"type": "Discrete", "n": 2}, {"type": "Box", "dtype": "float32", "shape": [1], "low": [0], "high": [1]}]}"#.into(),
            &["action_space has numbers and choices", "action wrapper"],
        ),
    ] {
        let error = refused(key, &space);
        for word in words {
            assert!(error.contains(word), "{space}: {error:?} lacks {word:?}");
        }
    }
    // A choice that the space has not, in the file.
    let error = refused("action_space", r#"{"type": "MultiDiscrete", "nvec": [1, 1, 1]}"#);
    assert!(error.contains("episode 0: actions holds 1 at row") && error.contains("none of the choices"), "{error}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, target).map(drop).unwrap() }
    }
}

fn skipping(path: &Path) -> Result<Loaded, aaren_data::DatasetError> {
    load_with(path.to_str().unwrap(), &LoadOptions { incomplete: Incomplete::Skip, ..LoadOptions::default() })
}

#[test]
fn incomplete_episodes_are_left_out_if_asked_and_counted() {
    for (name, kept, words) in [
        ("episode-gap-v0", 2, &["1 incomplete episodes of 3", "episode_1 is missing"][..]),
        ("wrong-total-steps-v0", 2, &["total_steps is 11 in metadata.json, but the file holds 8"]),
    ] {
        let path = fixture("minari/hand_written").join(name);
        let error = text(&load_path(&path).unwrap_err());
        assert!(error.contains("data.incomplete=skip") && error.contains("--incomplete skip"), "{error}");
        let loaded = skipping(&path).unwrap();
        assert_eq!(loaded.dataset.trajectories.len(), kept, "{name}");
        let warning = loaded.warnings.iter().find(|warning| warning.check == Check::Incomplete).expect(name);
        for word in words {
            assert!(warning.text.contains(word), "{name}: {warning} lacks {word:?}");
        }
    }
    for name in ["short-observations-v0", "missing-rewards-v0"] {
        let path = fixture("minari/hand_written").join(name);
        let report = verify_source(path.to_str().unwrap(), &LoadOptions::default());
        assert!(report.errors[0].text.contains("episode 0 is incomplete"), "{report:?}");
        let loaded = skipping(&path);
        // What is left of the sample may be nothing.
        let said = loaded.map_or_else(|error| text(&error), |loaded| loaded.warnings[0].text.clone());
        assert!(said.contains("incomplete episodes of") && said.contains("first episode 0"), "{said}");
    }
}

#[cfg(feature = "arrow")]
#[test]
fn a_part_that_is_missing_or_cut_off_is_an_incomplete_episode() {
    let folder = tempfile::tempdir().unwrap();
    for storage in ["arrow", "parquet"] {
        let original = fixture(&format!("minari/datasets/aaren/hopper/random-{storage}-v0"));
        let path = folder.path().join(storage);
        copy(&original, &path);
        let whole = load_path(&path).unwrap().dataset.trajectories;
        let part = path.join(format!("data/1/part-0.{storage}"));
        let bytes = fs::read(&part).unwrap();
        for (what, said) in
            [(Some(&bytes[..bytes.len() / 2]), "is cut off"), (None, "has no file part-0"), (Some(&[][..]), "is cut off")]
        {
            what.map_or_else(|| fs::remove_file(&part), |bytes| fs::write(&part, bytes)).unwrap();
            let error = text(&load_path(&path).unwrap_err());
            assert!(error.contains("episode 1 is incomplete") && error.contains(said), "{error}");
            let loaded = skipping(&path).unwrap();
            assert_eq!(loaded.dataset.trajectories, [whole[0].clone(), whole[2].clone()], "{storage}");
            assert!(loaded.warnings[0].text.contains("1 incomplete episodes of 3"), "{:?}", loaded.warnings);
        }
        fs::write(&part, &bytes).unwrap();
        // An episode without the observation after its last action is as long as it has steps.
        let about = path.join("data/1/metadata.json");
        let steps = whole[1].len();
        let text_of = fs::read_to_string(&about).unwrap();
        fs::write(&about, text_of.replace(&format!("\"total_steps\": {steps}"), &format!("\"total_steps\": {}", steps + 1)))
            .unwrap();
        let error = text(&load_path(&path).unwrap_err());
        assert!(error.contains(&format!("it has {} observations and {} actions", steps + 1, steps + 1)), "{error}");
        // Bytes in the middle may be anything: it is an error or other numbers, and neither a panic nor a hang.
        fs::write(&about, text_of).unwrap();
        for at in (0..bytes.len()).step_by(37) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            fs::write(&part, &damaged).unwrap();
            let _ = load_path(&path);
        }
    }
}
