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

mod judges;
mod observer;
mod stop;

use std::thread::JoinHandle;
use std::{fs, path::Path};

use aaren_data::Trajectory;
use aaren_policy::{AnyPolicy, checkpoint};
use anyhow::{Context, Result, anyhow};

use crate::config::StopConfig;
use crate::device::{CPU, Cpu};
use crate::play::evaluate::Evaluation;
use crate::run::interrupt::{Interrupted, Steps};
use crate::run::metrics::Log;
use crate::run::progress::{Progress, say};
use crate::run::report::{EvaluationReport, TrainSummary, number};
use crate::run::words::asked_for;
use crate::run::{RunDir, interrupt, made_by};
pub(crate) use judges::{Judges, Validate};
use judges::{RETURN_MEAN, VALIDATION_LOSS};
pub use observer::{NoObserver, Observer};
use stop::{EarlyStop, Names};

/// The loss of learning from trajectories in the log.
const LOSS: &str = "train/loss";

/// Folder in a checkpoint whose policy is of averaged weights: the policy of the last step's weights, with which a training goes on.
pub(crate) const LAST: &str = "last";

/// Writes the policy of the last step's weights beside the averaged one in a checkpoint.
///
/// # Errors
/// Names the file that could not be written.
pub(crate) fn save_last(policy: &impl checkpoint::Saved<Cpu>, checkpoint: &Path) -> Result<()> {
    let folder = checkpoint.join(LAST);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(checkpoint::save(policy, &folder)?)
}

/// How often in a row the evaluations in a run's log were no better.
fn early_stop(run: &RunDir, config: StopConfig) -> Result<EarlyStop> {
    let names = Names { return_mean: RETURN_MEAN, validation: VALIDATION_LOSS, loss: LOSS };
    EarlyStop::new(config, &run.path().join("metrics.jsonl"), names)
}

/// Whether the log of a run says that its training was to end early.
///
/// # Errors
/// If the log cannot be read.
pub(crate) fn ends_early(run: &RunDir, config: StopConfig) -> Result<bool> {
    Ok(early_stop(run, config)?.is_due())
}

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

    /// The policy as it is now, to act with: of averaged weights, where the job wants them.
    fn policy(&self) -> AnyPolicy<Cpu>;

    /// The policy of the last step's weights, where [`Trained::policy`] is another.
    fn last_policy(&self) -> Option<AnyPolicy<Cpu>> {
        None
    }

    /// Writes all that going on from here needs into a folder that exists.
    ///
    /// # Errors
    /// Names the file that could not be written.
    fn save(&mut self, folder: &Path) -> Result<()>;

    /// How the training went.
    fn summary(&self) -> TrainSummary;
}

/// When a session does what, in steps of its unit: optimizer steps, or environment steps.
#[derive(Clone)]
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
    /// What judges the policy.
    pub judges: Judges,
    /// Whether evaluations in the middle of training run beside it.
    pub beside: bool,
    /// When the training ends early.
    pub stop: Option<StopConfig>,
}

impl Schedule {
    /// Whether an update that ends at `step` is the first to reach a multiple of `every`.
    fn is_due(&self, every: u64, step: u64) -> bool {
        step / every > step.saturating_sub(self.stride) / every
    }

    /// Whether the policy is evaluated after a step, in the middle of training.
    fn evaluates(&self, step: u64) -> bool {
        self.evaluate_every > 0
            && !self.judges.are_none()
            && (1..self.steps).contains(&step)
            && self.is_due(self.evaluate_every, step)
    }
}

/// The policies of a step, to be judged.
struct Snapshot {
    step: u64,
    /// Seconds of the run at that step.
    seconds: f64,
    policy: AnyPolicy<Cpu>,
    /// Of the last step's weights, where `policy` is of averaged ones.
    last: Option<AnyPolicy<Cpu>>,
    /// The loss as last logged, for early stopping.
    loss: Option<f64>,
}

/// What the policies of a step reached, in the order of [`Snapshot`].
type Reports = (EvaluationReport, Option<EvaluationReport>);

impl Snapshot {
    fn judge(&self, run: &str, judges: &Judges) -> Result<Reports> {
        let judge = |policy| judges.judge(policy, run, self.step);
        Ok((judge(&self.policy)?, self.last.as_ref().map(judge).transpose()?))
    }
}

