//! A training session: when to log, save, evaluate and stop. Every learner's loop has one.
//!
//! ```
//! // An observer that stops a training once the mean return of an evaluation is good enough.
//! use std::ops::ControlFlow;
//! use aaren_agents::{device::Cpu, run::report::EvaluationReport, session::Observer};
//! use aaren_policy::AnyPolicy;
//!
//! struct GoodEnough(f64);
//! impl Observer for GoodEnough {
//!     fn evaluated(&mut self, _: u64, _: &AnyPolicy<Cpu>, report: &EvaluationReport) -> anyhow::Result<ControlFlow<()>> {
//!         let is_good = report.targets[0].return_mean >= self.0;
//!         Ok(if is_good { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
//!     }
//! }
//! assert!(!GoodEnough(450.0).wants_episodes());
//! ```

use std::{ops::ControlFlow, path::Path};

use aaren_data::Trajectory;
use aaren_policy::AnyPolicy;
use anyhow::{Context, Result};

use crate::device::{CPU, Cpu};
use crate::play::evaluate::{Evaluation, evaluate};
use crate::run::interrupt::Interrupted;
use crate::run::metrics::Log;
use crate::run::progress::{Progress, say};
use crate::run::report::{EvaluationReport, TrainSummary, number};
use crate::run::words::asked_for;
use crate::run::{RunDir, interrupt, made_by};

/// The headline of an evaluation in the log.
const RETURN_MEAN: &str = "evaluation/return_mean";

/// What is trained, as a session sees it.
pub trait Trained {
    /// Steps made, in the session's unit.
    fn step(&self) -> u64;

    /// Waits for what the last steps left on a device, so that it can be logged and saved.
    ///
    /// # Errors
    /// A number that is not finite, or a device that failed.
    fn read_metrics(&mut self) -> Result<()> {
        Ok(())
    }

    /// Metrics of the steps since the last call, by name, and a few words for the progress bar.
    fn metrics(&mut self) -> (Vec<(&'static str, f64)>, String);

    /// The policy as it is now, to act with.
    fn policy(&self) -> AnyPolicy<Cpu>;

    /// Writes all that going on from here needs into a folder that exists.
    ///
    /// # Errors
    /// Names the file that could not be written.
    fn save(&mut self, folder: &Path) -> Result<()>;

    /// How the training went.
    fn summary(&self) -> TrainSummary;
}

/// When a session does what, in steps of its unit: optimizer steps, or environment steps.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Steps of the training.
    pub steps: u64,
    /// Steps that one update makes.
    pub stride: u64,
    /// Steps between two lines of the log.
    pub log_every: u64,
    /// Steps between two checkpoints. There is always one at the end.
    pub checkpoint_every: u64,
    /// Steps between two evaluations; 0 evaluates only at the end.
    pub evaluate_every: u64,
    /// Episodes of an evaluation while training.
    pub episodes: usize,
    /// The evaluation at the end.
    pub evaluation: Evaluation,
}

impl Schedule {
    /// Whether an update that ends at `step` is the first to reach a multiple of `every`.
    fn is_due(&self, every: u64, step: u64) -> bool {
        step / every > step.saturating_sub(self.stride) / every
    }

    /// Whether the policy is evaluated after a step, in the middle of training.
    fn evaluates(&self, step: u64) -> bool {
        self.evaluate_every > 0 && (1..self.steps).contains(&step) && self.is_due(self.evaluate_every, step)
    }
}

/// Watches a training: what it plays, in order, and how it is judged. All methods have a default that does nothing.
pub trait Observer {
    /// The training begins, or continues from this step.
    ///
    /// # Errors
    /// Stops the training.
    fn begins(&mut self, step: u64) -> Result<()> {
        let _ = step;
        Ok(())
    }

    /// Whether [`Observer::episode`] is to be called.
    fn wants_episodes(&self) -> bool {
        false
    }

    /// An episode that ended in the iteration that ends with this step, in order.
    ///
    /// # Errors
    /// Stops the training.
    fn episode(&mut self, step: u64, trajectory: Trajectory) -> Result<()> {
        let _ = (step, trajectory);
        Ok(())
    }

    /// An iteration was made, in which episodes with these returns ended. [`ControlFlow::Break`] ends the training here, as if it had
    /// been asked for so many steps.
    ///
    /// # Errors
    /// Stops the training.
    fn iterated(&mut self, step: u64, returns: &[f64]) -> Result<ControlFlow<()>> {
        let _ = (step, returns);
        Ok(ControlFlow::Continue(()))
    }

