//! Learning a task on sequences: the same loop, with a task in place of trajectories.

use std::ops::Range;
use std::sync::Arc;

use aaren_policy::transfer::transfer_weights;
use aaren_policy::{Model, SequenceDescription, SequenceNetwork, SequencePolicy, SequenceRows, checkpoint};
use anyhow::{Context, Result, bail, ensure};

use super::batch::DeviceBatch;
use super::learner::Learner;
use super::segments::{SegmentSampler, Source};
use super::train::{begin, cannot_resume, fit};
use super::trial::{Trial, time};
use crate::config::{Execution, SequenceJob, caution};
use crate::device::{CPU, Cpu, Graph, TrainBackend, on_backend};
use crate::exchange::{Shards, SharedRun};
use crate::play::saved::SavedPolicy;
use crate::run::RunDir;
use crate::run::data_mark::{self, DataRecord, LeftToData};
use crate::run::report::{EvaluationReport, TrainSummary};
use crate::sequence::{Lengths, SequenceTask, Split, make, push, report};
use crate::session::{Judges, Schedule, Trained, Validate};

/// The training split of a task.
#[derive(Debug)]
struct TaskSource {
    task: Arc<dyn SequenceTask>,
    name: &'static str,
}

impl Source for TaskSource {
    type Rows = SequenceRows;

    fn name(&self) -> &str {
        self.name
    }

    fn lengths(&self) -> Lengths {
        self.task.lengths(Split::Train)
    }

    fn push(&self, rows: &mut SequenceRows, sequence: usize, tokens: Range<usize>, reset: bool) {
        push(&*self.task, rows, Split::Train, sequence, tokens, reset);
    }
}

/// What a job trains.
///
/// # Errors
/// If the sizes do not fit each other.
pub(crate) fn describe_sequences(job: &SequenceJob, task: &dyn SequenceTask) -> Result<SequenceDescription> {
    let (format, config, spec) = (SequenceDescription::FORMAT, job.policy.clone(), task.spec(&job.policy));
    let (normalizer, names, statistics) = (task.normalizer(), task.names(), task.statistics());
    let task = serde_json::to_value(&job.task)?;
    let description = SequenceDescription { format, config, spec, normalizer, names, statistics, task };
    description.check()?;
    Ok(description)
}

fn sampler(job: &SequenceJob, task: &Arc<dyn SequenceTask>) -> SegmentSampler<TaskSource> {
    SegmentSampler::new(TaskSource { task: task.clone(), name: job.task.kind() }, &job.train, job.seed)
}

/// Trains a model of sequences as the job says, as [`train_together`](super::train_together) trains a policy. Checkpoints are chosen by the
/// validation split; the test split is looked at when the training is over.
///
/// - `task`: that of the job
///
/// # Errors
/// As there.
pub fn train_sequences(
    job: &SequenceJob,
    task: Arc<dyn SequenceTask>,
    run: SharedRun<'_>,
    resume: bool,
) -> Result<(TrainSummary, EvaluationReport)> {
    on_backend!(job.device, train_on(job, task, run, resume))
}

/// As [`begin_from`](super::begin_from), with the weights of a model of sequences.
///
/// # Errors
/// As there; or if the model's tokens or outputs are others than the job's.
pub fn begin_sequences_from(job: &SequenceJob, task: &dyn SequenceTask, from: &SavedPolicy, run: &RunDir) -> Result<()> {
    let context = || format!("this job cannot begin with the model {}", from.folder.display());
    let Model::Sequence(model) = checkpoint::load_model::<Graph>(&from.folder, &CPU).with_context(context)? else {
        bail!(
            "{}: a policy that acts, and the job learns a task on sequences; --from takes a model of one",
            from.folder.display()
        );
    };
    let description = describe_sequences(job, task)?;
    let (found, expected) = (&model.description.spec, &description.spec);
    ensure!(found == expected, "{}: its tokens and outputs are {found:?}, the job's {expected:?}", context());
    let learner = Learner::<Graph, SequenceNetwork<Graph>>::new(description, &job.train, job.seed)?;
    let (learner, _) = learner.map_network(|network| transfer_weights(&model.network, network)).with_context(context)?;
    run.checkpoint(0, |folder| learner.save(folder))?;
    Ok(())
}

