//! Behaviour policies that a collection trains itself, with PPO, and the episodes that the training saw.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use aaren_data::{Episode, StepInfos, Trajectory};
use aaren_envs::Spec;
use aaren_policy::{ActorCriticPolicy, AnyPolicy, checkpoint};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::folder::Folder;
use super::journal::Journal;
use super::policies;
use super::policies::{FoundPolicy, PolicyLevel, Provenance, evaluation_of, find, medium_return, versions};
use crate::config::{Changes, CollectJob, Job, Part, PpoJob};
use crate::device::{CPU, Cpu};
use crate::ppo;
use crate::run::RunDir;
use crate::run::report::{EvaluationReport, number};
use crate::session::Observer;

/// In the output folder: the run that trained the behaviour policies, and these policies.
const RUN: &str = "run";
const POLICIES: &str = "policies";

/// The job that trains, checked against the collection's task.
///
/// # Errors
/// If it cannot be read, does not learn online, never evaluates, or is of another task.
pub(crate) fn check(job: &CollectJob) -> Result<PpoJob> {
    let trained = job_that_trains(job)?;
    let path = job.collect.train.as_deref().unwrap_or(Path::new(""));
    let (theirs, ours) = (&trained.env, &job.env);
    ensure!(
        theirs.id == ours.id,
        "collect.train: {} trains in {}, this collection is in {}; name the same task in both",
        path.display(),
        theirs.id,
        ours.id
    );
    ensure!(
        theirs.options == ours.options,
        "collect.train: {} trains in {} with the options {}, this collection has {}; say the same in both, or no env.options here, which then \
         are the training's",
        path.display(),
        theirs.id,
        Value::from(theirs.options.clone()),
        Value::from(ours.options.clone())
    );
    ensure!(
        trained.evaluation.every > 0,
        "collect.train: {} has evaluation.every 0; medium is the first evaluation that is good enough, so there must be some",
        path.display()
    );
    medium_return(&job.env, job.collect.fraction).context("collect.train")?;
    Ok(trained)
}

/// The job that trains, as its file says it.
pub(super) fn job_that_trains(job: &CollectJob) -> Result<PpoJob> {
    let path = job.collect.train.as_deref().context("collect.train is missing")?;
    match Job::load(&[path.into()], &Changes::default()).context("collect.train")? {
        Job::Ppo(trained) => Ok(trained),
        _ => bail!("collect.train: {} has no key \"ppo\": it does not learn online", path.display()),
    }
}

/// Trains, or resumes a training, until the policies that the job's parts need are there; gives them.
///
/// # Errors
/// Those of the training; or if it ends before it has reached medium.
pub(crate) fn trained_policies(job: &CollectJob, spec: &Spec, folder: &Folder) -> Result<Vec<(Part, FoundPolicy)>> {
    let trained = check(job)?;
    let parts = job.collect.dataset.parts();
    let is_replay = parts.contains(&Part::Replay);
    let needed: Vec<Part> = if is_replay { vec![Part::Medium] } else { parts.to_vec() };
    let place = |part: Part| folder.output.join(POLICIES).join(part.name());
    let mut journal = is_replay.then(|| Journal::open(&folder.journal.join("replay.episodes"))).transpose()?;
    if needed.iter().any(|&part| !place(part).is_dir()) {
        train(job, &trained, folder, &needed, &place, journal.as_mut())?;
    }
    if let Some(journal) = &mut journal {
        journal.sync()?;
    }
    needed.into_iter().map(|part| Ok((part, find(&place(part), PolicyLevel::Best, spec)?))).collect()
}

