//! Training: the loop, flat, from top to bottom.

use crate::{
    backend::{Cpu, seeds},
    config::{ContextLength, JobConfig},
    evaluate::{self, Evaluation},
    interrupt::{self, Interrupted},
    learner::Learner,
    log::{Log, Progress},
    report::{EvaluationReport, FORMAT, TrainSummary, number},
    run::RunDir,
    segment::{Batch, SegmentSampler, SegmentSource},
};
use anyhow::{Context, Result};
use burn::module::Module;
use envs::{
    Space,
    dataset::{Dataset, Statistics},
};
use policy::{ActionSpec, DecisionPolicy, Description, Normalizer};
use std::{sync::Arc, time::Instant};

/// Batches that are prepared ahead of the optimizer, on a thread of their own.
const BATCHES_AHEAD: usize = 2;

/// Trains a policy as the job says, in its run folder, and evaluates it.
///
/// Leaves `metrics.jsonl`, TensorBoard events, checkpoints, `train.json` and `evaluation.json`. With `resume`, goes on from the
/// newest checkpoint, to the same weights bit for bit that a run without a break would have reached.
///
/// # Errors
/// A loss that is not finite, a file that cannot be written, an environment that fails, or [`Interrupted`] after Ctrl-C, when the
/// run has been saved.
pub fn train(job: &JobConfig, dataset: Dataset, run: &RunDir, resume: bool) -> Result<(TrainSummary, EvaluationReport)> {
    // Data and policy.
    let description = describe(job, &dataset)?;
    let source = Arc::new(SegmentSource::new(dataset)?);
    let mut learner = Learner::new(description, &job.train, job.seed)?;
    let checkpoint = if resume { run.latest_checkpoint()? } else { None };
    if let Some((_, folder)) = &checkpoint {
        learner = learner.load(folder).context("cannot resume")?;
    }
    let parameters = learner.policy().network.num_params();
    let sampler = SegmentSampler::new(source, learner.description().clone(), &job.train, job.seed);

    // Log.
    let mut log = Log::open(run, resume.then_some(learner.progress.step))?;
    let progress = Progress::new(job.train.steps, "training");
    progress.set(learner.progress.step);
    let (mut interval, mut interval_started) = (Interval::default(), Instant::now());
    let mut best = f64::NEG_INFINITY;
    let mut final_loss = f64::NAN;

    let (first_step, first_cut) = (learner.progress.step, learner.progress.cut.clone());
    std::thread::scope(|scope| -> Result<()> {
        let (sender, batches) = crossbeam::channel::bounded::<Batch>(BATCHES_AHEAD);
        let (sampler, steps) = (&sampler, job.train.steps);
        scope.spawn(move || {
            let mut cut = first_cut;
            for step in first_step..steps {
                let batch = sampler.batch(step, &cut);
                cut.clone_from(&batch.cut);
                if sender.send(batch).is_err() {
                    return; // the loop below has ended early
                }
            }
        });

        while learner.progress.step < job.train.steps {
            let started = Instant::now();
            let batch = batches.recv().context("the thread that prepares batches has ended")?;
            let update = learner.update(batch).context(last_good(run))?;
            learner.progress.seconds += started.elapsed().as_secs_f64();
            let step = learner.progress.step;
            interval.add(update);
            progress.set(step);

            if step % job.train.log_every == 0 || step == job.train.steps {
                let seconds = interval_started.elapsed().as_secs_f64();
                let timesteps = (interval.count * sampler.rows() * sampler.row_length()) as f64;
                final_loss = interval.mean_loss();
                log.scalars(
                    step,
                    &[
                        ("train/loss", final_loss),
                        ("train/gradient_norm", interval.gradient_norm / interval.count as f64),
                        ("train/learning_rate", update.learning_rate),
                        ("train/timesteps_per_second", timesteps / seconds),
                        ("train/step_milliseconds", 1e3 * seconds / interval.count as f64),
                    ],
                )?;
                progress.message(format!("loss {}", number(final_loss)));
                (interval, interval_started) = (Interval::default(), Instant::now());
            }
            let is_last = step == job.train.steps;
            if !is_last && job.evaluation.every > 0 && step % job.evaluation.every == 0 {
                let report = evaluate(job, run, &learner.policy(), step, job.evaluation.episodes, None)?;
                log_evaluation(&mut log, step, &report)?;
                if report.targets[0].return_mean > best {
                    best = report.targets[0].return_mean;
                    run.checkpoint(step, |folder| learner.save(folder))?;
                    run.mark_best(step)?;
                }
                interval_started = Instant::now();
            }
            if is_last || step % job.train.checkpoint_every == 0 || interrupt::requested() {
                run.checkpoint(step, |folder| learner.save(folder))?;
                log.sync()?;
            }
            if interrupt::requested() && !is_last {
                return Err(anyhow::Error::new(Interrupted).context(format!(
                    "stopped at step {step} of {}; the run is saved, go on with `aaren train --resume --run {}`",
                    job.train.steps,
                    run.path().display()
                )));
            }
        }
        Ok(())
    })?;
    progress.finish();

    // Summary, and the evaluation that counts.
    let trained = &learner.progress;
    let summary = TrainSummary {
        format: FORMAT,
        steps: trained.step,
        timesteps: trained.timesteps,
        wall_seconds: trained.seconds,
        timesteps_per_second: trained.timesteps as f64 / trained.seconds.max(f64::MIN_POSITIVE),
        final_loss,
        parameters,
    };
    run.write_json("train.json", &summary)?;
    let latency = Some(evaluate::LATENCY_STEPS);
    let report = evaluate(job, run, &learner.policy(), trained.step, job.evaluation.final_episodes(), latency)?;
    log_evaluation(&mut log, trained.step, &report)?;
    if report.targets[0].return_mean >= best {
        run.mark_best(trained.step)?;
    }
    run.write_json("evaluation.json", &report)?;
    log.sync()?;
    Ok((summary, report))
}

