//! `metadata.json`: the description of a Minari dataset.

use super::layout::{ActionLayout, Layout};
use crate::error::DatasetError;
use crate::loaded::LoadOptions;
use crate::report::{Check, Report, Strictness};
use crate::trajectory::Dataset;
use aaren_envs::{Dtype, Space};
use serde_json::{Map, Value};
use std::{borrow::Cow, path::Path};

/// The versions that the official library, 0.5.4, accepts.
pub(crate) const SUPPORTED_VERSIONS: [&str; 9] =
    ["0.4.0", "0.4.1", "0.4.2", "0.4.3", "0.5.0", "0.5.1", "0.5.2", "0.5.3", "0.5.4"];

/// The version that is written.
pub(crate) const WRITTEN_VERSION: &str = "0.5.4";

const OBSERVATIONS: &str = "observation_space";
const ACTIONS: &str = "action_space";

/// Begins the keys of metadata that hold the spaces of a recording before they were flattened, as Minari writes them.
pub(crate) const RECORDED: &str = "recorded_";

/// How many episodes and steps `metadata.json` says there are.
pub(super) struct Totals {
    pub(super) episodes: u64,
    pub(super) steps: u64,
}

/// How the numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Storage {
    /// One HDF5 file.
    Hdf5,
    /// A folder an episode, with files of Arrow's IPC format.
    Arrow,
    /// The same with Parquet files.
    Parquet,
}

impl Storage {
    fn of(path: &Path, name: &str) -> Result<Self, DatasetError> {
        match name {
            "hdf5" => Ok(Storage::Hdf5),
            "arrow" if cfg!(feature = "arrow") => Ok(Storage::Arrow),
            "parquet" if cfg!(feature = "arrow") => Ok(Storage::Parquet),
            "arrow" | "parquet" => Err(DatasetError::invalid(
                path,
                format!("data_format is {name}, which this build does not read; build it with `--features arrow`"),
            )),
            _ => {
                Err(DatasetError::invalid(path, format!("data_format {name} is not supported, expected hdf5, arrow or parquet")))
            }
        }
    }
}

/// What observations and actions are recorded as.
pub(super) struct Spaces {
    pub(super) observations: Layout,
    pub(super) actions: Layout,
    pub(super) action_layout: ActionLayout,
}

/// What `metadata.json` says.
pub(super) struct Description {
    /// The dataset without its trajectories.
    pub(super) dataset: Dataset,
    pub(super) totals: Totals,
    pub(super) storage: Storage,
    pub(super) spaces: Spaces,
}

/// Reads and checks `metadata.json`.
pub(super) fn read(path: &Path, options: &LoadOptions, report: &mut Report) -> Result<Description, DatasetError> {
    let text = aaren_envs::read_text(path)
        .map_err(|source| DatasetError::io(path, "cannot be read, and every Minari dataset has one", source))?;
    let value = parse(&text).map_err(|source| json_error(path, "metadata.json", source))?;
    let Value::Object(mut keys) = value else {
        return Err(metadata_error(path, "metadata.json", Some(&value), "an object"));
    };
    let storage = Storage::of(path, &take_text(path, &mut keys, "data_format")?)?;
    let version = take_text(path, &mut keys, "minari_version")?;
    check_version(&version, options.strictness, report);
    let id = take_text(path, &mut keys, "dataset_id")?;
    let mut count = |key| {
        let value = keys.shift_remove(key);
        value.as_ref().and_then(Value::as_u64).ok_or_else(|| metadata_error(path, key, value.as_ref(), "a count"))
    };
    let totals = Totals { episodes: count("total_episodes")?, steps: count("total_steps")? };
    let mut take_layout = |key: &str| {
        let text = take_text(path, &mut keys, key)?;
        let layout = layout(path, key, &text)?;
        // Once they are flattened, a copy of the dataset still says what its numbers mean.
        if !layout.is_plain() || key == OBSERVATIONS && matches!(layout, Layout::Discrete { .. }) {
            keys.insert(format!("{RECORDED}{key}"), text.into());
        }
        Ok(layout)
    };
    let (observations, actions) = (take_layout(OBSERVATIONS)?, take_layout(ACTIONS)?);
    let (action_layout, action_space) =
        ActionLayout::of(&actions).map_err(|problem| DatasetError::invalid(path, format!("{ACTIONS} {problem}")))?;
    let observation_space = observations.flat();
    let spaces = Spaces { observations, actions, action_layout };

    // Without an env_spec a dataset can be trained on, though not evaluated; so one that cannot be read is no reason to refuse.
    let mut env_id = None;
    let mut max_episode_steps = None;
    if let Some(value) = keys.get("env_spec") {
        match value.as_str().and_then(|text| parse(text).ok()) {
            Some(spec) if spec["id"].is_string() => {
                env_id = spec["id"].as_str().map(String::from);
                let wrappers = spec["additional_wrappers"].as_array().into_iter().flatten();
                let limits = wrappers.map(|wrapper| &wrapper["kwargs"]["max_episode_steps"]).chain([&spec["max_episode_steps"]]);
                max_episode_steps = limits.filter_map(Value::as_u64).min().and_then(|steps| usize::try_from(steps).ok());
            }
            _ => report.warn(Check::Metadata, 1, "env_spec is not the JSON of an environment: the task is unknown".into()),
        }
    }
    let low = keys.get("ref_min_score").and_then(Value::as_f64);
    let high = keys.get("ref_max_score").and_then(Value::as_f64);
    let reference_scores = match (low, high) {
        (Some(low), Some(high)) if low < high => {
            keys.shift_remove("ref_min_score");
            keys.shift_remove("ref_max_score");
            Some((low, high))
        }
        _ => None,
    };
    // Both describe the file, not the data, and a writer computes them anew.
    keys.shift_remove("dataset_size");
    keys.shift_remove("jpeg_encoding");
    let (metadata, trajectories) = (keys, Vec::new());
    let dataset =
        Dataset { id, env_id, observation_space, action_space, max_episode_steps, reference_scores, metadata, trajectories };
    Ok(Description { dataset, totals, storage, spaces })
}

