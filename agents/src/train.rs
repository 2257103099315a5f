//! Training: the loop, flat, from top to bottom.

use crate::{
    backend::{CPU, Cpu, Graph, TrainBackend, seeds},
    config::{ContextLength, Device, JobConfig},
    evaluate::{self, Evaluation},
    interrupt::{self, Interrupted},
    learner::{Learner, Prepared},
    log::{Log, Progress},
    report::{EvaluationReport, FORMAT, TrainSummary, number},
    run::RunDir,
    segment::{SegmentSampler, SegmentSource},
};
use anyhow::{Context, Result};
use burn::module::Module;
use envs::{
    Space,
    dataset::{Dataset, Statistics},
};
use policy::{ActionSpec, DecisionPolicy, Description, Normalizer, mixer::CachePolicy};
use std::{sync::Arc, time::Instant};

/// The headline of an evaluation in the log.
const RETURN_MEAN: &str = "evaluation/return_mean";

/// Batches that are prepared ahead of the optimizer, on a thread of their own.
const BATCHES_AHEAD: usize = 2;

/// Trains a policy as the job says, in its run folder, and evaluates it.
///
/// Leaves `metrics.jsonl`, TensorBoard events, checkpoints, `train.json`, `evaluation.json` of the last checkpoint and
/// `evaluation-best.json` of the one that evaluated best. With `resume`, goes on from the
/// newest checkpoint, to the same weights bit for bit that a run without a break would have reached.
///
/// # Errors
/// A loss that is not finite, a file that cannot be written, an environment that fails, or [`Interrupted`] after Ctrl-C, when the
/// run has been saved.
pub fn train(job: &JobConfig, dataset: Dataset, run: &RunDir, resume: bool) -> Result<(TrainSummary, EvaluationReport)> {
    match job.device {
        Device::Cpu => train_on::<Graph>(job, dataset, run, resume),
        #[cfg(feature = "vulkan")]
        Device::Vulkan => train_on::<burn::backend::Autodiff<kernels::device::Vulkan>>(job, dataset, run, resume),
        #[cfg(feature = "cuda")]
        Device::Cuda => train_on::<burn::backend::Autodiff<kernels::device::Cuda>>(job, dataset, run, resume),
        #[allow(unreachable_patterns, reason = "a build with every feature has every device")]
        missing => anyhow::bail!("device: this build has no {missing} backend"),
    }
}

