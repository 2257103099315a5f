//! Writing Minari datasets that the official library, version 0.5.4, reads.

use super::metadata::{WRITTEN_VERSION, space_json};
use super::{MAIN_FILE, is_id};
use crate::episode::Episodes;
use crate::error::DatasetError;
use crate::format::Format;
use crate::hdf5;
use crate::statistics::Spread;
use crate::trajectory::{Actions, Dataset, Trajectory};
use aaren_envs::{Dtype, Space};
use hdf5_pure::{AttrValue, DatasetBuilder, Datatype, FileBuilder, FinishedGroup, MaxExtent};
use serde_json::{Map, Value};
use std::path::Path;

/// Writes `metadata.json` and the main file into an existing directory. `about` describes the episodes, its own trajectories
/// are ignored; `target` is the path in messages.
///
/// Observations and actions keep the number types of their spaces, rewards are double precision. The HDF5 writer holds the file
/// in memory until it is finished; the episodes are dropped one by one.
pub(crate) fn write(about: &Dataset, episodes: &dyn Episodes, data: &Path, target: &Path) -> Result<(), DatasetError> {
    let unsupported = |problem: String| DatasetError::Unsupported { path: target.into(), format: Format::Minari, problem };
    if !is_id(&about.id) {
        let id = &about.id;
        return Err(unsupported(format!("the id \"{id}\" needs a name and a version, such as hopper/medium-v0")));
    }
    let width = about.observation_space.width();
    let boolean = hdf5::boolean(target)?;
    let mut builder = FileBuilder::new();
    let (mut count, mut steps) = (0, 0);
    episodes.visit(&mut |episode, trajectory, _| {
        if trajectory.observations.len() != (trajectory.len() + 1) * width {
            return Err(unsupported(format!("episode {episode} lacks the observation after its last step; save as D4RL")));
        }
        (count, steps) = (count + 1, steps + trajectory.len());
        builder.add_group(write_episode(about, episode, trajectory, &boolean));
        Ok(())
    })?;
    let main = data.join(MAIN_FILE);
    hdf5::finish(builder, &main, target)?;

    let io = |source| DatasetError::io(target, "cannot be written", source);
    let bytes = std::fs::metadata(&main).map_err(io)?.len();
    let text = Value::Object(describe(about, count, steps, bytes)).to_string();
    std::fs::write(data.join("metadata.json"), text).map_err(io)
}

fn write_episode(dataset: &Dataset, episode: usize, trajectory: &Trajectory, boolean: &Datatype) -> FinishedGroup {
    // The group is added to the root by its name; which builder made it does not matter.
    let mut group = FileBuilder::new().create_group(&format!("episode_{episode}"));
    let steps = trajectory.len();
    let observations = group.create_dataset("observations");
    write_box(observations, &dataset.observation_space, steps + 1, trajectory.observations.iter().copied());
    let actions = group.create_dataset("actions");
    match &trajectory.actions {
        Actions::Continuous(numbers) => {
            let numbers = numbers.iter().map(|&number| number.into());
            write_box(actions, &dataset.action_space, steps, numbers);
        }
        Actions::Discrete(indices) => resizable(actions.with_i64_data(indices), &[steps]),
    }
    resizable(group.create_dataset("rewards").with_f64_data(&trajectory.rewards), &[steps]);
    let ends = [("terminations", trajectory.end.terminated), ("truncations", trajectory.end.truncated)];
    for (name, last) in ends {
        let mut flags = vec![0u8; steps];
        flags[steps - 1] = last.into(); // a checked dataset has no episode without steps
        resizable(group.create_dataset(name).with_enum_u8_data(boolean.clone(), &flags), &[steps]);
    }
    let infos = group.create_group("infos").finish();
    group.add_group(infos);

    group.set_attr("id", AttrValue::I64(episode as i64));
    group.set_attr("total_steps", AttrValue::I64(steps as i64));
    if let Some(seed) = trajectory.seed {
        // The official library writes small seeds as int64 and large ones as uint64.
        let seed = i64::try_from(seed).map_or(AttrValue::U64(seed), AttrValue::I64);
        group.set_attr("seed", seed);
    }
    let rewards = Spread::of(trajectory.rewards.iter().copied());
    group.set_attr("rewards_sum", AttrValue::F64(trajectory.episode_return()));
    group.set_attr("rewards_mean", AttrValue::F64(rewards.mean));
    group.set_attr("rewards_std", AttrValue::F64(rewards.std));
    group.set_attr("rewards_max", AttrValue::F64(rewards.max));
    group.set_attr("rewards_min", AttrValue::F64(rewards.min));
    group.finish()
}

