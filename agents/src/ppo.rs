//! Proximal policy optimization: the online loop, flat, from top to bottom.
//!
//! Clipped surrogate, generalised advantage estimation, actor threads, everything on the CPU. The policy is a pair of MLPs, or a
//! backbone of any mixer: then the state that each environment's policy held when the rollout began is kept, and the update
//! replays the rollout in parallel through the `forward` that acted, with its resets. Minibatches shuffle environments, never time.
//!
//! Source: Schulman et al. 2017, arXiv:1707.06347; details as listed in the README.

mod config;
pub mod gae;
mod learner;
mod rollout;
mod statistics;
mod targets;

pub use config::{Network, PpoConfig};
pub use learner::{Learner, Piece, Progress, Samples, Update};
pub use rollout::{FinishedEpisode, Group, Play, Rollout};
pub use targets::{Targets, targets};

use crate::{
    backend::{Cpu, seeds},
    config::JobConfig,
    evaluate::{self, Evaluation},
    interrupt::{self, Interrupted},
    log::{Log, Progress as Bar},
    report::{EvaluationReport, FORMAT, TrainSummary, number},
    run::RunDir,
    train::action_spec,
};
use anyhow::{Context, Result};
use burn::module::Module;
use envs::{Spec, dataset::Trajectory, derive_seed};
use policy::{ActorCriticDescription, ActorCriticPolicy, Normalizer, mixer::CachePolicy};
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;
use rollout::{StoredGroup, play_all};
use std::{fs, ops::ControlFlow, path::Path, time::Instant};

/// Normalised observations are held within plus and minus this.
const OBSERVATION_CLIP: f64 = 10.0;
/// The headline of an evaluation in the log.
const RETURN_MEAN: &str = "evaluation/return_mean";
/// The file of a checkpoint that says where every environment is.
const ENVIRONMENTS: &str = "environments.mpk";

/// Watches a training: what it plays, in order, and how it is judged. All methods have a default that does nothing.
pub trait Observer {
    /// Called once, before anything is played, with the environment steps already made: 0, or those of the checkpoint that a
    /// resumed training goes on from. Whatever an interrupted training told of later steps will be told again.
    ///
    /// # Errors
    /// Stops the training.
    fn begins(&mut self, env_steps: u64) -> Result<()> {
        let _ = env_steps;
        Ok(())
    }

    /// Whether [`Observer::episode`] wants to see episodes. Must be the same when a training is resumed.
    fn wants_episodes(&self) -> bool {
        false
    }

    /// A finished episode, with the environment steps at the end of its iteration. Episodes come in the order in which they ended.
    ///
    /// # Errors
    /// Stops the training.
    fn episode(&mut self, env_steps: u64, trajectory: Trajectory) -> Result<()> {
        let _ = (env_steps, trajectory);
        Ok(())
    }

    /// An iteration was made, after the episodes that ended in it; with their returns. Break to train no further: the training
    /// ends as if its `env_steps` were reached.
    ///
    /// # Errors
    /// Stops the training.
    fn iterated(&mut self, env_steps: u64, returns: &[f64]) -> Result<ControlFlow<()>> {
        let _ = (env_steps, returns);
        Ok(ControlFlow::Continue(()))
    }

