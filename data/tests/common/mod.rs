//! What the tests of datasets share.

#![allow(dead_code, reason = "not every test binary uses all of it")]

use aaren_data::{
    Actions, Dataset, DatasetError, Episode, LoadOptions, Loaded, StepInfos, Strictness, Trajectory, load, load_with,
};
use aaren_envs::{Dtype, Space, StepEnd};
use serde_json::Value;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// A path in the fixtures of this repository.
pub fn fixture(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(relative)
}

/// A real dataset, which is too large for the repository; or nothing and a line that says why.
pub fn real_dataset(relative: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(relative);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not here", path.display());
    None
}

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

pub fn load_path(path: &Path) -> Result<Loaded, DatasetError> {
    load(path.to_str().unwrap())
}

pub fn load_as(path: &Path, strictness: Strictness) -> Result<Loaded, DatasetError> {
    load_with(path.to_str().unwrap(), &LoadOptions { strictness, ..LoadOptions::default() })
}

pub fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}[{index}]: {a} against {b}");
    }
}

/// The last action of an episode, or the one at `step`, in double precision.
pub fn action(trajectory: &Trajectory, step: usize) -> Vec<f64> {
    match &trajectory.actions {
        Actions::Discrete(indices) => vec![indices[step] as f64],
        Actions::Continuous(numbers) => {
            let width = numbers.len() / trajectory.len();
            numbers[step * width..][..width].iter().map(|&number| number.into()).collect()
        }
    }
}

/// The error and its causes, in one line.
pub fn text(error: &DatasetError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A dataset of one episode with given sizes.
pub fn small(width: usize, steps: usize, discrete: bool) -> Dataset {
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

/// What is left of a dataset in D4RL: single precision, and no seeds.
pub fn through_d4rl(mut dataset: Dataset) -> Dataset {
    for trajectory in &mut dataset.trajectories {
        trajectory.seed = None;
        trajectory.observations.iter_mut().for_each(|number| *number = f64::from(*number as f32));
        trajectory.rewards.iter_mut().for_each(|number| *number = f64::from(*number as f32));
    }
    dataset
}

/// Two episodes of 5 and 3 steps with all that D4RL keeps of a step: positions of 3 numbers, velocities of 2.
pub fn episodes() -> (Dataset, Vec<Episode>) {
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
