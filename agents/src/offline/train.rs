//! Learning from trajectories: the loop, from top to bottom.

use super::batch::Batches;
use super::data::expect_alike;
use super::describe::{describe, is_settled, left_to_data, settle};
use super::held_out::{Validation, hold_out};
use super::learner::{Learner, PROGRESS};
use super::segments::{SegmentSampler, Source};
use super::source::SegmentSource;
use crate::config::OfflineJob;
use crate::device::{TrainBackend, Trains, on_backend};
use crate::exchange::{Ranks, Shards, SharedRun};
use crate::play::evaluate::Evaluation;
use crate::run::RunDir;
use crate::run::data_mark::{self, DataMark, DataRecord};
use crate::run::report::{EvaluationReport, TrainSummary};
use crate::session::{Judges, NoObserver, Schedule, Session, Validate};
use aaren_data::Dataset;
use anyhow::{Context, Result};
use std::{fs, sync::Arc, time::Instant};

/// Trains a policy as the job says, in its run folder, and evaluates it.
///
/// Leaves `metrics.jsonl`, TensorBoard events, checkpoints, `train.json`, `evaluation.json` of the last checkpoint and
/// `evaluation-best.json` of the one that evaluated best: by the return in the job's task or, without one, by the loss on held-out
/// episodes. With `resume`, continues from the newest checkpoint, to the same weights
/// bit for bit that a run without a break would have reached.
///
/// ```
/// // A training that was stopped continues from its newest checkpoint, to the same weights.
/// use aaren_agents::{config::{Job, OfflineJob}, offline::{train, trajectories}, run::RunDir};
///
/// let settings = ["env.options.corridor=3", "data.scripted.episodes=5", "train.steps=2", "evaluation.final_episodes=2"];
/// let job = OfflineJob::quickstart(&settings.map(String::from))?;
/// let folder = std::env::temp_dir().join(format!("aaren-train-{}", std::process::id()));
/// let run = RunDir::create(&folder, &job, 1)?;
/// train(&job, trajectories(&job)?, &run, false)?;
/// drop(run); // it is locked while somebody writes
/// let mut run = RunDir::resume(&folder)?;
/// let longer = run.job(&["train.steps=3".to_string()][..].into())?;
/// run.update_job(&longer)?;
/// let job = longer.offline()?;
/// assert_eq!(train(&job, trajectories(&job)?, &run, true)?.0.steps, 3);
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// A loss that is not finite, a file that cannot be written, an environment that fails, or
/// [`Interrupted`](crate::run::interrupt::Interrupted) after Ctrl-C, when the run has been saved.
pub fn train(job: &OfflineJob, dataset: Dataset, run: &RunDir, resume: bool) -> Result<(TrainSummary, EvaluationReport)> {
    train_together(job, dataset, SharedRun::new(Some(run), &Ranks::alone()), resume)
}

/// The same on all ranks of a run, each with the whole dataset and some of the shards of every batch (`train.shards`). Every number of
/// ranks that divides it reaches the same weights bit for bit.
///
/// # Errors
/// As [`train`]; or a rank that has other data, has other weights, or does not come.
pub fn train_together(
    job: &OfflineJob,
    dataset: Dataset,
    run: SharedRun<'_>,
    resume: bool,
) -> Result<(TrainSummary, EvaluationReport)> {
    on_backend!(job.device, train_on(job, dataset, run, resume))
}