/// A version that nobody has tried may well be read: all that depends on it is checked.
fn check_version(found: &str, strictness: Strictness, report: &mut Report) {
    if !SUPPORTED_VERSIONS.contains(&found) {
        let text = format!("minari_version {found} has not been tried; those that have: {}", SUPPORTED_VERSIONS.join(", "));
        report.suspect(strictness, Check::Version, 1, text);
    }
}

fn take_text(path: &Path, keys: &mut Map<String, Value>, key: &str) -> Result<String, DatasetError> {
    match keys.shift_remove(key) {
        Some(Value::String(text)) => Ok(text),
        other => Err(metadata_error(path, key, other.as_ref(), "a string")),
    }
}

/// Reads a space from the text under a key.
fn layout(path: &Path, key: &str, text: &str) -> Result<Layout, DatasetError> {
    let value = parse(text).map_err(|source| json_error(path, key, source))?;
    Layout::parse(&value).map_err(|wrong| {
        let found = Some(&wrong.found).filter(|found| !found.is_null());
        metadata_error(path, &format!("{key}.{}", wrong.part), found, &wrong.expected)
    })
}

/// Reads a space of numbers or of one choice from the text under a key.
pub(crate) fn space(path: &Path, key: &str, text: &str) -> Result<Space, DatasetError> {
    match layout(path, key, text)? {
        Layout::Discrete { n, start } => Ok(Space::Discrete { n, start }),
        plain if plain.is_plain() => Ok(plain.flat()),
        _ => Err(metadata_error(path, key, Some(&text.into()), "numbers in one dimension, or one choice")),
    }
}

/// A space as the official library writes it, with the bare tokens `Infinity` and `-Infinity`.
pub(crate) fn space_json(space: &Space) -> String {
    match space {
        Space::Discrete { n, start } => {
            format!(r#"{{"type": "Discrete", "dtype": "int64", "start": {start}, "n": {n}}}"#)
        }
        Space::Box { low, high, dtype } => {
            let list = |bounds: &[f64]| {
                let bounds: Vec<String> = bounds.iter().map(|&bound| bound_json(bound, *dtype)).collect();
                bounds.join(", ")
            };
            let (shape, low, high) = (low.len(), list(low), list(high));
            let dtype = serde_json::json!(dtype);
            format!(r#"{{"type": "Box", "dtype": {dtype}, "shape": [{shape}], "low": [{low}], "high": [{high}]}}"#)
        }
    }
}

fn bound_json(bound: f64, dtype: Dtype) -> String {
    match bound {
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        integer if dtype == Dtype::Int64 => format!("{integer:.0}"),
        number => format!("{number:?}"),
    }
}

/// Parses JSON as Python writes it: the bare tokens `Infinity`, `-Infinity` and `NaN` become strings of that name.
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&quote_tokens(text))
}

fn quote_tokens(text: &str) -> Cow<'_, str> {
    const TOKENS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !TOKENS.iter().any(|token| text.contains(token)) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + 64);
    let mut rest = text;
    let mut in_string = false;
    while let Some(next) = rest.chars().next() {
        let token = TOKENS.iter().find(|&&token| !in_string && rest.starts_with(token));
        let taken = match (token, next) {
            (Some(token), _) => {
                quoted.push('"');
                quoted.push_str(token);
                quoted.push('"');
                rest = &rest[token.len()..];
                continue;
            }
            // An escaped character, so that \" does not end the string.
            (None, '\\') if in_string => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, next) => {
                in_string ^= next == '"';
                next.len_utf8()
            }
        };
        quoted.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Cow::Owned(quoted)
}

fn json_error(path: &Path, key: &str, source: serde_json::Error) -> DatasetError {
    DatasetError::Json { path: path.into(), key: key.into(), source }
}

fn metadata_error(path: &Path, key: &str, found: Option<&Value>, expected: &str) -> DatasetError {
    let found = found.map_or("nothing (the key is missing)".into(), |value| {
        let text = value.to_string();
        if text.chars().count() > 80 { text.chars().take(77).chain("...".chars()).collect() } else { text }
    });
    DatasetError::Metadata { path: path.into(), key: key.into(), found, expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minari::layout::bound;

    #[test]
    fn bare_tokens_are_read_outside_of_strings_only() {
        let value = parse(r#"{"low": [-Infinity, 1.5], "high": [Infinity, NaN], "note": "a \"NaN\" and -Infinity \\"}"#).unwrap();
        assert_eq!(bound(&value["low"][0]), Some(f64::NEG_INFINITY));
        assert_eq!(bound(&value["low"][1]), Some(1.5));
        assert_eq!(bound(&value["high"][0]), Some(f64::INFINITY));
        assert_eq!(bound(&value["high"][1]), None, "a bound cannot be NaN");
        assert_eq!(value["note"], "a \"NaN\" and -Infinity \\");
    }

    #[test]
    fn spaces_survive_writing_and_reading() {
        let spaces = [
            Space::Box { low: vec![f64::NEG_INFINITY, -2.5], high: vec![1e300, f64::INFINITY], dtype: Dtype::Float64 },
            Space::Box { low: vec![-3.0], high: vec![7.0], dtype: Dtype::Int64 },
            Space::Discrete { n: 5, start: -2 },
        ];
        for space in spaces {
            assert_eq!(super::space(Path::new("x"), "space", &space_json(&space)).unwrap(), space);
        }
    }
}