fn train_on<B: TrainBackend>(
    job: &SequenceJob,
    task: Arc<dyn SequenceTask>,
    run: SharedRun<'_>,
    resume: bool,
) -> Result<(TrainSummary, EvaluationReport)> {
    let shards = run.ranks().shards(job.train.shards, "train.shards")?;
    let description = describe_sequences(job, &*task)?;
    caution(&task.odd(), job.strict)?;
    let mark = task.mark();
    mark.map_or(Ok(()), |mark| mark.expect_alike(&run.ranks().gather_values(mark)?))?;
    let new = || {
        let new = Learner::<B, SequenceNetwork<B>>::new(description.clone(), &job.train, job.seed)?;
        Ok(new.of_shards(shards.clone()))
    };
    let learner = begin(new, mark, &run, resume)?;
    let sampler = sampler(job, &task);
    sampler.check(&learner.progress.cut).with_context(|| cannot_resume(&run))?;
    mark.map_or(Ok(()), |mark| {
        run.write_json(data_mark::FILE, &DataRecord { mark, return_mean: None, left: LeftToData::default() })
    })?;
    let batch = job.train.batch_size;
    let validation: Validate =
        Arc::new(move |model, is_final, found| report(model, &*task, batch, Execution::Window, is_final, found));
    let schedule = Schedule {
        steps: job.train.steps,
        stride: 1,
        log_every: job.train.log_every,
        checkpoint_every: job.train.checkpoint_every,
        evaluate_every: job.evaluation.every,
        episodes: 0,
        judges: Judges { evaluation: None, validation: Some(validation), is_final: true, data: job.task.describe() },
        beside: job.evaluation.beside,
        stop: job.evaluation.stop,
    };
    fit(learner, sampler, shards, run, resume, schedule)
}

/// As [`super::trial::trial`].
///
/// # Errors
/// As there.
pub(crate) fn trial_sequences(job: &SequenceJob, task: &Arc<dyn SequenceTask>) -> Result<Trial> {
    on_backend!(job.device, trial_on(job, task))
}

fn trial_on<B: TrainBackend>(job: &SequenceJob, task: &Arc<dyn SequenceTask>) -> Result<Trial> {
    let description = describe_sequences(job, &**task)?;
    let learner = Learner::<B, SequenceNetwork<B>>::new(description, &job.train, job.seed)?;
    time(learner, &sampler(job, task), job.train.shards)
}

/// A training on the CPU that is made step by step, without a run folder.
pub struct SequenceTrainer {
    learner: Learner<Graph, SequenceNetwork<Graph>>,
    sampler: SegmentSampler<TaskSource>,
    shards: Shards,
    task: Arc<dyn SequenceTask>,
}

impl SequenceTrainer {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the job's sizes do not fit each other, or its data cannot be read.
    pub fn new(job: &SequenceJob) -> Result<Self> {
        let task = make(&job.task, job.seed)?;
        let learner = Learner::new(describe_sequences(job, &*task)?, &job.train, job.seed)?;
        Ok(Self { learner, sampler: sampler(job, &task), shards: Shards::all(job.train.shards), task })
    }

    /// What it learns.
    pub fn task(&self) -> &dyn SequenceTask {
        &*self.task
    }

    /// What the next step learns from: the rows of all shards, one after another, of one length.
    pub fn batch(&self) -> Vec<SequenceRows> {
        let batch = self.sampler.shared_batch(self.learner.step(), &self.learner.progress.cut, &self.shards);
        batch.own.into_iter().map(|part| part.rows).collect()
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        self.learner.learning_rate(self.learner.step())
    }

    /// One optimizer step; gives its loss.
    ///
    /// # Errors
    /// If the loss or the gradient is not finite; nothing is learnt then.
    pub fn step(&mut self) -> Result<f64> {
        let batch = self.sampler.shared_batch(self.learner.step(), &self.learner.progress.cut, &self.shards);
        self.learner.update(DeviceBatch::copy(batch, self.learner.description())?)?;
        Ok(self.learner.metrics().0[0].1)
    }

    /// The model as it is now.
    pub fn policy(&self) -> SequencePolicy<Cpu> {
        match self.learner.policy() {
            Model::Sequence(policy) => policy,
            Model::Policy(_) => unreachable!("it trains models of sequences"),
        }
    }
}
