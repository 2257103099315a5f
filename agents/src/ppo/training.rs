//! What an online training consists of: the learner, its environments, and the metrics of an iteration.

use super::learner::{Learner, Update};
use super::transitions::Sequences;
use crate::config::PpoJob;
use crate::device::Cpu;
use crate::exchange::Ranks;
use crate::play::env_groups::EnvGroups;
use crate::play::group_rollout::GroupRollout;
use crate::play::spaces::action_spec;
use crate::run::report::{FORMAT, TrainSummary, number};
use crate::session::Trained;
use aaren_data::Trajectory;
use aaren_envs::Spec;
use aaren_policy::{ActorCriticDescription, ActorCriticPolicy, AnyPolicy, Model, Normalizer};
use anyhow::{Context, Result, ensure};
use burn::module::Module;
use std::path::Path;

/// Normalized observations are clipped to plus and minus this.
const OBSERVATION_CLIP: f64 = 10.0;

/// What a policy for a job's task is, before it has seen anything.
///
/// # Errors
/// If no policy can act in the task's action space.
pub fn describe(job: &PpoJob, spec: &Spec) -> Result<ActorCriticDescription> {
    let description = ActorCriticDescription {
        format: ActorCriticDescription::FORMAT,
        network: job.into(),
        normalizer: Normalizer::identity(spec.observation_space.width()),
        observation_clip: if job.ppo.normalise_observations { OBSERVATION_CLIP } else { f64::MAX },
        inputs: job.ppo.inputs,
        action: action_spec(&spec.action_space),
        environment: serde_json::json!({ "id": job.env.id, "options": job.env.options, "spec": spec }),
    };
    description.check()?;
    Ok(description)
}

/// The learner and its environments.
pub(super) struct Training {
    pub(super) learner: Learner,
    pub(super) envs: EnvGroups,
    /// Of the last iteration.
    metrics: Vec<(&'static str, f64)>,
    message: String,
}

/// What an iteration's episodes gave, in order.
#[derive(Default)]
pub(super) struct Episodes {
    pub(super) returns: Vec<f64>,
    lengths: Vec<f64>,
    pub(super) trajectories: Vec<Trajectory>,
}

impl Training {
    /// A training that has not begun.
    ///
    /// - `record`: whether episodes are kept whole
    pub(super) fn new(job: &PpoJob, record: bool, ranks: &Ranks) -> Result<Self> {
        Self::with(job, record, ranks, Ok)
    }

    /// A training whose learner is changed before it begins.
    pub(super) fn with(
        job: &PpoJob,
        record: bool,
        ranks: &Ranks,
        change: impl FnOnce(Learner) -> Result<Learner>,
    ) -> Result<Self> {
        ensure!(
            !record || ranks.size() == 1,
            "episodes that are kept whole stay with the process that played them: train in one"
        );
        let make = || aaren_envs::make(&job.env.id, &job.env.options);
        let learner = change(Learner::new(describe(job, make().context("env")?.spec())?, &job.ppo, job.seed)?)?;
        let learner = learner.of_shards(ranks.shards(job.ppo.shards, "ppo.shards")?);
        let (rank, size, groups) = (ranks.rank(), ranks.size(), job.ppo.groups());
        let own = rank * groups / size..(rank + 1) * groups / size;
        let envs = EnvGroups::new(&make, &learner.policy(), &job.ppo, own, job.seed, record).context("env")?;
        Ok(Self { learner, envs, metrics: Vec::new(), message: String::new() })
    }

    /// Continues from a checkpoint.
    pub(super) fn load(mut self, folder: &Path) -> Result<Self> {
        self.learner = self.learner.load(folder)?;
        self.envs.load(folder, &self.learner.policy())?;
        Ok(self)
    }

    /// Plays a rollout in every environment of all ranks; gives what all of them gave, in order of their groups.
    ///
    /// # Errors
    /// The first group's that failed here, by its number; or a rank that does not come.
    pub(super) fn play(&mut self, policy: &ActorCriticPolicy<Cpu>, ranks: &Ranks) -> Result<Vec<GroupRollout>> {
        self.envs.play(policy, self.learner.progress.iteration)?;
        let own = self.envs.take_rollouts();
        if ranks.size() == 1 {
            return Ok(own);
        }
        let all = ranks
            .gather(GroupRollout::write(&own)?)
            .with_context(|| format!("sharing the rollouts after step {}", self.learner.progress.env_steps))?;
        Ok(all.iter().map(|bytes| GroupRollout::read(bytes, policy)).collect::<Result<Vec<_>>>()?.concat())
    }

