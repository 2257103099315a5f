//! `aaren convert`: a run's trained weights in a policy with another mixer, as a run of its own to evaluate and to go on with.

use crate::config::{Changes, Job};
use crate::device::{CPU, Graph};
use crate::offline::learner::Learner;
use crate::run::interrupt::Whole;
use crate::run::{CONVERTED, RunDir};
use aaren_policy::{DecisionPolicy, Description, checkpoint, transfer::transfer_weights};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// Where a converted run comes from, `converted.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Conversion {
    /// The new run.
    #[serde(skip)]
    pub to: PathBuf,
    /// The run that was converted.
    pub run: PathBuf,
    /// Optimizer steps behind its weights.
    pub checkpoint_step: u64,
    /// Its mixer.
    pub mixer: String,
    /// The new mixer.
    pub converted_to: String,
    /// Parameters that were carried over.
    pub carried: Vec<String>,
    /// Buffers that were drawn, from the job's seed.
    pub drawn: Vec<String>,
}

/// Makes the run folder `to` of the checkpoint of a run: its job with the mixer in place of its own and `overrides` laid over it, and a
/// checkpoint of step 0 with its weights and a fresh optimizer.
///
/// ```
/// use aaren_agents::{config::OfflineJob, offline::{convert, train, trajectories}, run::RunDir};
///
/// let settings = ["env.options.corridor=3", "data.scripted.episodes=5", "train.steps=2", "evaluation.final_episodes=2", "policy.mixer=transformer"];
/// let job = OfflineJob::quickstart(&settings.map(String::from))?;
/// let folder = std::env::temp_dir().join(format!("aaren-convert-{}", std::process::id()));
/// let run = RunDir::create(&folder, &job, 1)?;
/// train(&job, trajectories(&job)?, &run, false)?;
/// let (step, checkpoint) = run.latest_checkpoint()?.unwrap();
/// let conversion = convert(&run, (step, &checkpoint), "performer", &[], &folder.join("performer"))?;
/// assert!(conversion.drawn.iter().all(|name| name.contains("features")), "{:?}", conversion.drawn);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// A run that learned online, a job that is wrong with the mixer, parameters that do not match, or a folder that cannot be written.
pub fn convert(from: &RunDir, (step, folder): (u64, &Path), mixer: &str, overrides: &[String], to: &Path) -> Result<Conversion> {
    let Job::Offline(before) = from.job(&Changes::default())? else {
        bail!(
            "the run {} did not learn from trajectories; only a policy that is trained on trajectories can be converted",
            from.path().display()
        );
    };
    // Options belong to mixers that are used, and a list of mixers takes the place of one.
    let settings = ["policy.mixers=[]".into(), "policy.options={}".into(), format!("policy.mixer={mixer}")];
    let job = from.job(&[&settings, overrides].concat()[..].into())?.offline()?;
    RunDir::check_free(to)?;

    let DecisionPolicy { network: old, description: stored } = checkpoint::load::<Graph>(folder, &CPU)?;
    let description = Description { config: job.policy.clone(), ..stored };
    let learner = Learner::<Graph>::new(description, &job.train, job.seed)?;
    let (learner, carried) = learner
        .map_network(|network| transfer_weights(&old, network))
        .with_context(|| format!("{} cannot become a \"{}\"", folder.display(), job.policy.mixer_name()))?;

    // The job comes last: what a kill leaves before that is no run, and the same command makes it anew.
    let _whole = Whole::new();
    let run = RunDir::claim(to, job.train.keep_checkpoints)?;
    let conversion = Conversion {
        to: to.to_path_buf(),
        run: from.path().to_path_buf(),
        checkpoint_step: step,
        mixer: before.policy.mixer_name(),
        converted_to: job.policy.mixer_name(),
        carried: carried.transferred,
        drawn: carried.drawn,
    };
    let made = run.checkpoint(0, |folder| learner.save(folder)).and_then(|_| run.write_json(CONVERTED, &conversion));
    match made.and_then(|()| run.begin(&job)) {
        Ok(()) => Ok(conversion),
        Err(error) => Err(run.abandon(error)),
    }
}