/// The loop, on one backend. Policies act on the CPU, whatever they are trained on.
fn train_on<B: TrainBackend>(
    job: &JobConfig,
    dataset: Dataset,
    run: &RunDir,
    resume: bool,
) -> Result<(TrainSummary, EvaluationReport)> {
    // Data and policy.
    let description = describe(job, &dataset)?;
    let source = Arc::new(SegmentSource::new(dataset)?);
    let mut learner = Learner::<B>::new(description, &job.train, job.seed)?;
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

    // A break may have come between a checkpoint and the evaluation that belongs to it.
    let first_step = learner.progress.step;
    if evaluation_is_due(job, first_step) && !log.resumed_after(first_step, RETURN_MEAN) {
        evaluate_between(job, run, &learner, &mut log)?;
    }

    let first_cut = learner.progress.cut.clone();
    std::thread::scope(|scope| -> Result<()> {
        let (sender, batches) = crossbeam::channel::bounded::<Result<Prepared<B>>>(BATCHES_AHEAD);
        let (sampler, steps, description) = (&sampler, job.train.steps, learner.description().clone());
        scope.spawn(move || {
            let mut cut = first_cut;
            for step in first_step..steps {
                let batch = sampler.batch(step, &cut);
                cut.clone_from(&batch.cut);
                let prepared = Prepared::new(batch, &description);
                let is_last = prepared.is_err();
                if sender.send(prepared).is_err() || is_last {
                    return; // the loop below has ended early, or will
                }
            }
        });

        while learner.progress.step < job.train.steps {
            let started = Instant::now();
            let batch = batches.recv().context("the thread that prepares batches has ended")?;
            let batch = batch.with_context(|| newest_checkpoint(run))?;
            let update = learner.update_prepared(batch).with_context(|| newest_checkpoint(run))?;
            let step = learner.progress.step;
            let is_last = step == job.train.steps;
            learner.progress.add(&update, started.elapsed().as_secs_f64());
            progress.set(step);

            let logs = is_last || step.is_multiple_of(job.train.log_every);
            let is_stopped = !is_last && interrupt::requested();
            let evaluates = evaluation_is_due(job, step);
            let saves = is_last || is_stopped || evaluates || step.is_multiple_of(job.train.checkpoint_every);
            if logs || saves {
                // The one place where a graphics card is waited for; its steps are counted with the time that it took.
                let waited = Instant::now();
                learner.settle().with_context(|| newest_checkpoint(run))?;
                learner.progress.wait(waited.elapsed().as_secs_f64());
            }
            if logs {
                let interval = std::mem::take(&mut learner.progress.interval);
                let mean = |sum: f64| sum / interval.steps as f64;
                let loss = mean(interval.loss);
                log.scalars(
                    step,
                    &[
                        ("train/loss", loss),
                        ("train/gradient_norm", mean(interval.gradient_norm)),
                        ("train/learning_rate", update.learning_rate),
                        ("train/timesteps_per_second", interval.timesteps as f64 / interval.seconds),
                        ("train/step_milliseconds", 1e3 * mean(interval.seconds)),
                    ],
                )?;
                learner.progress.logged_loss = Some(loss);
                progress.message(format!("loss {}", number(loss)));
            }

            if saves {
                run.checkpoint(step, |folder| learner.save(folder)).with_context(|| newest_checkpoint(run))?;
                log.sync()?;
            }
            if is_stopped {
                return Err(anyhow::Error::new(Interrupted).context(stopped(job, run, step)));
            }
            if evaluates {
                evaluate_between(job, run, &learner, &mut log)?;
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
        final_loss: trained.logged_loss.unwrap_or(f64::NAN),
        parameters,
    };
    run.write_json("train.json", &summary)?;
    let latency = Some(evaluate::LATENCY_STEPS);
    let report = evaluate(job, run, &learner.policy(), trained.step, job.evaluation.final_episodes(), latency)?;
    run.mark_best(trained.step, report.targets[0].return_mean)?;
    if !log.resumed_after(trained.step, RETURN_MEAN) {
        log_evaluation(&mut log, trained.step, &report)?;
    }
    run.write_json("evaluation.json", &report)?;
    run.write_json("evaluation-best.json", &evaluate_best(job, run, &report)?)?;
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

fn newest_checkpoint(run: &RunDir) -> String {
    match run.latest_checkpoint() {
        Ok(Some((_, folder))) => format!("training stopped; the newest checkpoint is {}", folder.display()),
        _ => "training stopped before its first checkpoint".into(),
    }
}

fn stopped(job: &JobConfig, run: &RunDir, step: u64) -> String {
    let (steps, path) = (job.train.steps, run.path().display());
    format!("stopped at step {step} of {steps}; the run is saved, go on with `aaren train --resume --run {path}`")
}

/// Whether the policy is evaluated after a step, in the middle of training.
fn evaluation_is_due(job: &JobConfig, step: u64) -> bool {
    let every = job.evaluation.every;
    every > 0 && (1..job.train.steps).contains(&step) && step.is_multiple_of(every)
}

/// Evaluates a step whose checkpoint is there already.
fn evaluate_between<B: TrainBackend>(job: &JobConfig, run: &RunDir, learner: &Learner<B>, log: &mut Log) -> Result<()> {
    let step = learner.progress.step;
    let report = evaluate(job, run, &learner.policy(), step, job.evaluation.episodes, None)?;
    run.mark_best(step, report.targets[0].return_mean)?;
    log_evaluation(log, step, &report)
}

fn evaluate(
    job: &JobConfig,
    run: &RunDir,
    policy: &DecisionPolicy<Cpu>,
    step: u64,
    episodes: usize,
    latency_steps: Option<usize>,
) -> Result<EvaluationReport> {
    let evaluation = Evaluation {
        episodes,
        seed: envs::derive_seed(job.seed, &[seeds::EPISODES]),
        latency_steps,
        cache: CachePolicy::Full,
        stochastic: false,
    };
    evaluate::evaluate(job, &policy.clone().into(), &run.name(), step, &evaluation).with_context(|| stopped(job, run, step))
}

/// The evaluation at the end, of the checkpoint marked best; `last` itself if that is the last one.
fn evaluate_best(job: &JobConfig, run: &RunDir, last: &EvaluationReport) -> Result<EvaluationReport> {
    let Some((step, _)) = run.best().filter(|(step, _)| *step != last.checkpoint_step) else { return Ok(last.clone()) };
    let folder = run.checkpoint_at(step)?;
    let policy =
        policy::checkpoint::load::<Cpu>(&folder, &CPU).with_context(|| format!("cannot evaluate {}", folder.display()))?;
    evaluate(job, run, &policy, step, job.evaluation.final_episodes(), None)
}

/// Logs every target return under its own name, the first also under none.
fn log_evaluation(log: &mut Log, step: u64, report: &EvaluationReport) -> Result<()> {
    let mut names = Vec::new();
    for (index, target) in report.targets.iter().enumerate() {
        let folder = match target.target_return {
            Some(asked) if index > 0 => format!("evaluation_{}", number(asked)),
            _ => "evaluation".into(),
        };
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