/// An evaluation that runs beside the training.
struct Beside {
    thread: JoinHandle<Result<(Snapshot, Reports)>>,
    /// Lines of the log that come after that of the evaluation.
    held: Vec<Line>,
}

/// A line of the log.
struct Line {
    step: u64,
    seconds: f64,
    values: Vec<(&'static str, f64)>,
}

/// The run folder, the log, the progress bar, and whether to keep training.
pub(crate) struct Session<'a> {
    run: &'a RunDir,
    schedule: Schedule,
    observer: &'a mut dyn Observer,
    log: Log,
    progress: Progress,
    stop: Option<EarlyStop>,
    beside: Option<Beside>,
    step: u64,
    /// The step whose evaluation was logged last.
    evaluated: Option<u64>,
    /// Whether the training has come to its end.
    is_over: bool,
    /// A signal stops it at the end of a step.
    _steps: Steps,
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
        let (step, steps) = (trained.step(), Steps::new());
        observer.begins(step)?;
        let log = Log::open(run, resume.then_some(step))?;
        made_by::note(run)?;
        let seconds = if resume { log.wall_seconds() } else { 0.0 };
        let progress = Progress::resumed(schedule.steps, "training", step, seconds);
        let known = [("loss", "train/loss"), ("return", "rollout/return_mean")];
        if let Some((word, value)) = known.into_iter().find_map(|(word, name)| Some((word, log.resumed_with(name)?))) {
            progress.message(format!("{word} {}", number(value)));
        }
        let stop = schedule.stop.map(|config| early_stop(run, config)).transpose()?;
        let is_over = step >= schedule.steps || stop.as_ref().is_some_and(EarlyStop::is_due);
        let evaluated = log.resumed_after(step, schedule.judges.headline()).then_some(step);
        let mut session =
            Self { run, schedule, observer, log, progress, stop, beside: None, step, evaluated, is_over, _steps: steps };
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
        // A checkpoint is written only when all that came before it is: log, marks and checkpoints are those of an evaluation that was
        // waited for.
        if saves || self.beside.as_ref().is_some_and(|beside| beside.thread.is_finished()) {
            self.settle()?;
        }
        if logs {
            let (metrics, message) = trained.metrics();
            tracing::debug!(step, ?metrics);
            if let (Some(stop), Some((_, loss))) = (&mut self.stop, metrics.iter().find(|(name, _)| *name == LOSS)) {
                stop.loss = Some(*loss);
            }
            match &mut self.beside {
                Some(beside) => beside.held.push(Line { step, seconds: self.log.wall_seconds(), values: metrics }),
                None => self.log.scalars(step, &metrics)?,
            }
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
        let mut snapshot = self.snapshot(trained);
        let step = snapshot.step;
        let reports = snapshot.judge(&self.run.name(), &self.schedule.judges).with_context(|| self.stopped())?;
        reports.0.headline().map_or(Ok(()), |reached| self.run.mark_best(step, reached))?;
        // A step has one evaluation in the log, also where its evaluation ended the training.
        if self.evaluated != Some(step) {
            snapshot.seconds = self.log.wall_seconds();
            self.log_evaluation(&snapshot, &reports)?;
            // The training is at its end whatever the observer says.
            let _ = self.observer.evaluated(step, &snapshot.policy, &reports.0)?;
        }
        let (report, last) = reports;
        self.run.write_json("evaluation.json", &report)?;
        if let Some(last) = last {
            self.run.write_json("evaluation-last.json", &last)?;
        }
        self.run.write_json("evaluation-best.json", &self.evaluate_best(&report)?)?;
        self.log.finish(step)?;
        Ok((summary, report))
    }

    fn stopped(&self) -> String {
        let (step, steps, path) = (self.step, self.schedule.steps, self.run.path().display());
        format!("stopped at step {step} of {steps}; the run is saved, go on with `aaren train --resume --run {path}`")
    }

    fn snapshot(&self, trained: &impl Trained) -> Snapshot {
        let (policy, last) = (trained.policy(), trained.last_policy());
        let loss = self.stop.as_ref().and_then(|stop| stop.loss);
        Snapshot { step: trained.step(), seconds: self.log.wall_seconds(), policy, last, loss }
    }

