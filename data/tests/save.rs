//! Writing datasets of both formats.

mod common;

use aaren_data::{Actions, Dataset, DatasetError, Episode, Format, Trajectory, save, save_episodes};
use aaren_envs::{Dtype, Space, StepEnd};
use common::{episodes, fixture, load_path, real_dataset, small, text, through_d4rl};
use proptest::prelude::*;
use std::{fs, process::Command};

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
    let precious = directory.path().join("precious.toml");
    fs::write(&precious, "seed = 1").unwrap();
    for format in [Format::D4rl, Format::Minari] {
        assert!(matches!(save(&first, &precious, format, true), Err(DatasetError::WrongKind { .. })));
    }
    assert_eq!(fs::read(&precious).unwrap(), b"seed = 1");
}

/// Episodes of which the last one is only there when somebody else has written to the place.
struct Late<'a>(&'a Dataset, &'a std::path::Path, Format);

impl aaren_data::Episodes for Late<'_> {
    fn visit(&self, visit: &mut aaren_data::Visit<'_>) -> Result<(), DatasetError> {
        self.0.trajectories.as_slice().visit(visit)?;
        if !self.1.exists() {
            save(&small(3, 5, false), self.1, self.2, false)?;
        }
        Ok(())
    }
}

#[test]
fn whoever_is_first_has_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let dataset = small(3, 4, false);
    for format in [Format::Minari, Format::D4rl] {
        let late = directory.path().join(format!("late-{format}-v0"));
        let taken = save_episodes(&dataset, &Late(&dataset, &late, format), &late, format, false).unwrap_err();
        assert!(matches!(taken, DatasetError::Exists { .. } | DatasetError::Taken { .. }), "{taken}");
        assert_eq!(load_path(&late).unwrap().dataset.trajectories[0].len(), 5, "the first is kept");
    }
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 2, "nothing else is left");
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
fn minari_to_d4rl_and_back_loses_only_precision_and_seeds() {
    let directory = tempfile::tempdir().unwrap();
    let sources = [Some(fixture("minari/datasets/aaren/hopper/random-v0")), real_dataset("minari/hopper/expert-v0")];
    for path in sources.into_iter().flatten() {
        let source = path.display();
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
