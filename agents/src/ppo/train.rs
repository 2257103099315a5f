//! Proximal policy optimization: the online loop, from top to bottom.

use super::{targets::targets, training::Training};
use crate::config::PpoJob;
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
    let config = &job.ppo;
    let records = observer.wants_episodes();
    let resumed = if resume { run.load_newest(|folder| Training::new(job, records)?.load(folder))? } else { None };
    let mut training = resumed.map_or_else(|| Training::new(job, records), Ok)?;
    let mut session = Session::begin(run, resume, schedule(job), observer, &training)?;
    while session.keeps_training() {
        let started = Instant::now();
        let Training { learner, envs, .. } = &mut training;

        // Collect: [time, env], every group with the policy as it is now.
        let (policy, iteration) = (learner.policy(), learner.progress.iteration);
        envs.play(&policy, iteration).with_context(|| session.newest_checkpoint())?;
        learner.progress.env_steps += config.steps_per_iteration();
        let collected = started.elapsed().as_secs_f64();

        // Targets: scale of rewards, values, advantages.
        learner.scale_rewards(envs.groups());
        let scale = &learner.progress.reward_scale;
        let of_groups: Vec<_> = envs.groups_mut().par_iter_mut().map(|group| targets(&policy, group, scale, config)).collect();
        let sequences = learner.sequences(envs.groups(), &of_groups)?;

        // Update: epochs of shuffled minibatches.
        let learning_rate = learner.learning_rate();
        let mut generator = Pcg64Mcg::seed_from_u64(derive_seed(job.seed, &[seeds::MINIBATCHES, iteration]));
        let mut indices: Vec<usize> = (0..learner.indices(&sequences)).collect();
        let mut updates = Vec::new();
        'epochs: for _ in 0..config.epochs {
            indices.shuffle(&mut generator);
            for indices in indices.chunks(indices.len() / config.minibatches) {
                let minibatch = learner.minibatch(&sequences, indices);
                let update = learner.update(&minibatch, learning_rate, config.target_kl);
                let (update, is_made) = update.with_context(|| session.newest_checkpoint())?;
                updates.push(update);
                if !is_made {
                    break 'epochs; // too far from the policy that acted
                }
            }
        }

        // The next rollout sees with what this one saw.
        learner.observe(envs.groups());
        let seconds = (collected, started.elapsed().as_secs_f64());
        let episodes = training.end_iteration(&updates, &sequences, &policy.network.log_std(), seconds);
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
        judges: Judges { evaluation: Some(Evaluation::from(job)), validation: None, data: "online".into() },
        beside: job.evaluation.beside,
        stop: job.evaluation.stop,
    }
}