fn train(
    job: &CollectJob,
    trained: &PpoJob,
    folder: &Folder,
    needed: &[Part],
    place: &dyn Fn(Part) -> PathBuf,
    journal: Option<&mut Journal>,
) -> Result<()> {
    let path = folder.output.join(RUN);
    let resumes = path.join("config.json").is_file();
    let run = if resumes {
        let mut run = RunDir::resume(&path)?;
        run.update_job(&Job::Ppo(trained.clone()))?;
        run
    } else {
        RunDir::create(&path, trained, trained.ppo.keep_checkpoints)?
    };
    let medium_return = medium_return(&job.env, job.collect.fraction)?;
    let mut watcher = Watcher {
        trained,
        journal,
        medium: needed.contains(&Part::Medium).then(|| place(Part::Medium)),
        medium_return,
        stops_at_medium: !needed.contains(&Part::Expert),
    };
    // A kill may have come between an evaluation and what was to be done about it.
    let mut is_over = false;
    if let Some((step, checkpoint)) = run.latest_checkpoint()?
        && let Some(evaluated) = evaluation_of(&run, step)?
        && let AnyPolicy::ActorCritic(policy) = checkpoint::load_any::<Cpu>(&checkpoint, &CPU)?
    {
        is_over = watcher.judge(step, &policy, evaluated.return_mean, evaluated.normalised_score)?.is_break();
    }
    if !is_over {
        ppo::train(trained, &run, resumes, &mut watcher)?;
    }
    if needed.contains(&Part::Medium) {
        let best = run.best()?.map_or("none".into(), |(step, best)| format!("{} at step {step}", number(best)));
        ensure!(
            place(Part::Medium).is_dir(),
            "the training ended before an evaluation reached {}, which collect.fraction {} makes of the references of {}; the best \
             was {best}: train for longer, or ask for a smaller fraction",
            number(medium_return),
            job.collect.fraction,
            job.env.id
        );
    }
    if needed.contains(&Part::Expert) {
        let (step, _) = run.best()?.context("the training ended without an evaluation")?;
        let policy = checkpoint::load_any::<Cpu>(&run.checkpoint_at(step)?, &CPU)?;
        let AnyPolicy::ActorCritic(policy) = policy else { unreachable!("PPO trains actor-critics") };
        let evaluated = evaluation_of(&run, step)?.context("the best checkpoint's evaluation is not in the log")?;
        let provenance = provenance(trained, step, evaluated.return_mean, evaluated.normalised_score)?;
        policies::keep(&policy, &provenance, &place(Part::Expert))?;
    }
    Ok(())
}

fn provenance(trained: &PpoJob, step: u64, return_mean: f64, score: Option<f64>) -> Result<Provenance> {
    Ok(Provenance {
        algorithm: Some("PPO".into()),
        env_steps: Some(step),
        optimizer_steps: None,
        return_mean: Some(return_mean),
        normalised_score: score,
        job: Some(serde_json::to_value(trained)?),
        versions: versions(),
    })
}

/// Takes from a training what the collection needs.
struct Watcher<'a> {
    trained: &'a PpoJob,
    /// Gets the episodes, where they are wanted.
    journal: Option<&'a mut Journal>,
    /// Where the medium policy goes, where it is wanted.
    medium: Option<PathBuf>,
    medium_return: f64,
    stops_at_medium: bool,
}

impl Watcher<'_> {
    /// Keeps the first policy that is medium.
    fn judge(
        &mut self,
        step: u64,
        policy: &ActorCriticPolicy<Cpu>,
        return_mean: f64,
        score: Option<f64>,
    ) -> Result<ControlFlow<()>> {
        let Some(medium) = &self.medium else { return Ok(ControlFlow::Continue(())) };
        if !medium.is_dir() && return_mean >= self.medium_return {
            // Episodes are on disk before what says that they are all.
            if let Some(journal) = &mut self.journal {
                journal.sync()?;
            }
            policies::keep(policy, &provenance(self.trained, step, return_mean, score)?, medium)?;
        }
        Ok(if self.stops_at_medium && medium.is_dir() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

impl Observer for Watcher<'_> {
    fn begins(&mut self, env_steps: u64) -> Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.drop_after(env_steps))
    }

    fn wants_episodes(&self) -> bool {
        self.journal.is_some()
    }

    fn episode(&mut self, env_steps: u64, trajectory: Trajectory) -> Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let number = journal.records().len() as u64;
        journal.append(number, env_steps, &Episode { trajectory, infos: StepInfos::default() }, false)
    }

    fn evaluated(&mut self, env_steps: u64, policy: &AnyPolicy<Cpu>, report: &EvaluationReport) -> Result<ControlFlow<()>> {
        let AnyPolicy::ActorCritic(policy) = policy else { unreachable!("PPO trains actor-critics") };
        let target = report.targets.first().context("an evaluation without a result")?;
        self.judge(env_steps, policy, target.return_mean, target.normalised_score)
    }
}