    /// A policy was evaluated; its checkpoint is in the run folder. Break as above.
    ///
    /// # Errors
    /// Stops the training.
    fn evaluated(
        &mut self,
        env_steps: u64,
        policy: &ActorCriticPolicy<Cpu>,
        report: &EvaluationReport,
    ) -> Result<ControlFlow<()>> {
        let _ = (env_steps, policy, report);
        Ok(ControlFlow::Continue(()))
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Trains a policy online as the job says, in its run folder, and evaluates it.
///
/// Leaves what [`crate::train::train`] leaves, but steps are environment steps. With `resume`, goes on from the newest checkpoint, to
/// the same weights bit for bit that a run without a break would have reached.
///
/// # Errors
/// A loss that is not finite, a file that cannot be written, an environment that fails, an observer that does, or
/// [`Interrupted`] after Ctrl-C, when the run has been saved.
pub fn train(
    job: &JobConfig,
    run: &RunDir,
    resume: bool,
    observer: &mut dyn Observer,
) -> Result<(TrainSummary, EvaluationReport)> {
    // Task, policy, environments.
    let config = job.ppo.as_ref().context("ppo is missing: this job does not learn online")?;
    let spec = envs::make(&job.env.id, &job.env.options).context("env")?.spec().clone();
    let mut learner = Learner::new(describe(job, config, &spec)?, config, job.seed)?;
    let parameters = learner.policy().network.num_params();
    let (rollout_len, time_limit, record) = (config.rollout_len, spec.max_episode_steps, observer.wants_episodes());
    let play = |iteration| Play { seed: job.seed, iteration, rollout_len, time_limit, record };
    let make = || envs::make(&job.env.id, &job.env.options);
    let groups = (0..config.groups())
        .map(|group| Group::new(&make, &learner.policy(), group * config.envs_per_group, config.envs_per_group, &play(0)));
    let mut groups = groups.collect::<Result<Vec<_>>>().context("env")?;
    let checkpoint = if resume { run.latest_checkpoint()? } else { None };
    if let Some((_, folder)) = &checkpoint {
        learner = learner.load(folder).context("cannot resume")?;
        load_groups(&mut groups, &learner.policy(), folder).context("cannot resume")?;
    }
    observer.begins(learner.progress.env_steps)?;

    // Log.
    let mut log = Log::open(run, resume.then_some(learner.progress.env_steps))?;
    let bar = Bar::new(config.iterations() * config.steps_per_iteration(), "training");
    bar.set(learner.progress.env_steps);

    // A break may have come between a checkpoint and the evaluation that belongs to it.
    let mut goes_on = true;
    let first_step = learner.progress.env_steps;
    if evaluation_is_due(job, config, first_step) && !log.resumed_after(first_step, RETURN_MEAN) {
        goes_on = evaluate_between(job, run, &learner, &mut log, observer)?.is_continue();
    }

    while goes_on && learner.progress.iteration < config.iterations() {
        let started = Instant::now();
        let iteration = learner.progress.iteration;

        // Collect: [time, env], every group with the policy as it is now.
        let policy = learner.policy();
        play_all(&mut groups, &policy, &play(iteration), config.actors, &spec).with_context(|| newest_checkpoint(run))?;
        let collected = started.elapsed().as_secs_f64();
        learner.progress.env_steps += config.steps_per_iteration();
        let env_steps = learner.progress.env_steps;

        // Targets: scale of rewards, values, advantages.
        for (env, rollout) in groups.iter().flat_map(Group::rollouts).enumerate() {
            learner.progress.reward_scale.add(env, rollout, config.gamma);
        }
        let scale = &learner.progress.reward_scale;
        let targets: Vec<Vec<Targets>> = groups.par_iter_mut().map(|group| targets(&policy, group, scale, config)).collect();
        let pieces = learner.pieces(&groups, &targets)?;

        // Update: epochs of shuffled minibatches.
        let learning_rate = learner.learning_rate();
        let mut generator = Pcg64Mcg::seed_from_u64(derive_seed(job.seed, &[seeds::MINIBATCHES, iteration]));
        let mut units: Vec<usize> = (0..learner.units(&pieces)).collect();
        let mut updates = Vec::new();
        'epochs: for _ in 0..config.epochs {
            units.shuffle(&mut generator);
            for units in units.chunks(units.len() / config.minibatches) {
                let minibatch = learner.minibatch(&pieces, units);
                let update = learner.update(&minibatch, learning_rate, config.target_kl);
                let (update, is_made) = update.with_context(|| newest_checkpoint(run))?;
                updates.push(update);
                if !is_made {
                    break 'epochs; // too far from the policy that acted
                }
            }
        }

        // The next rollout sees with what this one saw.
        if config.normalise_observations {
            learner.observe(groups.iter().flat_map(Group::rollouts).map(|rollout| &rollout.raw_observations[..]));
        }
        let mut episodes: Vec<_> = groups.iter_mut().flat_map(Group::take_episodes).collect();
        episodes.sort_by_key(|(timestep, env, _)| (*timestep, *env));
        let seconds = started.elapsed().as_secs_f64();
        learner.progress.iteration += 1;
        learner.progress.seconds += seconds;
        learner.progress.loss = Some(updates.iter().map(|update| update.loss).sum::<f64>() / updates.len() as f64);

        // Log.
        bar.set(env_steps);
        let mut recent = Recent::default();
        for (_, _, episode) in episodes {
            recent.add(&episode);
            if let Some(trajectory) = episode.trajectory {
                observer.episode(env_steps, trajectory)?;
            }
        }
        goes_on = observer.iterated(env_steps, &recent.returns)?.is_continue();
        let is_last = !goes_on || learner.progress.iteration == config.iterations();
        let mean = |of: fn(&Update) -> f64| updates.iter().map(of).sum::<f64>() / updates.len() as f64;
        let stds = policy.network.log_std();
        let mut scalars = recent.scalars();
        scalars.extend([
            ("train/policy_loss", mean(|update| update.policy_loss)),
            ("train/value_loss", mean(|update| update.value_loss)),
            ("train/entropy", mean(|update| update.entropy)),
            ("train/approx_kl", mean(|update| update.approx_kl)),
            ("train/clip_fraction", mean(|update| update.clip_fraction)),
            ("train/first_ratio_distance", updates[0].ratio_distance),
            ("train/gradient_norm", mean(|update| update.gradient_norm)),
            ("train/explained_variance", pieces_explained_variance(&pieces)),
            ("train/learning_rate", learning_rate),
            ("train/updates", learner.progress.updates as f64),
            ("time/collect_seconds", collected),
            ("time/update_seconds", seconds - collected),
            ("time/env_steps_per_second", config.steps_per_iteration() as f64 / seconds),
        ]);
        if !stds.is_empty() {
            scalars.push(("train/std", stds.iter().map(|&x| f64::from(x).exp()).sum::<f64>() / stds.len() as f64));
        }
        log.scalars(env_steps, &scalars)?;
        bar.message(recent.message());

        // Checkpoint, evaluate.
        let is_stopped = !is_last && interrupt::requested();
        let evaluates = !is_last && evaluation_is_due(job, config, env_steps);
        if is_last || is_stopped || evaluates || is_due(config.checkpoint_every, config, env_steps) {
            let fill = |folder: &Path| learner.save(folder).and_then(|()| save_groups(&mut groups, folder));
            run.checkpoint(env_steps, fill).with_context(|| newest_checkpoint(run))?;
            log.sync()?;
        }
        if is_stopped {
            return Err(anyhow::Error::new(Interrupted).context(stopped(config, run, env_steps)));
        }
        if evaluates {
            goes_on = evaluate_between(job, run, &learner, &mut log, observer)?.is_continue();
        }
    }
    bar.finish();

    // Summary, and the evaluation that counts.
    let trained = &learner.progress;
    let summary = TrainSummary {
        format: FORMAT,
        steps: trained.updates,
        timesteps: trained.env_steps,
        wall_seconds: trained.seconds,
        timesteps_per_second: trained.env_steps as f64 / trained.seconds.max(f64::MIN_POSITIVE),
        final_loss: trained.loss.unwrap_or(f64::NAN),
        parameters,
    };
    run.write_json("train.json", &summary)?;
    let latency = Some(evaluate::LATENCY_STEPS);
    let policy = learner.policy();
    let report = evaluate(job, run, &policy, trained.env_steps, job.evaluation.final_episodes(), latency)?;
    run.mark_best(trained.env_steps, report.targets[0].return_mean)?;
    if !log.resumed_after(trained.env_steps, RETURN_MEAN) {
        log_evaluation(&mut log, trained.env_steps, &report)?;
        // The training is at its end whatever the observer says.
        let _ = observer.evaluated(trained.env_steps, &policy, &report)?;
    }
    run.write_json("evaluation.json", &report)?;
    log.sync()?;
    Ok((summary, report))
}

/// What a policy for a job's task is, before it has seen anything.
///
/// # Errors
/// If no policy can act in the task's action space.
pub fn describe(job: &JobConfig, config: &PpoConfig, spec: &Spec) -> Result<ActorCriticDescription> {
    let description = ActorCriticDescription {
        format: ActorCriticDescription::FORMAT,
        network: config.network(&job.policy),
        normalizer: Normalizer::identity(spec.observation_space.width()),
        observation_clip: if config.normalise_observations { OBSERVATION_CLIP } else { f64::MAX },
        action: action_spec(&spec.action_space),
        environment: serde_json::json!({ "id": job.env.id, "options": job.env.options, "spec": spec }),
    };
    description.check()?;
    Ok(description)
}

/// Episodes of an iteration.
#[derive(Default)]
struct Recent {
    returns: Vec<f64>,
    lengths: Vec<f64>,
}

impl Recent {
    fn add(&mut self, episode: &FinishedEpisode) {
        self.returns.push(episode.episode_return);
        self.lengths.push(episode.length as f64);
    }