    /// Counts an iteration, whose episodes are taken from the rollouts.
    ///
    /// - `log_std`: of the policy that acted, for continuous actions
    /// - `seconds`: of the rollout, and of the whole iteration
    pub(super) fn end_iteration(
        &mut self,
        updates: &[Update],
        mut rollouts: Vec<GroupRollout>,
        sequences: &[Sequences],
        log_std: &[f32],
        seconds: (f64, f64),
    ) -> Episodes {
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
        let over = |of: fn(&Update) -> f64| updates.iter().map(of).sum::<f64>() / updates.len() as f64;
        let (mut episodes, mut diverged) = (Episodes::default(), 0);
        for episode in GroupRollout::take_episodes(&mut rollouts) {
            episodes.returns.push(episode.episode_return);
            episodes.lengths.push(episode.length as f64);
            diverged += u64::from(episode.diverged);
            episodes.trajectories.extend(episode.trajectory);
        }
        self.learner.progress.diverged += diverged;
        let (collect, total) = seconds;
        let learning_rate = self.learner.learning_rate();
        let steps = self.learner.end_iteration(over(|update| update.loss), total);
        let explained = sequences.iter().map(|sequence| sequence.transitions.explained_variance()).collect::<Vec<_>>();
        let mut metrics = Vec::new();
        self.message.clear();
        if !episodes.returns.is_empty() {
            let return_mean = mean(&episodes.returns);
            self.message = format!("return {}", number(return_mean));
            metrics.extend([
                ("rollout/return_mean", return_mean),
                ("rollout/length_mean", mean(&episodes.lengths)),
                ("rollout/episodes", episodes.returns.len() as f64),
            ]);
        }
        if diverged > 0 {
            metrics.push(("rollout/diverged", diverged as f64));
        }
        metrics.extend([
            ("train/policy_loss", over(|update| update.policy_loss)),
            ("train/value_loss", over(|update| update.value_loss)),
            ("train/entropy", over(|update| update.entropy)),
            ("train/approx_kl", over(|update| update.approx_kl)),
            ("train/clip_fraction", over(|update| update.clip_fraction)),
            ("train/first_ratio_distance", updates.first().map_or(0.0, |update| update.ratio_distance)),
            ("train/gradient_norm", over(|update| update.gradient_norm)),
            ("train/explained_variance", mean(&explained)),
            ("train/learning_rate", learning_rate),
            ("train/updates", self.learner.progress.updates as f64),
            ("time/collect_seconds", collect),
            ("time/update_seconds", total - collect),
            ("time/env_steps_per_second", steps as f64 / total),
        ]);
        if !log_std.is_empty() {
            metrics.push(("train/std", mean(&log_std.iter().map(|&x| f64::from(x).exp()).collect::<Vec<_>>())));
        }
        self.metrics = metrics;
        episodes
    }
}

impl Trained for Training {
    fn step(&self) -> u64 {
        self.learner.progress.env_steps
    }

    fn metrics(&mut self) -> (Vec<(&'static str, f64)>, String) {
        (std::mem::take(&mut self.metrics), self.message.clone())
    }

    fn policy(&self) -> Model<Cpu> {
        AnyPolicy::from(self.learner.averaged_policy().unwrap_or_else(|| self.learner.policy())).into()
    }

    fn last_policy(&self) -> Option<Model<Cpu>> {
        self.learner.averaged_policy().map(|_| AnyPolicy::from(self.learner.policy()).into())
    }

    fn share(&mut self) -> Result<Vec<u8>> {
        self.envs.share()
    }

    fn save(&mut self, folder: &Path, shares: &[Vec<u8>]) -> Result<()> {
        self.learner.save(folder).and_then(|()| EnvGroups::save(folder, shares))
    }

    fn checksum(&self) -> u32 {
        self.learner.checksum()
    }

    fn summary(&self) -> TrainSummary {
        let progress = &self.learner.progress;
        TrainSummary {
            format: FORMAT,
            steps: progress.updates,
            timesteps: progress.env_steps,
            wall_seconds: progress.seconds,
            timesteps_per_second: progress.env_steps as f64 / progress.seconds.max(f64::MIN_POSITIVE),
            final_loss: progress.loss.unwrap_or(f64::NAN),
            parameters: self.learner.policy().network.num_params(),
            diverged: progress.diverged,
        }
    }
}
