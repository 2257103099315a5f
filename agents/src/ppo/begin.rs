//! A run that begins with the weights of a policy.

use super::training::Training;
use crate::config::PpoJob;
use crate::device::{CPU, Graph};
use crate::exchange::Ranks;
use crate::play::saved::SavedPolicy;
use crate::run::RunDir;
use crate::session::Trained as _;
use aaren_policy::checkpoint;
use anyhow::{Context, Result};

/// Gives a run that has not begun a checkpoint of step 0 with the weights of a policy, from which [`train`](super::train()) goes on with `resume`.
///
/// # Errors
/// Names the parameters that do not fit, or the file that cannot be written.
pub fn begin_from(job: &PpoJob, from: &SavedPolicy, run: &RunDir) -> Result<()> {
    let policy = checkpoint::load_any::<Graph>(&from.folder, &CPU)?;
    let context = || format!("this job cannot begin with the policy {}", from.folder.display());
    let mut training = Training::with(job, false, &Ranks::alone(), |learner| learner.begin_from(policy)).with_context(context)?;
    let share = training.share()?;
    run.checkpoint(0, |folder| training.save(folder, &[share]))?;
    Ok(())
}
