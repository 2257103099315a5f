//! Reading a dataset in whatever format it is stored.

use crate::error::DatasetError;
use crate::format::JOURNAL;
use crate::loaded::{LoadOptions, Loaded};
use crate::provenance::own_task_differences;
use crate::report::{Check, Report};
use crate::{d4rl, minari};
use std::path::Path;

/// Reads a dataset: a D4RL file, a Minari directory (or its `data`, or the main file in it), or a Minari id such as
/// `mujoco/hopper/medium-v0`, which is looked for in [`minari::roots`]. The format is recognised by what is there.
///
/// # Errors
/// A [`DatasetError`] that names the file, the array or key, and what was expected. No input makes this panic.
pub fn load(source: &str) -> Result<Loaded, DatasetError> {
    load_with(source, &LoadOptions::default())
}

/// [`load`] with choices.
///
/// # Errors
/// As [`load`].
pub fn load_with(source: &str, options: &LoadOptions) -> Result<Loaded, DatasetError> {
    let path = Path::new(source);
    if minari::data_dir(path).is_some() {
        return minari::read(path, options);
    }
    if path.is_file() {
        return d4rl::read(path, options);
    }
    if path.join(JOURNAL).is_dir() {
        return Err(DatasetError::Unfinished { path: path.into() });
    }
    if path.exists() {
        let expected = "a Minari dataset directory (with data/metadata.json) or a D4RL file";
        return Err(DatasetError::wrong_kind(path, "a directory without a dataset", expected));
    }
    if minari::is_id(source) {
        return minari::read(&minari::find(source, &minari::roots())?, options);
    }
    Err(DatasetError::NotFound { name: source.into(), looked: vec![path.into()] })
}

/// Checks a file: reads it and reports what the loader finds, whether or not it can be used.
pub fn verify_source(source: &str, options: &LoadOptions) -> Report {
    match load_with(source, options) {
        Ok(Loaded { dataset, mut report, .. }) => {
            report.task = dataset.task();
            let differences = own_task_differences(&dataset).into_iter();
            differences.for_each(|text| report.suspect(options.strictness, Check::Task, 1, text));
            report
        }
        Err(DatasetError::Content { report, .. }) => *report,
        Err(error) => {
            let mut report = Report::default();
            report.error(Check::Structure, 1, with_causes(&error));
            report
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