/// Rows of a box in the space's number type.
fn write_box(array: &mut DatasetBuilder, space: &Space, rows: usize, numbers: impl Iterator<Item = f64>) {
    let dtype = if let Space::Box { dtype, .. } = space { *dtype } else { Dtype::Float64 };
    let array = match dtype {
        Dtype::Float32 => array.with_f32_data(&numbers.map(|number| number as f32).collect::<Vec<_>>()),
        Dtype::Float64 => array.with_f64_data(&numbers.collect::<Vec<_>>()),
        Dtype::Int64 => array.with_i64_data(&numbers.map(|number| number as i64).collect::<Vec<_>>()),
    };
    resizable(array, &[rows, space.width()]);
}

/// Gives an array its shape, in one chunk if it is not very long, growable in the first axis as the official library's are.
fn resizable(array: &mut DatasetBuilder, shape: &[usize]) {
    let shape: Vec<u64> = shape.iter().map(|&extent| extent as u64).collect();
    let mut largest: Vec<MaxExtent> = shape.iter().map(|&extent| MaxExtent::Fixed(extent)).collect();
    largest[0] = MaxExtent::Unlimited;
    array.with_shape(&shape).with_maxshape(&largest);
    array.with_chunks(&shape.iter().map(|&extent| extent.min(hdf5::LONGEST_CHUNK)).collect::<Vec<_>>());
}

fn describe(dataset: &Dataset, episodes: usize, steps: usize, bytes: u64) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut set = |key: &str, value: Value| keys.insert(key.into(), value);
    set("total_episodes", episodes.into());
    set("total_steps", steps.into());
    set("data_format", "hdf5".into());
    set("jpeg_encoding", true.into());
    set("observation_space", space_json(&dataset.observation_space).into());
    set("action_space", space_json(&dataset.action_space).into());
    if let Some(env_id) = &dataset.env_id {
        set("env_spec", env_spec(env_id, dataset.max_episode_steps).into());
    }
    set("dataset_size", ((bytes as f64 / 1e5).round() / 10.0).into());
    set("dataset_id", dataset.id.clone().into());
    set("minari_version", WRITTEN_VERSION.into());
    if let Some((lowest, highest)) = dataset.reference_scores {
        set("ref_min_score", lowest.into());
        set("ref_max_score", highest.into());
    }
    for (key, value) in &dataset.metadata {
        // The source's env_spec says more than ours; all else that is ours describes this file.
        if key == "env_spec" || !keys.contains_key(key) {
            keys.insert(key.clone(), value.clone());
        }
    }
    keys
}

/// Gymnasium's description of a task, from which it makes the ones that are its own.
fn env_spec(env_id: &str, max_episode_steps: Option<usize>) -> String {
    let entry_point = match env_id {
        "Hopper-v5" => Value::from("gymnasium.envs.mujoco.hopper_v5:HopperEnv"),
        "HalfCheetah-v5" => Value::from("gymnasium.envs.mujoco.half_cheetah_v5:HalfCheetahEnv"),
        "Walker2d-v5" => Value::from("gymnasium.envs.mujoco.walker2d_v5:Walker2dEnv"),
        "Ant-v5" => Value::from("gymnasium.envs.mujoco.ant_v5:AntEnv"),
        "Pendulum-v1" => Value::from("gymnasium.envs.classic_control.pendulum:PendulumEnv"),
        "CartPole-v1" => Value::from("gymnasium.envs.classic_control.cartpole:CartPoleEnv"),
        _ => Value::Null,
    };
    let spec = serde_json::json!({
        "id": env_id,
        "entry_point": entry_point,
        "reward_threshold": null,
        "nondeterministic": false,
        "max_episode_steps": max_episode_steps,
        "order_enforce": true,
        "disable_env_checker": false,
        "kwargs": {},
        "additional_wrappers": [],
        "vector_entry_point": null,
    });
    spec.to_string()
}
