//! A run that begins with the weights of a policy.

use super::describe::{describe, settle};
use super::held_out::hold_out;
use super::learner::Learner;
use crate::config::{OfflineJob, caution};
use crate::device::{CPU, Graph};
use crate::play::saved::SavedPolicy;
use crate::run::RunDir;
use crate::run::report::number;
use aaren_data::Dataset;
use aaren_policy::transfer::transfer_weights;
use aaren_policy::{Description, checkpoint};
use anyhow::{Context, Result, ensure};
use std::borrow::Cow;

/// Gives a run that has not begun a checkpoint of step 0 with the weights of a policy, and the normalization that they know, from which
/// [`train`](super::train()) goes on with `resume`.
///
/// # Errors
/// Names the parameters that do not fit, or the file that cannot be written.
pub fn begin_from(job: &OfflineJob, dataset: &Dataset, from: &SavedPolicy, run: &RunDir) -> Result<()> {
    let context = || format!("this job cannot begin with the policy {}", from.folder.display());
    let policy = checkpoint::load::<Graph>(&from.folder, &CPU).with_context(context)?;
    let job = &settle(job, dataset);
    let trained = match job.validation() > 0.0 {
        true => Cow::Owned(hold_out(job, dataset.clone())?.0),
        false => Cow::Borrowed(dataset),
    };
    let (own, normalizer) = (describe(&job.env, &job.policy, &trained)?, policy.description.normalizer);
    let (found, expected) = (normalizer.width(), own.normalizer.width());
    ensure!(found == expected, "{} is told {found} numbers, the job's task shows {expected}", from.folder.display());
    let (found, expected) = (policy.description.config.tokens, own.config.tokens);
    ensure!(
        found == expected,
        "policy.tokens: the policy {} was trained with {found:?}, the job has {expected:?}; the weights would mean something else",
        from.folder.display()
    );
    let (found, expected) = (policy.description.config.return_scale, own.config.return_scale);
    if own.config.tokens.has_return_to_go() && found != expected {
        let said = |scale: Option<f64>| scale.map_or("none".into(), number);
        let odd = format!(
            "policy.return_scale: the policy {} divides returns by {}, the job by {}; set it to the policy's to ask it for returns as before",
            from.folder.display(),
            said(found),
            said(expected)
        );
        caution(&[odd], job.strict)?;
    }
    let description = Description { normalizer, ..own };
    let learner = Learner::<Graph>::new(description, &job.train, job.seed)?;
    let (learner, _) = learner.map_network(|network| transfer_weights(&policy.network, network)).with_context(context)?;
    run.checkpoint(0, |folder| learner.save(folder))?;
    Ok(())
}
