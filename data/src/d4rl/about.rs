//! The description of a D4RL file: from its own attributes where we wrote it, else from its name.

use super::task;
use crate::error::DatasetError;
use crate::hdf5::Node;
use crate::minari::metadata;
use crate::report::{Check, Report};
use crate::score;
use crate::statistics::{ENV_OPTIONS, REFERENCES_FROM};
use crate::trajectory::Dataset;
use aaren_envs::{Dtype, Space};
use hdf5_pure::AttrValue;
use serde_json::{Map, Value};
use std::{collections::HashMap, path::Path};

// Attributes of the root group, which D4RL's own reader ignores.
const ID: &str = "dataset_id";
const ENV: &str = "env_id";
const LIMIT: &str = "max_episode_steps";
const OBSERVATIONS: &str = "observation_space";
const ACTIONS: &str = "action_space";
const LOWEST: &str = "ref_min_score";
const HIGHEST: &str = "ref_max_score";
const REST: &str = "metadata";

/// The dataset of a file whose arrays have the given widths, without its trajectories; and the source of the widths, for messages.
pub(super) fn read(
    path: &Path,
    root: &Node,
    widths: (usize, usize),
    dtype: Dtype,
    report: &mut Report,
) -> Result<(Dataset, String), DatasetError> {
    let attributes = root.attributes();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let text = |key| attributes.get(key).and_then(AttrValue::as_str);
    let mut metadata = stored_metadata(root)?;
    // Attributes of these names may be another program's.
    let mut skipped =
        |key: &str| report.warn(Check::Metadata, 1, format!("the attribute {key} is none that aaren writes: left out"));
    match text(REST).map(serde_json::from_str::<Map<String, Value>>) {
        Some(Ok(stored)) => metadata.extend(stored),
        Some(Err(_)) => skipped(REST),
        None => {}
    }
    let mut space = |key| text(key).and_then(|text| metadata::space(path, key, text).map_err(|_| skipped(key)).ok());
    let spaces = space(OBSERVATIONS).zip(space(ACTIONS));
    let mut widths_from = "the file's own attributes".to_owned();
    let mut about = Dataset {
        id: text(ID).unwrap_or(&stem).into(),
        env_id: text(ENV).map(String::from),
        observation_space: Space::uniform_box(widths.0, f64::NEG_INFINITY, f64::INFINITY, dtype),
        action_space: Space::uniform_box(widths.1, -1.0, 1.0, Dtype::Float32),
        max_episode_steps: number(&attributes, LIMIT).map(|limit| limit as usize),
        reference_scores: number(&attributes, LOWEST).zip(number(&attributes, HIGHEST)),
        metadata,
        trajectories: Vec::new(),
    };
    if let Some((observations, actions)) = spaces {
        about.observation_space = observations;
        about.action_space = actions;
    } else if let Some(task) = task::find(&stem) {
        about.observation_space = Space::uniform_box(task.observation_width, f64::NEG_INFINITY, f64::INFINITY, dtype);
        about.action_space = Space::uniform_box(task.action_width, -1.0, 1.0, Dtype::Float32);
        widths_from = format!("task {}", task.name);
        about.env_id = about.env_id.or(task.env_id.map(String::from));
        about.max_episode_steps = about.max_episode_steps.or(Some(task.max_episode_steps));
        if let (None, Some(reference)) = (about.reference_scores, score::d4rl(&task.name)) {
            about.reference_scores = Some((reference.min, reference.max));
            about.metadata.insert(REFERENCES_FROM.into(), reference.source.into());
        }
        if task.env_id.is_some() {
            about.metadata.insert(ENV_OPTIONS.into(), task.env_options.into());
        }
        about.metadata.insert("d4rl_task".into(), task.name.into());
    }
    Ok((about, widths_from))
}

/// The attributes from which [`read`] restores a dataset's description.
pub(super) fn attributes(dataset: &Dataset) -> Vec<(&'static str, AttrValue)> {
    let text = |text: String| AttrValue::String(text);
    let mut attributes = vec![
        (ID, text(dataset.id.clone())),
        (OBSERVATIONS, text(metadata::space_json(&dataset.observation_space))),
        (ACTIONS, text(metadata::space_json(&dataset.action_space))),
        (REST, text(Value::Object(dataset.metadata.clone()).to_string())),
    ];
    if let Some(env_id) = &dataset.env_id {
        attributes.push((ENV, text(env_id.clone())));
    }
    if let Some(limit) = dataset.max_episode_steps {
        attributes.push((LIMIT, AttrValue::I64(limit as i64)));
    }
    if let Some((lowest, highest)) = dataset.reference_scores {
        attributes.push((LOWEST, AttrValue::F64(lowest)));
        attributes.push((HIGHEST, AttrValue::F64(highest)));
    }
    attributes
}

fn number(attributes: &HashMap<String, AttrValue>, key: &str) -> Option<f64> {
    attributes.get(key)?.as_f64().or_else(|| attributes.get(key)?.as_i64().map(|number| number as f64))
}

/// The small parts of D4RL's `metadata` group, under the names Minari has for them. Policy weights stay in the file.
fn stored_metadata(root: &Node) -> Result<Map<String, Value>, DatasetError> {
    let mut found = Map::new();
    let Some((_, group)) = root.groups()?.into_iter().find(|(name, _)| name == "metadata") else {
        return Ok(found);
    };
    let mut arrays = group.arrays()?;
    for (key, name) in [("algorithm", "algorithm_name"), ("iteration", "iteration")] {
        let Some(array) = arrays.take_optional(key)? else { continue };
        if let Some(text) = array.text() {
            found.insert(name.into(), text.into());
        } else if let Some(&number) = array.i64s().ok().and_then(|numbers| numbers.first().copied()).as_ref() {
            found.insert(name.into(), number.into());
        }
    }
    Ok(found)
}
