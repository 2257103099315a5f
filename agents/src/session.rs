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
mod schedule;
mod snapshot;
mod stop;

use std::ops::ControlFlow;
use std::{fs, path::Path};

use aaren_data::Trajectory;
use aaren_policy::{Model, checkpoint};
use anyhow::{Context, Result, anyhow, ensure};

use crate::config::StopConfig;
use crate::device::{CPU, Cpu};
use crate::exchange::{Ranks, SharedRun};
use crate::play::evaluate::Evaluation;
use crate::run::interrupt::{Interrupted, Steps};
use crate::run::metrics::Log;
use crate::run::progress::{Progress, say};
use crate::run::report::{EvaluationReport, TrainSummary, number};
use crate::run::{RunDir, made_by};
pub(crate) use judges::{Judges, Validate};
use judges::{RETURN_MEAN, VALIDATION_LOSS};
pub use observer::{NoObserver, Observer};
pub(crate) use schedule::Schedule;
use snapshot::{Beside, Line, Reports, Snapshot, scalars};
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
    fn policy(&self) -> Model<Cpu>;

    /// The policy of the last step's weights, where [`Trained::policy`] is another.
    fn last_policy(&self) -> Option<Model<Cpu>> {
        None
    }

    /// What this process alone has of a checkpoint, where several train together.
    ///
    /// # Errors
    /// What cannot be stored.
    fn share(&mut self) -> Result<Vec<u8>>;

    /// Writes all that going on from here needs into a folder that exists.
    ///
    /// - `shares`: of all processes
    ///
    /// # Errors
    /// Names the file that could not be written.
    fn save(&mut self, folder: &Path, shares: &[Vec<u8>]) -> Result<()>;

    /// Tells whether two processes have the same weights.
    fn checksum(&self) -> u32;

    /// How the training went.
    fn summary(&self) -> TrainSummary;
}