    /// A policy was evaluated; its checkpoint is in the run folder. Break as above.
    ///
    /// # Errors
    /// Stops the training.
    fn evaluated(&mut self, step: u64, policy: &AnyPolicy<Cpu>, report: &EvaluationReport) -> Result<ControlFlow<()>> {
        let _ = (step, policy, report);
        Ok(ControlFlow::Continue(()))
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// The run folder, the log, the progress bar, and whether to keep training.
pub(crate) struct Session<'a> {
    run: &'a RunDir,
    schedule: Schedule,
    observer: &'a mut dyn Observer,
    log: Log,
    progress: Progress,
    step: u64,
    /// The step whose evaluation was logged last.
    evaluated: Option<u64>,
    /// Whether the training has come to its end.
    is_over: bool,
}

impl<'a> Session<'a> {
    /// Begins a session, or continues one from where `trained` is. An evaluation that a break left out is made up for.
    ///
    /// # Errors
    /// A file that cannot be written, an evaluation that fails, or an observer that does.
    pub(crate) fn begin(
        run: &'a RunDir,
        resume: bool,
        schedule: Schedule,
        observer: &'a mut dyn Observer,
        trained: &impl Trained,
    ) -> Result<Self> {
        let step = trained.step();
        observer.begins(step)?;
        let log = Log::open(run, resume.then_some(step))?;
        made_by::note(run)?;
        let seconds = if resume { log.wall_seconds() } else { 0.0 };
        let progress = Progress::resumed(schedule.steps, "training", step, seconds);
        let known = [("loss", "train/loss"), ("return", "rollout/return_mean")];
        if let Some((word, value)) = known.into_iter().find_map(|(word, name)| Some((word, log.resumed_with(name)?))) {
            progress.message(format!("{word} {}", number(value)));
        }
        let is_over = step >= schedule.steps;
        let evaluated = log.resumed_after(step, RETURN_MEAN).then_some(step);
        let mut session = Self { run, schedule, observer, log, progress, step, evaluated, is_over };
        // A break may have come between a checkpoint and the evaluation that belongs to it.
        if session.schedule.evaluates(step) && evaluated.is_none() {
            session.evaluate_between(trained)?;
        }
        Ok(session)
    }

    /// Whether there are steps to make.
    pub(crate) fn keeps_training(&self) -> bool {
        !self.is_over
    }

    /// Where the training can be taken up again, for errors.
    pub(crate) fn newest_checkpoint(&self) -> String {
        match self.run.latest_checkpoint() {
            Ok(Some((_, folder))) => format!("training stopped; the newest checkpoint is {}", folder.display()),
            _ => "training stopped before its first checkpoint".into(),
        }
    }

    /// Tells the observer which episodes an iteration played.
    ///
    /// # Errors
    /// What the observer returned.
    pub(crate) fn played(&mut self, step: u64, returns: &[f64], trajectories: Vec<Trajectory>) -> Result<()> {
        trajectories.into_iter().try_for_each(|trajectory| self.observer.episode(step, trajectory))?;
        self.is_over |= self.observer.iterated(step, returns)?.is_break();
        Ok(())
    }

    /// Ends an update: logs, saves, evaluates and stops, whatever is due.
    ///
    /// # Errors
    /// Numbers that are not finite, a file that cannot be written, an environment that fails, or [`Interrupted`] after Ctrl-C, when
    /// the run has been saved.
    pub(crate) fn end_step(&mut self, trained: &mut impl Trained) -> Result<()> {
        let step = trained.step();
        self.step = step;
        self.progress.set(step);
        self.is_over |= step >= self.schedule.steps;
        let is_stopped = !self.is_over && interrupt::requested();
        let evaluates = !self.is_over && self.schedule.evaluates(step);
        let logs = self.is_over || self.schedule.is_due(self.schedule.log_every, step);
        let saves = self.is_over || is_stopped || evaluates || self.schedule.is_due(self.schedule.checkpoint_every, step);
        if logs || saves {
            // The one place where a GPU is waited for.
            trained.read_metrics().with_context(|| self.newest_checkpoint())?;
        }
        if logs {
            let (metrics, message) = trained.metrics();
            self.log.scalars(step, &metrics)?;
            tracing::debug!(step, ?metrics);
            self.progress.message(message);
        }
        if saves {
            let folder = self.run.checkpoint(step, |folder| trained.save(folder)).with_context(|| self.newest_checkpoint())?;
            tracing::info!("wrote {}", folder.display());
            self.log.sync()?;
        }
        if is_stopped {
            return Err(anyhow::Error::new(Interrupted).context(self.stopped()));
        }
        if evaluates { self.evaluate_between(trained) } else { Ok(()) }
    }

