//! Sources that are missing, damaged or large.

mod common;

use aaren_data::{DatasetError, Format, Statistics, Summary, load, minari, save_episodes};
use common::{episodes, fixture, json, load_path, real_dataset, text};
use std::fs;

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
        let Some(path) = real_dataset(&format!("minari/hopper/{name}")) else { return };
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
    let sources = [Some(fixture("minari/datasets/aaren/hopper/random-v0")), real_dataset("minari/hopper/expert-v0")];
    for data in sources.into_iter().flatten().map(|source| source.join("data")) {
        let bytes = fs::read(data.join("main_data.hdf5")).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::copy(data.join("metadata.json"), directory.path().join("metadata.json")).unwrap();
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
}

#[test]
fn damaged_bytes_never_panic() {
    let root = fixture("");
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
        let path = fixture(&format!("d4rl/{name}"));
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
    let (about, episodes) = common::episodes();
    let folder = directory.path().join("x");
    save_episodes(&about, &episodes.as_slice(), &folder, Format::Minari, false).unwrap();
    assert_eq!(load_path(&folder).unwrap().dataset.trajectories.len(), 2);
    assert!(folder.join("journal").is_dir());
}
