//! Writing D4RL files: single precision, gzip level 4, `next_observations` where every trajectory has its last one.
//!
//! The HDF5 writer holds a file in memory until it is finished, so the arrays are gathered one after the other, in the form in
//! which they are stored: 4 bytes a number.

use super::about;
use crate::episode::{Episodes, StepInfos};
use crate::error::DatasetError;
use crate::format::Format;
use crate::hdf5;
use crate::trajectory::{Actions, Dataset, Trajectory};
use hdf5_pure::{DatasetBuilder, Datatype, FileBuilder, make_f32_type};
use std::path::Path;

/// D4RL's own level.
const GZIP_LEVEL: u32 = 4;

/// Numbers in a chunk, about 256 KiB: between random access and overhead.
const CHUNK: usize = hdf5::LONGEST_CHUNK as usize;

/// Which arrays the episodes can fill, and how wide they are.
#[derive(Default)]
struct Shape {
    rows: usize,
    /// Every trajectory has the observation after its last step.
    complete: bool,
    log_probs: bool,
    /// Numbers of `infos/qpos` and `infos/qvel` a row; `None` where some episode lacks them.
    state: Option<(usize, usize)>,
}

impl Shape {
    fn of(episodes: &dyn Episodes, width: usize) -> Result<Self, DatasetError> {
        let mut shape = Self { rows: 0, complete: true, log_probs: true, state: None };
        episodes.visit(&mut |index, trajectory, infos| {
            let steps = trajectory.len();
            shape.rows += steps;
            shape.complete &= trajectory.observations.len() == (steps + 1) * width;
            shape.log_probs &= infos.action_log_probs.as_ref().is_some_and(|log_probs| log_probs.len() == steps);
            let whole = |numbers: &Vec<f64>| numbers.len().is_multiple_of(steps).then_some(numbers.len() / steps);
            let state = infos.qpos.as_ref().and_then(whole).zip(infos.qvel.as_ref().and_then(whole));
            shape.state = if index == 0 || shape.state == state { state } else { None };
            Ok(())
        })?;
        Ok(shape)
    }
}