    fn mean(numbers: &[f64]) -> f64 {
        numbers.iter().sum::<f64>() / numbers.len() as f64
    }

    /// Nothing where no episode ended.
    fn scalars(&self) -> Vec<(&'static str, f64)> {
        if self.returns.is_empty() {
            return Vec::new();
        }
        vec![
            ("rollout/return_mean", Self::mean(&self.returns)),
            ("rollout/length_mean", Self::mean(&self.lengths)),
            ("rollout/episodes", self.returns.len() as f64),
        ]
    }

    fn message(&self) -> String {
        if self.returns.is_empty() { String::new() } else { format!("return {}", number(Self::mean(&self.returns))) }
    }
}

fn pieces_explained_variance(pieces: &[Piece]) -> f64 {
    pieces.iter().map(|piece| piece.samples.explained_variance()).sum::<f64>() / pieces.len() as f64
}

/// Whether an iteration that ends at `env_steps` is the first to reach a multiple of `every`.
fn is_due(every: u64, config: &PpoConfig, env_steps: u64) -> bool {
    env_steps / every > env_steps.saturating_sub(config.steps_per_iteration()) / every
}

/// Whether the policy is evaluated after a step, in the middle of training.
fn evaluation_is_due(job: &JobConfig, config: &PpoConfig, env_steps: u64) -> bool {
    let every = job.evaluation.every;
    let total = config.iterations() * config.steps_per_iteration();
    every > 0 && (1..total).contains(&env_steps) && is_due(every, config, env_steps)
}

fn save_groups(groups: &mut [Group], folder: &Path) -> Result<()> {
    let stored = groups.iter_mut().map(Group::store).collect::<Result<Vec<_>>>()?;
    let path = folder.join(ENVIRONMENTS);
    fs::write(&path, rmp_serde::to_vec(&stored)?).with_context(|| format!("cannot write {}", path.display()))
}

fn load_groups(groups: &mut [Group], policy: &ActorCriticPolicy<Cpu>, folder: &Path) -> Result<()> {
    let path = folder.join(ENVIRONMENTS);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let stored: Vec<StoredGroup> =
        rmp_serde::from_slice(&bytes).with_context(|| format!("{}: not the states of environments", path.display()))?;
    anyhow::ensure!(
        stored.len() == groups.len(),
        "{}: {} groups of environments, expected {}",
        path.display(),
        stored.len(),
        groups.len()
    );
    let restored = groups.iter_mut().zip(stored).try_for_each(|(group, stored)| group.restore(stored, policy));
    restored.with_context(|| path.display().to_string())
}

fn newest_checkpoint(run: &RunDir) -> String {
    match run.latest_checkpoint() {
        Ok(Some((_, folder))) => format!("training stopped; the newest checkpoint is {}", folder.display()),
        _ => "training stopped before its first checkpoint".into(),
    }
}

fn stopped(config: &PpoConfig, run: &RunDir, env_steps: u64) -> String {
    let (total, path) = (config.iterations() * config.steps_per_iteration(), run.path().display());
    format!("stopped at step {env_steps} of {total}; the run is saved, go on with `aaren train --resume --run {path}`")
}

/// Evaluates a step whose checkpoint is there already.
fn evaluate_between(
    job: &JobConfig,
    run: &RunDir,
    learner: &Learner,
    log: &mut Log,
    observer: &mut dyn Observer,
) -> Result<ControlFlow<()>> {
    let (env_steps, policy) = (learner.progress.env_steps, learner.policy());
    let report = evaluate(job, run, &policy, env_steps, job.evaluation.episodes, None)?;
    run.mark_best(env_steps, report.targets[0].return_mean)?;
    log_evaluation(log, env_steps, &report)?;
    observer.evaluated(env_steps, &policy, &report)
}

fn evaluate(
    job: &JobConfig,
    run: &RunDir,
    policy: &ActorCriticPolicy<Cpu>,
    env_steps: u64,
    episodes: usize,
    latency_steps: Option<usize>,
) -> Result<EvaluationReport> {
    let seed = derive_seed(job.seed, &[seeds::EPISODES]);
    let evaluation = Evaluation { episodes, seed, latency_steps, cache: CachePolicy::Full, stochastic: false };
    let policy = policy.clone().into();
    evaluate::evaluate(job, &policy, &run.name(), env_steps, &evaluation).with_context(|| newest_checkpoint(run))
}

fn log_evaluation(log: &mut Log, env_steps: u64, report: &EvaluationReport) -> Result<()> {
    let target = &report.targets[0];
    let mut scalars = vec![
        (RETURN_MEAN, target.return_mean),
        ("evaluation/return_std", target.return_std),
        ("evaluation/length_mean", target.length_mean),
        ("evaluation/env_steps_per_second", report.env_steps_per_second),
    ];
    scalars.extend(target.normalised_score.map(|score| ("evaluation/normalised_score", score)));
    log.scalars(env_steps, &scalars)
}