/// What was done, and what can be done next.
impl Display for Conversion {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { to, run, checkpoint_step, mixer, converted_to, carried, drawn } = self;
        let drawn = match drawn.len() {
            0 => String::new(),
            number => format!(", {number} drawn ({})", drawn.join(", ")),
        };
        let to = to.display();
        write!(
            f,
            "{mixer} to {converted_to}: {} tensors of {}, step {checkpoint_step}, carried over{drawn}\nrun folder: {to}\n\
             `aaren evaluate {to}` plays it as it is, `aaren train --resume --run {to} --set train.steps=N` trains it for N steps",
            carried.len(),
            run.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::OfflineJob, device::Cpu, offline::data};
    use burn_store::ModuleSnapshot;
    use std::collections::BTreeMap;

    const SMALL: [&str; 9] = [
        "policy.mixer=transformer",
        "env.options.corridor=3",
        "data.scripted.episodes=5",
        "policy.width=8",
        "policy.feed_forward=8",
        "train.batch_size=2",
        "train.warmup_steps=0",
        "evaluation.every=0",
        "evaluation.final_episodes=2",
    ];

    /// A run with a checkpoint of step 7, and its folder.
    fn trained(folder: &Path) -> (RunDir, PathBuf) {
        let job = OfflineJob::quickstart(&SMALL.map(String::from)).unwrap();
        let run = RunDir::create(&folder.join("old"), &job, 2).unwrap();
        let description = crate::offline::describe(&job.env, &job.policy, &data::trajectories(&job).unwrap()).unwrap();
        let learner = Learner::<Graph>::new(description, &job.train, 5).unwrap();
        let checkpoint = run.checkpoint(7, |folder| learner.save(folder)).unwrap();
        (run, checkpoint)
    }

    /// Every tensor of a checkpoint by name, whatever its mixers are called.
    fn tensors(folder: &Path) -> BTreeMap<String, Vec<f32>> {
        let policy = checkpoint::load::<Cpu>(folder, &CPU).unwrap();
        let snapshots = policy.network.collect(None, None, true);
        snapshots.iter().map(|one| (one.full_path(), one.to_data().unwrap().to_vec().unwrap())).collect()
    }

    #[test]
    fn a_converted_run_can_be_evaluated_and_goes_on_from_the_weights_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let (old, checkpoint) = trained(folder.path());
        let to = folder.path().join("new");
        let overrides = ["policy.options.performer.rows=16", "train.learning_rate=1e-10", "train.steps=1"].map(String::from);
        let conversion = convert(&old, (7, &checkpoint), "performer", &overrides, &to).unwrap();
        assert_eq!((conversion.checkpoint_step, &*conversion.mixer, &*conversion.converted_to), (7, "transformer", "performer"));
        assert_eq!(conversion.drawn.len(), 2, "{:?}", conversion.drawn);

        let mut run = RunDir::resume(&to).unwrap();
        let job = run.job(&Changes::default()).unwrap().offline().unwrap();
        assert_eq!((&*job.policy.mixer, job.policy.options.performer.rows), ("performer", 16));
        let (step, converted) = run.latest_checkpoint().unwrap().unwrap();
        assert_eq!(step, 0);
        let (before, after) = (tensors(&checkpoint), tensors(&converted));
        assert!(before.iter().all(|(name, values)| after[name] == *values));
        assert_eq!(after.len(), before.len() + 2);

        // One step so small that only where it began shows.
        run.update_job(&Job::Offline(job.clone())).unwrap();
        crate::offline::train::train(&job, data::trajectories(&job).unwrap(), &run, true).unwrap();
        let (step, trained) = run.latest_checkpoint().unwrap().unwrap();
        assert_eq!(step, 1);
        let trained = tensors(&trained);
        for (name, values) in &after {
            assert!(values.iter().zip(&trained[name]).all(|(a, b)| (a - b).abs() < 1e-8 + 1e-6 * a.abs()), "{name}");
        }
        assert!(after.iter().any(|(name, values)| trained[name] != *values), "nothing was trained");
    }

    #[test]
    fn what_cannot_be_converted_is_said_and_leaves_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (old, checkpoint) = trained(folder.path());
        let to = folder.path().join("new");
        let message = |mixer: &str, overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            format!("{:#}", convert(&old, (7, &checkpoint), mixer, &overrides, &to).unwrap_err())
        };
        assert!(message("lstm", &[]).contains("backbone.blocks.0.mixer.query.weight"));
        assert!(message("performr", &[]).contains("did you mean \"performer\""));
        assert!(message("performer", &["policy.width=16"]).contains("of another shape"));
        assert!(!to.exists());
    }
}