/// Writes checked episodes into a new file. `about` describes them, its own trajectories are ignored; `target` is the path in
/// messages.
pub(crate) fn write(about: &Dataset, episodes: &dyn Episodes, file: &Path, target: &Path) -> Result<(), DatasetError> {
    let unsupported =
        |problem: &str| DatasetError::Unsupported { path: target.into(), format: Format::D4rl, problem: problem.into() };
    if about.action_space.is_discrete() {
        return Err(unsupported("it has no discrete actions; save as Minari"));
    }
    let width = about.observation_space.width();
    let Shape { rows, complete, log_probs, state } = Shape::of(episodes, width)?;
    let gather = |per_row: usize, fill: &dyn Fn(&Trajectory, &StepInfos, &mut Numbers)| -> Result<Vec<u8>, DatasetError> {
        let mut numbers = Numbers { bytes: Vec::with_capacity(rows * per_row * 4), finite: true };
        episodes.visit(&mut |_, trajectory, infos| {
            fill(trajectory, infos, &mut numbers);
            Ok(())
        })?;
        if numbers.finite {
            return Ok(numbers.bytes);
        }
        Err(unsupported("its numbers are single precision, and some of these are too large; save as Minari"))
    };
    let matrix = |array: &mut DatasetBuilder, bytes: Vec<u8>, width: usize| {
        let chunk = (CHUNK / width).clamp(1, rows) as u64;
        let array = array.with_raw_data(make_f32_type(), bytes, (rows * width) as u64);
        array.with_shape(&[rows as u64, width as u64]).with_chunks(&[chunk, width as u64]).with_deflate(GZIP_LEVEL);
    };
    let column = |array: &mut DatasetBuilder, datatype: Datatype, bytes: Vec<u8>| {
        let array = array.with_raw_data(datatype, bytes, rows as u64);
        array.with_chunks(&[CHUNK.clamp(1, rows) as u64]).with_deflate(GZIP_LEVEL);
    };

    let mut builder = FileBuilder::new();
    let shown = gather(width, &|trajectory, _, numbers| numbers.extend(&trajectory.observations[..trajectory.len() * width]))?;
    matrix(builder.create_dataset("observations"), shown, width);
    if complete {
        let next = gather(width, &|trajectory, _, numbers| numbers.extend(&trajectory.observations[width..]))?;
        matrix(builder.create_dataset("next_observations"), next, width);
    }
    let actions = gather(about.action_space.width(), &|trajectory, _, numbers| {
        // Discrete ones are refused above.
        if let Actions::Continuous(actions) = &trajectory.actions {
            actions.iter().for_each(|&action| numbers.push(action));
        }
    })?;
    matrix(builder.create_dataset("actions"), actions, about.action_space.width());
    let rewards = gather(1, &|trajectory, _, numbers| numbers.extend(&trajectory.rewards))?;
    column(builder.create_dataset("rewards"), make_f32_type(), rewards);

    let boolean = hdf5::boolean(target)?;
    for (name, terminals) in [("terminals", true), ("timeouts", false)] {
        let mut flags = Vec::with_capacity(rows);
        episodes.visit(&mut |_, trajectory, _| {
            // Without any flag the episode would run into the next one.
            let timeout = trajectory.end.truncated || !trajectory.end.terminated;
            flags.resize(flags.len() + trajectory.len() - 1, 0u8);
            flags.push(u8::from(if terminals { trajectory.end.terminated } else { timeout }));
            Ok(())
        })?;
        column(builder.create_dataset(name), boolean.clone(), flags);
    }
    if log_probs || state.is_some() {
        let mut group = builder.create_group("infos");
        if log_probs {
            let bytes = gather(1, &|_, infos, numbers| {
                infos.action_log_probs.iter().flatten().for_each(|&number| numbers.push(number));
            })?;
            column(group.create_dataset("action_log_probs"), make_f32_type(), bytes);
        }
        if let Some((nq, nv)) = state {
            let qpos = gather(nq, &|_, infos, numbers| infos.qpos.iter().for_each(|qpos| numbers.extend(qpos)))?;
            matrix(group.create_dataset("qpos"), qpos, nq);
            let qvel = gather(nv, &|_, infos, numbers| infos.qvel.iter().for_each(|qvel| numbers.extend(qvel)))?;
            matrix(group.create_dataset("qvel"), qvel, nv);
        }
        builder.add_group(group.finish());
    }
    write_metadata(about, target, &mut builder)?;
    for (name, value) in about::attributes(about) {
        builder.set_attr(name, value);
    }
    hdf5::finish(builder, file, target)
}

/// Numbers as they are stored, and whether all fit into single precision.
struct Numbers {
    bytes: Vec<u8>,
    finite: bool,
}

impl Numbers {
    fn push(&mut self, number: f32) {
        self.finite &= number.is_finite();
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn extend(&mut self, numbers: &[f64]) {
        numbers.iter().for_each(|&number| self.push(number as f32));
    }
}

/// D4RL's own keys, where we know them.
fn write_metadata(dataset: &Dataset, target: &Path, builder: &mut FileBuilder) -> Result<(), DatasetError> {
    let algorithm = dataset.metadata.get("algorithm_name").and_then(|name| name.as_str());
    let algorithm = algorithm.filter(|name| name.is_ascii() && !name.is_empty());
    let iteration = dataset.metadata.get("iteration").and_then(|number| number.as_i64());
    let iteration = iteration.and_then(|number| i32::try_from(number).ok());
    if algorithm.is_none() && iteration.is_none() {
        return Ok(());
    }
    let mut group = builder.create_group("metadata");
    if let Some(algorithm) = algorithm {
        let array = group.create_dataset("algorithm").with_ascii_strings(&[algorithm]);
        array.map_err(|source| hdf5::writing(target, source.into()))?.with_shape(&[]);
    }
    if let Some(iteration) = iteration {
        group.create_dataset("iteration").with_i32_data(&[iteration]).with_shape(&[]);
    }
    builder.add_group(group.finish());
    Ok(())
}