    /// Evaluates a step whose checkpoint is there already, or begins to where that is to be done beside the training.
    fn evaluate_between(&mut self, trained: &impl Trained) -> Result<()> {
        // What may end the training is waited for: there must be no step after it.
        let may_stop = self.observer.may_stop() || self.stop.as_ref().is_some_and(EarlyStop::may_be_due);
        let beside = self.schedule.beside && !may_stop;
        let between = |evaluation: &Evaluation| Evaluation { beside, ..evaluation.between(self.schedule.episodes) };
        let judges = Judges { evaluation: self.schedule.judges.evaluation.as_ref().map(between), ..self.schedule.judges.clone() };
        let (name, snapshot) = (self.run.name(), self.snapshot(trained));
        if beside {
            let judge = move || snapshot.judge(&name, &judges).map(|reports| (snapshot, reports));
            let thread = std::thread::Builder::new().name("evaluation".into()).spawn(judge).context("evaluation.beside")?;
            self.beside = Some(Beside { thread, held: Vec::new() });
            return Ok(());
        }
        let reports = snapshot.judge(&name, &judges).with_context(|| self.stopped())?;
        self.judged(&Snapshot { seconds: self.log.wall_seconds(), ..snapshot }, &reports)
    }

    /// Waits for the evaluation that runs beside the training, and does what is to be done after it.
    fn settle(&mut self) -> Result<()> {
        let Some(Beside { thread, held }) = self.beside.take() else { return Ok(()) };
        let judged = thread.join().unwrap_or_else(|_| Err(anyhow!("the evaluation beside the training panicked")));
        let (snapshot, reports) = judged.with_context(|| self.stopped())?;
        self.judged(&snapshot, &reports)?;
        held.into_iter().try_for_each(|line| self.log.scalars_at(line.step, line.seconds, &line.values))
    }

    /// An evaluation in the middle of training has ended.
    fn judged(&mut self, snapshot: &Snapshot, reports: &Reports) -> Result<()> {
        let step = snapshot.step;
        reports.0.headline().map_or(Ok(()), |reached| self.run.mark_best(step, reached))?;
        self.log_evaluation(snapshot, reports)?;
        say(&format!("step {step}: {}", reports.0.line()));
        self.is_over |= self.observer.evaluated(step, &snapshot.policy, &reports.0)?.is_break();
        if let Some(stop) = &mut self.stop {
            let return_mean = reports.0.targets.first().map(|target| target.return_mean);
            stop.judge(step, return_mean, reports.0.validation.map(|validation| validation.loss), snapshot.loss);
            if stop.is_due() {
                self.is_over = true;
                tracing::warn!("the training ends at step {step} of {}: {}", self.schedule.steps, stop.reason());
            }
        }
        Ok(())
    }

    /// The evaluation at the end, of the checkpoint marked best; `last` itself if that is the last one.
    fn evaluate_best(&self, last: &EvaluationReport) -> Result<EvaluationReport> {
        let Some((step, _)) = self.run.best()?.filter(|(step, _)| *step != last.checkpoint_step) else { return Ok(last.clone()) };
        let folder = self.run.checkpoint_at(step)?;
        let policy =
            checkpoint::load_any::<Cpu>(&folder, &CPU).with_context(|| format!("cannot evaluate {}", folder.display()))?;
        let untimed = |evaluation: &Evaluation| Evaluation { latency_steps: None, ..evaluation.clone() };
        let judges = Judges { evaluation: self.schedule.judges.evaluation.as_ref().map(untimed), ..self.schedule.judges.clone() };
        judges.judge(&policy, &self.run.name(), step).with_context(|| self.stopped())
    }

    /// Logs every target return under its own name, the first also under none; of the last step's weights the headline.
    fn log_evaluation(&mut self, snapshot: &Snapshot, (report, last): &Reports) -> Result<()> {
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
        if !report.targets.is_empty() {
            names.push(("evaluation/env_steps_per_second".into(), report.env_steps_per_second));
        }
        names.extend(report.validation.map(|validation| (VALIDATION_LOSS.into(), validation.loss)));
        if let Some(last) = last {
            names.extend(last.targets.first().map(|target| ("evaluation_last/return_mean".into(), target.return_mean)));
            names.extend(last.validation.map(|validation| ("validation_last/loss".into(), validation.loss)));
        }
        if names.is_empty() {
            return Ok(());
        }
        let scalars: Vec<(&str, f64)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.evaluated = Some(snapshot.step);
        self.log.scalars_at(snapshot.step, snapshot.seconds, &scalars)
    }
}

/// A training that fails leaves the evaluation beside it done and logged.
impl Drop for Session<'_> {
    fn drop(&mut self) {
        let _ = self.settle();
    }
}