/// What a policy trained on a dataset for a job's task is.
///
/// # Errors
/// If no head can act in the task's action space.
pub fn describe(job: &JobConfig, dataset: &Dataset) -> Result<Description> {
    let env = envs::make(&job.env.id, &job.env.options).context("env")?;
    let statistics = Statistics::of(dataset, None);
    let description = Description {
        format: Description::FORMAT,
        config: job.policy.clone(),
        normalizer: Normalizer::new(statistics.observation_mean, &statistics.observation_std),
        action: action_spec(&env.spec().action_space),
        environment: serde_json::json!({ "id": job.env.id, "options": job.env.options, "spec": env.spec() }),
    };
    description.check()?;
    Ok(description)
}

/// The policy's view of an action space.
pub fn action_spec(space: &Space) -> ActionSpec {
    match space {
        Space::Box { low, high, .. } => ActionSpec::Continuous { low: low.clone(), high: high.clone() },
        Space::Discrete { n, start } => ActionSpec::Discrete { n: *n, start: *start },
    }
}

/// Sums over the steps since the last line of the log.
#[derive(Default)]
struct Interval {
    count: usize,
    loss: f64,
    gradient_norm: f64,
}

impl Interval {
    fn add(&mut self, update: crate::learner::Update) {
        self.count += 1;
        self.loss += update.loss;
        self.gradient_norm += update.gradient_norm;
    }

    fn mean_loss(&self) -> f64 {
        self.loss / self.count as f64
    }
}

fn last_good(run: &RunDir) -> String {
    match run.latest_checkpoint() {
        Ok(Some((step, folder))) => format!("training stopped; the last good checkpoint is of step {step}, {}", folder.display()),
        _ => "training stopped before its first checkpoint".into(),
    }
}

fn evaluate(
    job: &JobConfig,
    run: &RunDir,
    policy: &DecisionPolicy<Cpu>,
    step: u64,
    episodes: usize,
    latency_steps: Option<usize>,
) -> Result<EvaluationReport> {
    let evaluation = Evaluation { episodes, seed: envs::derive_seed(job.seed, &[seeds::EPISODES]), latency_steps };
    evaluate::evaluate(job, policy, &run.name(), step, &evaluation)
}

/// Logs every target return under its own name, the first also under none.
fn log_evaluation(log: &mut Log, step: u64, report: &EvaluationReport) -> Result<()> {
    let mut names = Vec::new();
    for (index, target) in report.targets.iter().enumerate() {
        let folder = if index == 0 { "evaluation".into() } else { format!("evaluation_{}", number(target.target_return)) };
        names.push((format!("{folder}/return_mean"), target.return_mean));
        names.push((format!("{folder}/return_std"), target.return_std));
        names.push((format!("{folder}/length_mean"), target.length_mean));
        names.extend(target.normalised_score.map(|score| (format!("{folder}/normalised_score"), score)));
    }
    names.push(("evaluation/env_steps_per_second".into(), report.env_steps_per_second));
    let scalars: Vec<(&str, f64)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    log.scalars(step, &scalars)
}

/// Timesteps that windowed execution looks back on.
pub fn window(job: &JobConfig) -> Option<usize> {
    match job.train.context_length {
        ContextLength::Timesteps(length) => Some(length),
        ContextLength::Episode => None,
    }
}