/// The run folder, the log, the progress bar, and whether to keep training.
pub(crate) struct Session<'a> {
    run: SharedRun<'a>,
    schedule: Schedule,
    observer: &'a mut dyn Observer,
    /// On rank 0.
    log: Option<Log>,
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
        run: SharedRun<'a>,
        resume: bool,
        schedule: Schedule,
        observer: &'a mut dyn Observer,
        trained: &impl Trained,
    ) -> Result<Self> {
        let (step, steps) = (trained.step(), Steps::new());
        observer.begins(step)?;
        let log = run.first().map(|run| Log::open(run, resume.then_some(step))).transpose()?;
        run.first().map_or(Ok(()), made_by::note)?;
        let seconds = log.as_ref().filter(|_| resume).map_or(0.0, Log::wall_seconds);
        let progress = Progress::resumed(schedule.steps, "training", step, seconds);
        let logged = |name| log.as_ref()?.resumed_with(name);
        let known = [("loss", "train/loss"), ("return", "rollout/return_mean")];
        if let Some((word, value)) = known.into_iter().find_map(|(word, name)| Some((word, logged(name)?))) {
            progress.message(format!("{word} {}", number(value)));
        }
        let stop = schedule.stop.zip(run.first()).map(|(config, run)| early_stop(run, config)).transpose()?;
        // What rank 0 finds in its log decides for all.
        let (is_over, is_evaluated) = run.ranks().from_first(|| {
            let is_over = step >= schedule.steps || stop.as_ref().is_some_and(EarlyStop::is_due);
            Ok((is_over, log.as_ref().is_some_and(|log| log.resumed_after(step, schedule.judges.headline()))))
        })?;
        let evaluated = is_evaluated.then_some(step);
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
        self.run.newest_checkpoint()
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
        let is_stopped = !self.is_over && self.run.ranks().is_asked_to_stop();
        let evaluates = !self.is_over && self.schedule.evaluates(step);
        let logs = self.is_over || self.schedule.is_due(self.schedule.log_every, step);
        let saves = self.is_over || is_stopped || evaluates || self.schedule.is_due(self.schedule.checkpoint_every, step);
        if logs || saves {
            // The one place where a GPU is waited for.
            trained.read_metrics().with_context(|| self.newest_checkpoint())?;
            if self.run.ranks().size() > 1 {
                self.compare(trained.checksum())?;
            }
        }
        // A checkpoint is written only when all that came before it is: log, marks and checkpoints are those of an evaluation that was
        // waited for.
        if saves || self.beside.as_ref().is_some_and(|beside| beside.thread.is_finished()) {
            self.settle()?;
        }
        if logs {
            let (mut metrics, message) = trained.metrics();
            if self.run.ranks().size() > 1 {
                metrics.push(("time/exchange_seconds", self.run.ranks().take_seconds()));
            }
            tracing::debug!(step, ?metrics);
            if let (Some(stop), Some((_, loss))) = (&mut self.stop, metrics.iter().find(|(name, _)| *name == LOSS)) {
                stop.loss = Some(*loss);
            }
            let seconds = self.wall_seconds();
            match (&mut self.beside, &mut self.log) {
                (Some(beside), _) => beside.held.push(Line { step, seconds, values: metrics }),
                (None, Some(log)) => log.scalars(step, &metrics)?,
                (None, None) => {}
            }
            self.progress.message(message);
        }
        if saves {
            let shares = self.run.ranks().gather(trained.share()?).map_err(|error| self.lost(error))?;
            if let Some(run) = self.run.first() {
                let written = run.checkpoint(step, |folder| trained.save(folder, &shares));
                let folder = written.with_context(|| self.newest_checkpoint())?;
                tracing::info!("wrote {}", folder.display());
            }
            self.log.as_ref().map_or(Ok(()), Log::sync)?;
        }
        if is_stopped {
            // None may end before the run is saved: a launcher then ends all.
            self.run.ranks().meet().map_err(|error| self.lost(error))?;
            return Err(anyhow::Error::new(Interrupted).context(self.stopped()));
        }
        if evaluates { self.evaluate_between(trained) } else { Ok(()) }
    }

    /// Whether all ranks have the same weights.
    ///
    /// # Errors
    /// Names the ranks that have others.
    fn compare(&self, checksum: u32) -> Result<()> {
        let all = self.run.ranks().gather_values(checksum).map_err(|error| self.lost(error))?;
        let others = all.iter().enumerate().filter(|(_, other)| **other != all[0]);
        let others: Vec<String> = others.map(|(rank, _)| rank.to_string()).collect();
        ensure!(
            others.is_empty(),
            "{}: after step {} rank {} has other weights than rank 0; processors of different kinds round differently: use machines of one \
             kind",
            self.newest_checkpoint(),
            self.step,
            others.join(", ")
        );
        Ok(())
    }

    /// The error of a rank that the others waited for in vain, with what stopped of it and where that can be taken up again.
    fn lost(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!("at step {}", self.step)).context(self.newest_checkpoint())
    }

    /// Seconds that the run has taken.
    fn wall_seconds(&self) -> f64 {
        self.log.as_ref().map_or(0.0, Log::wall_seconds)
    }

    /// Ends the training: its summary, and the evaluation that counts.
    ///
    /// # Errors
    /// An environment that fails, a file that cannot be written, or an interrupt.
    pub(crate) fn finish(mut self, trained: &impl Trained) -> Result<(TrainSummary, EvaluationReport)> {
        self.progress.finish();
        let summary = self.run.ranks().from_first(|| Ok(trained.summary()))?;
        self.run.write_json("train.json", &summary)?;
        let mut snapshot = self.snapshot(trained);
        let step = snapshot.step;
        let reports = self.judge(&snapshot, &self.schedule.judges)?;
        self.mark_best(step, &reports.0)?;
        // A step has one evaluation in the log, also where its evaluation ended the training.
        if self.evaluated != Some(step) {
            snapshot.seconds = self.wall_seconds();
            self.log_evaluation(&snapshot, &reports)?;
            // The training is at its end whatever the observer says.
            let _ = self.observe(&snapshot, &reports.0)?;
        }
        let (report, last) = reports;
        self.run.write_json("evaluation.json", &report)?;
        if let Some(last) = last {
            self.run.write_json("evaluation-last.json", &last)?;
        }
        self.run.write_json("evaluation-best.json", &self.evaluate_best(&report)?)?;
        self.log.as_mut().map_or(Ok(()), |log| log.finish(step))?;
        self.run.ranks().meet()?;
        Ok((summary, report))
    }

    /// What the policies of a step reach, by the work of all ranks.
    fn judge(&self, snapshot: &Snapshot, judges: &Judges) -> Result<Reports> {
        snapshot.judge(&self.name(), judges, self.run.ranks()).with_context(|| self.stopped())
    }

    /// The name of the run, which rank 0 knows.
    fn name(&self) -> String {
        self.run.first().map(RunDir::name).unwrap_or_default()
    }

    fn mark_best(&self, step: u64, report: &EvaluationReport) -> Result<()> {
        let reached = self.run.first().zip(report.headline());
        reached.map_or(Ok(()), |(run, reached)| run.mark_best(step, reached))
    }

    /// Logs an evaluation.
    fn log_evaluation(&mut self, snapshot: &Snapshot, reports: &Reports) -> Result<()> {
        let names = scalars(reports);
        if names.is_empty() {
            return Ok(());
        }
        let scalars: Vec<(&str, f64)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.evaluated = Some(snapshot.step);
        self.log.as_mut().map_or(Ok(()), |log| log.scalars_at(snapshot.step, snapshot.seconds, &scalars))
    }

    fn stopped(&self) -> String {
        let (step, steps) = (self.step, self.schedule.steps);
        let go_on = self.run.first().map(|run| format!(", go on with `aaren train --resume --run {}`", run.path().display()));
        format!("stopped at step {step} of {steps}; the run is saved{}", go_on.unwrap_or_default())
    }

    fn snapshot(&self, trained: &impl Trained) -> Snapshot {
        let (policy, last) = (trained.policy(), trained.last_policy());
        let loss = self.stop.as_ref().and_then(|stop| stop.loss);
        Snapshot { step: trained.step(), seconds: self.wall_seconds(), policy, last, loss }
    }

    /// Evaluates a step whose checkpoint is there already, or begins to where that is to be done beside the training.
    fn evaluate_between(&mut self, trained: &impl Trained) -> Result<()> {
        // What may end the training is waited for: there must be no step after it.
        let may_stop = self.observer.may_stop() || self.stop.as_ref().is_some_and(EarlyStop::may_be_due);
        // Rank 0 alone knows how the evaluations so far went.
        let beside = self.run.ranks().from_first(|| Ok(self.schedule.beside && !may_stop))?;
        let between = |evaluation: &Evaluation| Evaluation { beside, ..evaluation.between(self.schedule.episodes) };
        let evaluation = self.schedule.judges.evaluation.as_ref().map(between);
        let judges = Judges { evaluation, is_final: false, ..self.schedule.judges.clone() };
        let (name, snapshot) = (self.name(), self.snapshot(trained));
        if beside {
            // Rank 0 has it to itself: the others are told nothing while they train.
            if self.run.ranks().is_first() {
                let judge = move || snapshot.judge(&name, &judges, &Ranks::alone()).map(|reports| (snapshot, reports));
                let thread = std::thread::Builder::new().name("evaluation".into()).spawn(judge).context("evaluation.beside")?;
                self.beside = Some(Beside { thread, held: Vec::new() });
            }
            return Ok(());
        }
        let reports = self.judge(&snapshot, &judges)?;
        self.judged(&Snapshot { seconds: self.wall_seconds(), ..snapshot }, &reports)?;
        // Rank 0 has read the log of what came before.
        self.is_over = self.run.ranks().from_first(|| Ok(self.is_over))?;
        Ok(())
    }

    /// Waits for the evaluation that runs beside the training, and does what is to be done after it.
    fn settle(&mut self) -> Result<()> {
        let Some(Beside { thread, held }) = self.beside.take() else { return Ok(()) };
        let judged = thread.join().unwrap_or_else(|_| Err(anyhow!("the evaluation beside the training panicked")));
        let (snapshot, reports) = judged.with_context(|| self.stopped())?;
        self.judged(&snapshot, &reports)?;
        let Some(log) = &mut self.log else { return Ok(()) };
        held.into_iter().try_for_each(|line| log.scalars_at(line.step, line.seconds, &line.values))
    }

    /// An evaluation in the middle of training has ended.
    fn judged(&mut self, snapshot: &Snapshot, reports: &Reports) -> Result<()> {
        let step = snapshot.step;
        self.mark_best(step, &reports.0)?;
        self.log_evaluation(snapshot, reports)?;
        say(&format!("step {step}: {}", reports.0.line()));
        self.is_over |= self.observe(snapshot, &reports.0)?.is_break();
        if let Some(stop) = &mut self.stop {
            let return_mean = reports.0.targets.first().map(|target| target.return_mean);
            stop.judge(step, return_mean, reports.0.held_out_loss(), snapshot.loss);
            if stop.is_due() {
                self.is_over = true;
                tracing::warn!("the training ends at step {step} of {}: {}", self.schedule.steps, stop.reason());
            }
        }
        Ok(())
    }

    /// Shows an evaluation to the observer, which watches policies that act.
    fn observe(&mut self, snapshot: &Snapshot, report: &EvaluationReport) -> Result<ControlFlow<()>> {
        match &snapshot.policy {
            Model::Policy(policy) => self.observer.evaluated(snapshot.step, policy, report),
            Model::Sequence(_) => Ok(ControlFlow::Continue(())),
        }
    }

    /// The evaluation at the end, of the checkpoint marked best; `last` itself if that is the last one.
    fn evaluate_best(&self, last: &EvaluationReport) -> Result<EvaluationReport> {
        let best = self.run.first().map_or(Ok(None), RunDir::best)?.filter(|(step, _)| *step != last.checkpoint_step);
        let best = best.map(|(step, _)| step);
        let folder = best.and_then(|step| Some(self.run.first()?.checkpoint_at(step))).transpose()?;
        let load = |folder: &Path| -> Result<Model<Cpu>> {
            checkpoint::load_model(folder, &CPU).with_context(|| format!("cannot evaluate {}", folder.display()))
        };
        let loaded = folder.as_deref().map(load).transpose()?;
        let Some(policy) = self.run.on_copy(folder.as_deref(), loaded, load)? else { return Ok(last.clone()) };
        let untimed = |evaluation: &Evaluation| Evaluation { latency_steps: None, ..evaluation.clone() };
        let judges = Judges { evaluation: self.schedule.judges.evaluation.as_ref().map(untimed), ..self.schedule.judges.clone() };
        let report = judges.judge(&policy, &self.name(), best.unwrap_or_default(), self.run.ranks());
        report.with_context(|| self.stopped())
    }
}

/// A training that fails leaves the evaluation beside it done and logged.
impl Drop for Session<'_> {
    fn drop(&mut self) {
        let _ = self.settle();
    }
}