    /// Ends the training: its summary, and the evaluation that counts.
    ///
    /// # Errors
    /// An environment that fails, a file that cannot be written, or an interrupt.
    pub(crate) fn finish(mut self, trained: &impl Trained) -> Result<(TrainSummary, EvaluationReport)> {
        self.progress.finish();
        let summary = trained.summary();
        self.run.write_json("train.json", &summary)?;
        let (step, policy) = (trained.step(), trained.policy());
        let report = self.evaluate(&policy, step, &self.schedule.evaluation)?;
        self.run.mark_best(step, report.targets[0].return_mean)?;
        // An observer may have ended the training with an evaluation of this very step.
        if self.evaluated != Some(step) {
            self.log_evaluation(step, &report)?;
            // The training is at its end whatever the observer says.
            let _ = self.observer.evaluated(step, &policy, &report)?;
        }
        self.run.write_json("evaluation.json", &report)?;
        self.run.write_json("evaluation-best.json", &self.evaluate_best(&report)?)?;
        self.log.finish(step)?;
        Ok((summary, report))
    }

    fn stopped(&self) -> String {
        let (step, steps, path) = (self.step, self.schedule.steps, self.run.path().display());
        format!("stopped at step {step} of {steps}; the run is saved, go on with `aaren train --resume --run {path}`")
    }

    fn evaluate(&self, policy: &AnyPolicy<Cpu>, step: u64, evaluation: &Evaluation) -> Result<EvaluationReport> {
        evaluate(policy, &self.run.name(), step, evaluation).with_context(|| self.stopped())
    }

    /// Evaluates a step whose checkpoint is there already.
    fn evaluate_between(&mut self, trained: &impl Trained) -> Result<()> {
        let (step, policy) = (trained.step(), trained.policy());
        let report = self.evaluate(&policy, step, &self.schedule.evaluation.between(self.schedule.episodes))?;
        self.run.mark_best(step, report.targets[0].return_mean)?;
        self.log_evaluation(step, &report)?;
        say(&format!("step {step}: {}", report.line()));
        self.is_over |= self.observer.evaluated(step, &policy, &report)?.is_break();
        Ok(())
    }

    /// The evaluation at the end, of the checkpoint marked best; `last` itself if that is the last one.
    fn evaluate_best(&self, last: &EvaluationReport) -> Result<EvaluationReport> {
        let Some((step, _)) = self.run.best().filter(|(step, _)| *step != last.checkpoint_step) else { return Ok(last.clone()) };
        let folder = self.run.checkpoint_at(step)?;
        let policy = aaren_policy::checkpoint::load_any::<Cpu>(&folder, &CPU)
            .with_context(|| format!("cannot evaluate {}", folder.display()))?;
        let evaluation = Evaluation { latency_steps: None, ..self.schedule.evaluation.clone() };
        self.evaluate(&policy, step, &evaluation)
    }

    /// Logs every target return under its own name, the first also under none.
    fn log_evaluation(&mut self, step: u64, report: &EvaluationReport) -> Result<()> {
        let mut names = Vec::new();
        let asked: Vec<Option<f64>> = report.targets.iter().map(|target| target.target_return).collect();
        let named = asked_for(&asked).into_iter().zip(&report.targets).enumerate();
        let folders = named.filter(|(index, _)| !asked[..*index].contains(&asked[*index]));
        let folders = folders.flat_map(|(index, (name, target))| {
            let headline = (index == 0).then(|| "evaluation".to_string());
            let own = target.target_return.map(|_| format!("evaluation/{name}"));
            headline.into_iter().chain(own).map(move |folder| (folder, target))
        });
        for (folder, target) in folders {
            names.push((format!("{folder}/return_mean"), target.return_mean));
            names.push((format!("{folder}/return_std"), target.return_std));
            names.push((format!("{folder}/length_mean"), target.length_mean));
            names.extend(target.normalised_score.map(|score| (format!("{folder}/normalised_score"), score)));
        }
        names.push(("evaluation/env_steps_per_second".into(), report.env_steps_per_second));
        let scalars: Vec<(&str, f64)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.evaluated = Some(step);
        self.log.scalars(step, &scalars)
    }
}
