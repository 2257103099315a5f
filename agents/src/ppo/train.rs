//! Proximal policy optimization: the online loop, from top to bottom.

use super::{targets::targets, training::Training};
use crate::config::PpoJob;
use crate::exchange::{Ranks, SharedRun};
use crate::play::evaluate::Evaluation;
use crate::run::RunDir;
use crate::run::report::{EvaluationReport, TrainSummary};
use crate::seeds;
use crate::session::{Judges, Observer, Schedule, Session};
use aaren_envs::derive_seed;
use anyhow::{Context, Result};
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;
use std::time::Instant;

/// Trains a policy online as the job says, in its run folder, and evaluates it.
///
/// Leaves what [`crate::offline::train`] leaves; steps are environment steps. With `resume`, continues from the newest checkpoint, to
/// the same weights bit for bit that a run without a break would have reached.
///
/// # Errors
/// A loss that is not finite, a file that cannot be written, an environment that fails, an observer that does, or
/// [`Interrupted`](crate::run::interrupt::Interrupted) after Ctrl-C, when the run has been saved.
pub fn train(job: &PpoJob, run: &RunDir, resume: bool, observer: &mut dyn Observer) -> Result<(TrainSummary, EvaluationReport)> {
    train_together(job, SharedRun::new(Some(run), &Ranks::alone()), resume, observer)
}

/// The same on all ranks of a run: each plays some groups of environments, all get all rollouts, and each works on some of the shards of
/// every minibatch (`ppo.shards`). Every number of ranks that divides it reaches the same weights bit for bit.
///
/// Source: Wijmans et al. 2020, arXiv:1911.00357, without their preemption of slow ranks.
///
/// # Errors
/// As [`train`]; or a rank that has other weights, or does not come.
pub fn train_together(
    job: &PpoJob,
    run: SharedRun<'_>,
    resume: bool,
    observer: &mut dyn Observer,
) -> Result<(TrainSummary, EvaluationReport)> {
    let (config, ranks) = (&job.ppo, run.ranks());
    let new = || Training::new(job, observer.wants_episodes(), ranks);
    let resumed = if resume { run.load_newest(|folder| new()?.load(folder))? } else { None };
    let mut training = resumed.map_or_else(new, Ok)?;
    let mut session = Session::begin(run, resume, schedule(job), observer, &training)?;
    while session.keeps_training() {
        let started = Instant::now();

        // Collect: [time, env], every group with the policy as it is now.
        let policy = training.learner.policy();
        let rollouts = training.play(&policy, ranks).with_context(|| session.newest_checkpoint())?;
        let Training { learner, .. } = &mut training;
        let iteration = learner.progress.iteration;
        learner.progress.env_steps += config.steps_per_iteration();
        let collected = started.elapsed().as_secs_f64();

        // Targets: scale of rewards, values, advantages.
        learner.scale_rewards(&rollouts);
        let scale = &learner.progress.reward_scale;
        let of_groups: Vec<_> = rollouts.par_iter().map(|group| targets(&policy, group, scale, config)).collect();
        let sequences = learner.sequences(&rollouts, &of_groups)?;

        // Update: epochs of shuffled minibatches.
        let learning_rate = learner.learning_rate();
        let mut generator = Pcg64Mcg::seed_from_u64(derive_seed(job.seed, &[seeds::MINIBATCHES, iteration]));
        let mut indices: Vec<usize> = (0..learner.indices(&sequences)).collect();
        let mut updates = Vec::new();
        'epochs: for _ in 0..config.epochs {
            indices.shuffle(&mut generator);
            for indices in indices.chunks(indices.len() / config.minibatches) {
                let minibatch = learner.minibatch(&sequences, indices);
                let update = learner.update(&minibatch, learning_rate, config.target_kl, ranks);
                let (update, is_made) = update.with_context(|| session.newest_checkpoint())?;
                updates.push(update);
                if !is_made {
                    break 'epochs; // too far from the policy that acted
                }
            }
        }

        // The next rollout sees with what this one saw.
        learner.observe(&rollouts);
        let seconds = (collected, started.elapsed().as_secs_f64());
        let episodes = training.end_iteration(&updates, rollouts, &sequences, &policy.network.log_std(), seconds);
        session.played(training.learner.progress.env_steps, &episodes.returns, episodes.trajectories)?;
        session.end_step(&mut training)?;
    }
    session.finish(&training)
}

/// Steps are environment steps.
fn schedule(job: &PpoJob) -> Schedule {
    let stride = job.ppo.steps_per_iteration();
    Schedule {
        steps: job.ppo.iterations() * stride,
        stride,
        log_every: stride,
        checkpoint_every: job.ppo.checkpoint_every,
        evaluate_every: job.evaluation.every,
        episodes: job.evaluation.episodes,
        judges: Judges { evaluation: Some(Evaluation::from(job)), validation: None, is_final: true, data: "online".into() },
        beside: job.evaluation.beside,
        stop: job.evaluation.stop,
    }
}
