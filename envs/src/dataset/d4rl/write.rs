//! Writing D4RL files: single precision, gzip level 4, `next_observations` where every trajectory has its last one.

use super::about;
use crate::dataset::{Actions, Dataset, DatasetError, Format, Trajectory, hdf5};
use hdf5_pure::{EnumTypeBuilder, FileBuilder, make_i8_type};
use std::path::Path;

/// D4RL's own level.
const GZIP_LEVEL: u32 = 4;

/// Numbers in a chunk, about 256 KiB: between random access and overhead.
const CHUNK: usize = hdf5::LONGEST_CHUNK as usize;

/// Writes a checked dataset into a new file. `target` is the path in messages.
pub(crate) fn write(dataset: &Dataset, file: &Path, target: &Path) -> Result<(), DatasetError> {
    let unsupported =
        |problem: &str| DatasetError::Unsupported { path: target.into(), format: Format::D4rl, problem: problem.into() };
    if dataset.action_space.is_discrete() {
        return Err(unsupported("it has no discrete actions; save as Minari"));
    }
    let width = dataset.observation_space.width();
    let trajectories = &dataset.trajectories;
    let rows: usize = trajectories.iter().map(Trajectory::len).sum();
    let narrow = |numbers: &mut dyn Iterator<Item = f64>| -> Result<Vec<f32>, DatasetError> {
        let narrow: Vec<f32> = numbers.map(|number| number as f32).collect();
        if narrow.iter().all(|number| number.is_finite()) {
            return Ok(narrow);
        }
        Err(unsupported("its numbers are single precision, and some of these are too large; save as Minari"))
    };

    let mut builder = FileBuilder::new();
    let matrix = |builder: &mut FileBuilder, name: &str, numbers: &[f32], width: usize| {
        let chunk = (CHUNK / width).clamp(1, rows) as u64;
        let array = builder.create_dataset(name).with_f32_data(numbers);
        array.with_shape(&[rows as u64, width as u64]).with_chunks(&[chunk, width as u64]);
        array.with_deflate(GZIP_LEVEL);
    };
    let shown = trajectories.iter().flat_map(|trajectory| &trajectory.observations[..trajectory.len() * width]);
    matrix(&mut builder, "observations", &narrow(&mut shown.copied())?, width);
    if trajectories.iter().all(|trajectory| trajectory.observations.len() == (trajectory.len() + 1) * width) {
        let next = trajectories.iter().flat_map(|trajectory| &trajectory.observations[width..]);
        matrix(&mut builder, "next_observations", &narrow(&mut next.copied())?, width);
    }
    let actions: Vec<f32> = trajectories
        .iter()
        .flat_map(|trajectory| match &trajectory.actions {
            Actions::Continuous(actions) => actions.as_slice(),
            Actions::Discrete(_) => &[], // refused above
        })
        .copied()
        .collect();
    matrix(&mut builder, "actions", &actions, dataset.action_space.width());

    let chunk = [CHUNK.clamp(1, rows) as u64];
    let rewards = narrow(&mut trajectories.iter().flat_map(|trajectory| &trajectory.rewards).copied())?;
    builder.create_dataset("rewards").with_f32_data(&rewards).with_chunks(&chunk).with_deflate(GZIP_LEVEL);
    let boolean = EnumTypeBuilder::with_base(make_i8_type()).value("FALSE", 0).value("TRUE", 1).build();
    let boolean = boolean.map_err(|source| hdf5::writing(target, source.into()))?;
    for (name, terminals) in [("terminals", true), ("timeouts", false)] {
        let mut flags = Vec::with_capacity(rows);
        for trajectory in trajectories {
            // Without any flag the episode would run into the next one.
            let timeout = trajectory.end.truncated || !trajectory.end.terminated;
            flags.resize(flags.len() + trajectory.len() - 1, 0u8);
            flags.push(u8::from(if terminals { trajectory.end.terminated } else { timeout }));
        }
        let array = builder.create_dataset(name).with_enum_u8_data(boolean.clone(), &flags);
        array.with_chunks(&chunk).with_deflate(GZIP_LEVEL);
    }
    write_metadata(dataset, target, &mut builder)?;
    for (name, value) in about::attributes(dataset) {
        builder.set_attr(name, value);
    }
    hdf5::finish(builder, file, target)
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