/// What is trained on one backend, and by what it is judged. Policies act on the CPU, whatever they are trained on.
fn train_on<B: TrainBackend>(
    job: &OfflineJob,
    dataset: Dataset,
    run: SharedRun<'_>,
    resume: bool,
) -> Result<(TrainSummary, EvaluationReport)> {
    let ranks = run.ranks();
    expect_alike(&dataset, ranks)?;
    // A run that goes on has the values that it began with, and says still which the data said.
    let begun = run.first().and_then(|run| fs::read(run.path().join(data_mark::FILE)).ok());
    let begun = begun.and_then(|text| serde_json::from_slice::<DataRecord>(&text).ok());
    let left = begun.map_or_else(|| left_to_data(job), |record| record.left);
    let record = DataRecord { left, ..DataRecord::of(&dataset) };
    let shards = ranks.shards(job.train.shards, "train.shards")?;
    let states_all = is_settled(job) && job.env.is_some();
    let job = &settle(job, &dataset);
    let (dataset, held_out) = hold_out(job, dataset)?;
    let description = describe(&job.env, &job.policy, &dataset)?;
    let new = || Learner::<B>::new(description.clone(), &job.train, job.seed).map(|new| new.of_shards(shards.clone()));
    let learner = begin(new, Some(record.mark), &run, resume)?;
    let description = learner.description().clone();
    let validation = held_out.map(|held_out| Validation::new(held_out, description.clone(), &job.train, job.seed)).transpose()?;
    let sampler = SegmentSampler::new(SegmentSource::new(dataset, description)?, &job.train, job.seed);
    sampler.check(&learner.progress.cut).with_context(|| cannot_resume(&run))?;
    // First, so that a run whose job is settled says what the data said of it.
    run.write_json(data_mark::FILE, &record)?;
    if resume || !states_all {
        // The run states what was taken from the data, and how they are called now.
        run.write_json("config.json", &OfflineJob { policy: learner.description().config.clone(), ..job.clone() })?;
    }
    fit(learner, sampler, shards, run, resume, schedule(job, validation)?)
}

/// A learner as its job makes it, or as it was when a run ended that is gone on with.
///
/// - `data`: what is trained on, where it could be other data than the run was begun with
pub(super) fn begin<B: TrainBackend, N: Trains<B>>(
    new: impl Fn() -> Result<Learner<B, N>>,
    data: Option<DataMark>,
    run: &SharedRun<'_>,
    resume: bool,
) -> Result<Learner<B, N>> {
    let resumed = if resume { run.load_newest(|folder| new()?.load(folder))? } else { None };
    let mut learner = resumed.map_or_else(new, Ok)?;
    let marks = data.zip(learner.progress.data);
    marks.map_or(Ok(()), |(data, begun_with)| data.expect(begun_with)).with_context(|| cannot_resume(run))?;
    learner.progress.data = data;
    Ok(learner)
}

/// What is said before the reason why a run cannot be gone on with.
pub(super) fn cannot_resume(run: &SharedRun<'_>) -> String {
    match run.first().map(RunDir::latest_checkpoint) {
        Some(Ok(Some((_, folder)))) => format!("cannot resume: {}", folder.join(PROGRESS).display()),
        _ => "cannot resume".into(),
    }
}

/// The loop, whatever is trained.
pub(super) fn fit<B: TrainBackend, N: Trains<B>>(
    mut learner: Learner<B, N>,
    sampler: SegmentSampler<impl Source<Rows = N::Rows>>,
    shards: Shards,
    run: SharedRun<'_>,
    resume: bool,
    schedule: Schedule,
) -> Result<(TrainSummary, EvaluationReport)> {
    let (ranks, steps, mut observer) = (run.ranks(), schedule.steps, NoObserver);
    let mut session = Session::begin(run, resume, schedule, &mut observer, &learner)?;
    let (first, cut) = (learner.progress.step, learner.progress.cut.clone());
    let batches = Batches::prepare(sampler, learner.description().clone(), shards, first, steps, cut)?;
    while session.keeps_training() {
        let started = Instant::now();
        let batch = batches.next().with_context(|| session.newest_checkpoint())?;
        learner.update_with(batch, ranks).with_context(|| session.newest_checkpoint())?;
        learner.progress.add_seconds(started.elapsed().as_secs_f64());
        session.end_step(&mut learner)?;
    }
    session.finish(&learner)
}

/// Steps are optimizer steps.
fn schedule(job: &OfflineJob, validation: Option<Validation>) -> Result<Schedule> {
    let evaluation = job.env.as_ref().map(|_| Evaluation::try_from(job)).transpose()?;
    let validation = validation.map(|validation| -> Validate {
        Arc::new(move |policy, _, report| validation.judge(policy).map(|found| report.validation = Some(found)))
    });
    Ok(Schedule {
        steps: job.train.steps,
        stride: 1,
        log_every: job.train.log_every,
        checkpoint_every: job.train.checkpoint_every,
        evaluate_every: job.evaluation.every,
        episodes: job.evaluation.episodes,
        judges: Judges { evaluation, validation, is_final: true, data: job.data.describe() },
        beside: job.evaluation.beside,
        stop: job.evaluation.stop,
    })
}
