//! Whether a run is at its end.

use std::path::Path;

use aaren_envs::read_text;
use anyhow::Result;
use serde_json::Value;

use crate::config::Job;
use crate::run::RunDir;
use crate::session::ends_early;

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
