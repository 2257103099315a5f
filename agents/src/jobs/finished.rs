//! Whether a run is at its end.

use std::path::Path;

use aaren_envs::read_text;
use anyhow::Result;
use serde_json::Value;

use crate::config::{Job, keys};
use crate::run::{RunDir, differing_keys, is_without_effect};
use crate::session::ends_early;

/// Keys that a training takes from its data where its job leaves them out, and then writes into its folder.
const FROM_DATA: [&str; 3] = ["policy.return_scale", "policy.return_range", "evaluation.target_returns"];

/// The keys in which the job of a run is another than one that is asked for: not those that cannot change a result, nor those that the
/// run took from its data because it was not told.
///
/// # Errors
/// If a job cannot be written as JSON.
pub fn other_keys(there: &Job, asked: &Job) -> Result<Vec<String>> {
    let (there, asked) = (serde_json::to_value(there)?, serde_json::to_value(asked)?);
    let is_open = |key: &str| match keys::get(&asked, key) {
        None | Some(Value::Null) => true,
        // A target may be a share of the best return, which is a number once the data are known.
        Some(value) => value.as_array().is_some_and(|targets| targets.is_empty() || targets.iter().any(Value::is_string)),
    };
    let matters = |key: &String| !(is_without_effect(key) || FROM_DATA.contains(&&**key) && is_open(key));
    Ok(differing_keys(&there, &asked).into_iter().filter(matters).collect())
}

/// Whether a run has made all steps of its job, or as many as early stopping let it, and has the results of these very steps.
///
/// - `job`: the run's own
///
/// # Errors
/// If the folder or the log cannot be read.
pub fn is_finished(run: &RunDir, job: &Job) -> Result<bool> {
    let (Some((steps, _)), Some((made, _))) = (job.length(), run.latest_checkpoint()?) else { return Ok(false) };
    // Results of fewer steps are from before the job was made longer.
    let best = run.best().ok().flatten().map_or(made, |(step, _)| step);
    let judged = |name: &str| step_of(&run.path().join(name));
    let has_results = run.path().join("train.json").is_file()
        && judged("evaluation.json") == Some(made)
        && judged("evaluation-best.json") == Some(best);
    if !has_results || made >= steps {
        return Ok(has_results);
    }
    job.stop().map_or(Ok(false), |stop| ends_early(run, stop))
}

/// Steps behind the weights that a report is about; none where it is damaged, for then it is to be made again.
fn step_of(report: &Path) -> Option<u64> {
    serde_json::from_str::<Value>(&read_text(report).ok()?).ok()?["checkpoint_step"].as_u64()
}
