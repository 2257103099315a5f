//! The learner: weights, optimizer, and the update of one minibatch.

mod losses;

use super::minibatch::{Minibatch, moments};
use super::normalize::{Moments, RewardScale};
use super::targets::Targets;
use super::transitions::{Sequences, Transitions};
use crate::config::PpoConfig;
use crate::device::{CPU, Cpu, Graph};
use crate::exchange::{Ranks, Shards, Tree};
use crate::optim::AdamW;
use crate::optim::average::average;
use crate::optim::flat::{flatten, unflatten};
use crate::optim::gradient::{Clipping, checksum, is_finite};
use crate::play::group_rollout::GroupRollout;
use crate::run::{is_of_step, write_new};
use crate::seeds;
use crate::session::{LAST, save_last};
use aaren_envs::{derive_seed, read_text};
use aaren_policy::transfer::transfer_weights;
use aaren_policy::{ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy, AnyPolicy, checkpoint};
use anyhow::{Context, Result, ensure};
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder};
pub(crate) use losses::Update;
use losses::losses;
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

type Network = ActorCriticNetwork<Graph>;

/// As published for PPO; larger than Adam's own.
const ADAM_EPSILON: f64 = 1e-5;

/// More optimizer steps than any training makes.
const MOST_UPDATES: u64 = 1 << 60;

const OPTIMIZER: &str = "optimizer";
const PROGRESS: &str = "progress.json";

/// How far a training has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Rollouts made, each with its update.
    pub iteration: u64,
    /// Environment steps, over all environments together.
    pub env_steps: u64,
    /// Optimizer steps.
    pub updates: u64,
    /// Seconds spent training, evaluations left out.
    pub seconds: f64,
    /// Mean loss of the last iteration.
    pub loss: Option<f64>,
    /// Of the observations seen.
    pub observations: Moments,
    /// Of the rewards.
    pub reward_scale: RewardScale,
    /// Episodes that a diverged simulation ended.
    #[serde(default)]
    pub diverged: u64,
}

/// Weights, optimizer, and where the training is.
pub(crate) struct Learner {
    network: Network,
    /// The average of the network's weights, where the job wants one.
    average: Option<Network>,
    optimizer: AdamW<Graph, Network>,
    description: ActorCriticDescription,
    config: PpoConfig,
    seed: u64,
    /// The parts of a minibatch, and those that this learner works on.
    shards: Shards,
    /// How far the training has come.
    pub progress: Progress,
}

impl Learner {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not check, or means of actions are to be perturbed and there are none.
    pub(crate) fn new(description: ActorCriticDescription, config: &PpoConfig, seed: u64) -> Result<Self> {
        ensure!(
            config.rpo_alpha == 0.0 || !description.action.is_discrete(),
            "ppo.rpo_alpha: found {}, and actions that are choices have no mean; leave it out",
            config.rpo_alpha
        );
        let network = Network::new(&description, config.initial_log_std, derive_seed(seed, &[seeds::WEIGHTS]), &CPU)?;
        let progress = Progress {
            iteration: 0,
            env_steps: 0,
            updates: 0,
            seconds: 0.0,
            loss: None,
            observations: Moments::new(description.normalizer.width()),
            reward_scale: RewardScale::new(config.envs),
            diverged: 0,
        };
        let optimizer = AdamW::new(ADAM_EPSILON, 0.0, Vec::new());
        let average = config.ema.map(|_| network.clone());
        Ok(Self {
            network,
            average,
            optimizer,
            description,
            config: config.clone(),
            seed,
            shards: Shards::all(config.shards),
            progress,
        })
    }

    /// One of several learners, of which each works on some of the shards of a minibatch.
    pub(crate) fn of_shards(self, shards: Shards) -> Self {
        Self { shards, ..self }
    }

    /// With the weights of a policy in place of drawn ones: all of an actor-critic's, with the normalization that they know, or the
    /// backbone of a decision policy.
    ///
    /// # Errors
    /// Names the parameters that do not fit.
    pub(crate) fn begin_from(mut self, from: AnyPolicy<Graph>) -> Result<Self> {
        match from {
            AnyPolicy::ActorCritic(from) => {
                let (found, expected) = (from.description.inputs, self.description.inputs);
                ensure!(
                    found == expected,
                    "ppo.inputs: found {}, and the policy is shown {}; set ppo.inputs to that",
                    serde_json::json!(expected),
                    serde_json::json!(found)
                );
                self.network = transfer_weights(&from.network, self.network)?.0;
                self.description.normalizer = from.description.normalizer;
                let seen = self.config.steps_per_iteration();
                self.progress.observations = Moments::of_normalizer(&self.description.normalizer, seen);
            }
            AnyPolicy::Decision(from) => {
                let backbone = from.network.backbone();
                let moved = self.network.map_backbone(|own| transfer_weights(backbone, own))?;
                let mlp = "the job's policy is an MLP, which has no backbone; set ppo.network to \"recurrent\"";
                self.network = moved.context(mlp)?.0;
            }
        }
        self.average = self.average.map(|_| self.network.clone());
        Ok(self)
    }

    /// The policy as it is now, that plays the rollouts.
    pub(crate) fn policy(&self) -> ActorCriticPolicy<Cpu> {
        ActorCriticPolicy { network: self.network.valid(), description: self.description.clone() }
    }

    /// The policy of the averaged weights, where there are some.
    pub(crate) fn averaged_policy(&self) -> Option<ActorCriticPolicy<Cpu>> {
        let network = self.average.as_ref()?.valid();
        Some(ActorCriticPolicy { network, description: self.description.clone() })
    }

    /// Takes a rollout's rewards into the scale of rewards.
    pub(crate) fn scale_rewards(&mut self, groups: &[GroupRollout]) {
        for (env, rollout) in groups.iter().flat_map(|group| &group.rollouts).enumerate() {
            self.progress.reward_scale.add(env, rollout, self.config.gamma);
        }
    }

    /// Takes the observations of a rollout into the normalization of the next one, where the job wants one.
    pub(crate) fn observe(&mut self, groups: &[GroupRollout]) {
        if !self.config.normalise_observations {
            return;
        }
        let rollouts = groups.iter().flat_map(|group| &group.rollouts);
        rollouts.for_each(|rollout| self.progress.observations.add(&rollout.raw_observations));
        self.description.normalizer = self.progress.observations.normalizer();
    }

    /// Counts an iteration; gives the environment steps that it made.
    ///
    /// - `loss`: the mean over its updates
    pub(crate) fn end_iteration(&mut self, loss: f64, seconds: f64) -> u64 {
        self.progress.iteration += 1;
        self.progress.seconds += seconds;
        self.progress.loss = Some(loss);
        self.config.steps_per_iteration()
    }

    /// The learning rate of this iteration.
    pub(crate) fn learning_rate(&self) -> f64 {
        self.config.learning_rate(self.progress.iteration)
    }

    /// The parts that an epoch's minibatches are drawn from: for MLPs all timesteps together, for recurrent policies a group each.
    ///
    /// # Errors
    /// If a state cannot be moved into the graph.
    pub(crate) fn sequences(&self, groups: &[GroupRollout], targets: &[Vec<Targets>]) -> Result<Vec<Sequences>> {
        let sequence = |groups: &[GroupRollout], targets: &[Vec<Targets>]| -> Result<Sequences> {
            let mut transitions = Transitions::default();
            groups.iter().zip(targets).for_each(|(group, targets)| transitions.push(group, targets));
            let rows = groups.iter().map(|group| group.rollouts.len()).sum();
            let state = self.network.restore_state(groups[0].first_state.to_records(), &CPU)?;
            Ok(Sequences { transitions, rows, state })
        };
        match self.network.is_recurrent() {
            true => (0..groups.len()).map(|i| sequence(&groups[i..=i], &targets[i..=i])).collect(),
            false => Ok(vec![sequence(groups, targets)?]),
        }
    }

    /// The minibatch of some indices: of timesteps for MLPs, of groups of environments for recurrent policies, whose time is never
    /// shuffled. Only the shards that this learner works on are put together.
    pub(crate) fn minibatch(&self, sequences: &[Sequences], indices: &[usize]) -> Minibatch {
        let of = |index: usize| match self.network.is_recurrent() {
            true => &sequences[index].transitions.advantages[..],
            false => &sequences[0].transitions.advantages[index..=index],
        };
        let part = |indices: &[usize]| match self.network.is_recurrent() {
            true => indices.iter().map(|&index| sequences[index].clone()).collect(),
            false => {
                let transitions = sequences[0].transitions.select(indices);
                vec![Sequences { rows: transitions.len(), transitions, state: sequences[0].state.clone() }]
            }
        };
        let parts = self.shards.own_of(indices).map(|(_, indices)| part(indices)).collect();
        let advantages = self.config.normalise_advantages.then(|| moments(indices.iter().flat_map(|&index| of(index)).copied()));
        Minibatch { parts, advantages }
    }

    /// How many indices an epoch shuffles and splits into minibatches.
    pub(crate) fn indices(&self, sequences: &[Sequences]) -> usize {
        if self.network.is_recurrent() { sequences.len() } else { sequences[0].transitions.len() }
    }

    /// Sequences of zeros, each a new episode: what a step costs does not depend on the numbers.
    pub(crate) fn blank(&self, rows: usize, timesteps: usize) -> Sequences {
        let zeros = |width: usize| vec![0.0; timesteps * width];
        let transitions = Transitions {
            inputs: zeros(self.description.input_width()),
            resets: (0..timesteps).map(|t| t % (timesteps / rows) == 0).collect(),
            raw_actions: zeros(self.description.action.width()),
            log_probs: zeros(1),
            advantages: zeros(1),
            values: zeros(1),
            value_targets: zeros(1),
        };
        Sequences { transitions, rows, state: self.network.initial_state(rows, &CPU) }
    }

    /// One optimizer step, on all ranks. With `most_kl`, none is made once the policy is further than that from the one that acted.
    ///
    /// # Errors
    /// If the loss or the gradient is not finite, on all ranks; the weights are as before then. Or a rank that does not come.
    pub(crate) fn update(
        &mut self,
        minibatch: &Minibatch,
        learning_rate: f64,
        most_kl: Option<f64>,
        ranks: &Ranks,
    ) -> Result<(Update, bool)> {
        let at = self.progress.env_steps;
        let is_made = |update: &Update| -> Result<bool> {
            ensure!(update.loss.is_finite(), "the loss is {} at step {at}; lower ppo.learning_rate", update.loss);
            Ok(most_kl.is_none_or(|most| update.approx_kl <= most))
        };
        let (mut update, gradients) = match self.shards.count {
            1 => {
                let (loss, update) =
                    losses(&self.network, &self.config, &minibatch.parts[0], minibatch.advantages, self.perturbation(0))?;
                let gradients = || GradientsParams::from_grads(loss.backward(), &self.network);
                (update, is_made(&update)?.then(gradients))
            }
            _ => {
                let (update, gradients) = self.in_shards(minibatch, ranks)?;
                (update, is_made(&update)?.then_some(gradients))
            }
        };
        let Some(gradients) = gradients else { return Ok((update, false)) };
        let clipping = Clipping::new(&self.network, &gradients, self.config.gradient_clip);
        update.gradient_norm = clipping.norm();
        ensure!(
            update.gradient_norm.is_finite(),
            "the gradient's norm is {} at step {at}; lower ppo.learning_rate",
            update.gradient_norm
        );
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients, clipping.factor);
        self.progress.updates += 1;
        if let (Some(decay), Some(so_far)) = (self.config.ema, self.average.take()) {
            self.average = Some(average(so_far, &self.network, decay, self.progress.updates));
        }
        Ok((update, true))
    }

    /// Seed of what is added to means of actions in the present update.
    fn perturbation(&self, shard: usize) -> u64 {
        derive_seed(self.seed, &[seeds::PERTURBATIONS, self.progress.updates, shard as u64])
    }

    /// The mean over the shards of a minibatch, each with a pass of its own. Whoever works on them, the same bits.
    fn in_shards(&self, minibatch: &Minibatch, ranks: &Ranks) -> Result<(Update, GradientsParams)> {
        let (mut tree, mut updates) = (Tree::default(), Vec::new());
        for (part, shard) in minibatch.parts.iter().zip(self.shards.own.clone()) {
            let (loss, update) = losses(&self.network, &self.config, part, minibatch.advantages, self.perturbation(shard))?;
            updates.push(update.numbers().to_vec());
            let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
            tree.push(flatten::<Graph, _>(&self.network, &gradients));
        }
        let sum = ranks.mean(&self.shards, tree, updates).with_context(|| format!("at step {}", self.progress.env_steps))?;
        Ok((Update::over(&sum.numbers), unflatten::<Graph, _>(&self.network, &sum.vector)))
    }

    /// Tells whether two learners have the same weights.
    pub(crate) fn checksum(&self) -> u32 {
        checksum(&self.network)
    }

    /// Writes the policy, the optimizer and the progress into a folder that exists.
    ///
    /// # Errors
    /// Names the file that could not be written; or a weight is not finite, then nothing is written.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        let at = self.progress.env_steps;
        ensure!(is_finite(&self.network.valid()), "a weight is not finite after step {at}; lower ppo.learning_rate");
        if let Some(averaged) = self.averaged_policy() {
            checkpoint::save(&averaged, folder)?;
            save_last(&self.policy(), folder)?;
        } else {
            checkpoint::save(&self.policy(), folder)?;
        }
        let path = folder.join(OPTIMIZER).with_extension("mpk");
        // Burn's own writer of files does not say when the last write of one fails.
        let record = NamedMpkBytesRecorder::<FullPrecisionSettings>::new().record(self.optimizer.to_record(), ());
        write_new(&path, &record.with_context(|| format!("cannot write {}", path.display()))?)?;
        let path = folder.join(PROGRESS);
        fs::write(&path, serde_json::to_vec_pretty(&self.progress)?).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Continues from a folder that [`Learner::save`] wrote.
    ///
    /// # Errors
    /// Names the file that is missing, damaged, or of another policy.
    pub(crate) fn load(mut self, folder: &Path) -> Result<Self> {
        let stored = match checkpoint::load_any_description(folder)? {
            aaren_policy::AnyDescription::ActorCritic(stored)
                if stored.network == self.description.network
                    && stored.action == self.description.action
                    && stored.inputs == self.description.inputs =>
            {
                stored
            }
            _ => anyhow::bail!(
                "{}: the checkpoint's policy is not the job's; resume with the config of the run, or train a new run",
                folder.join(checkpoint::DESCRIPTION).display()
            ),
        };
        self.description = stored;
        if let Some(average) = self.average {
            self.average = Some(checkpoint::load_weights(average, folder)?);
            self.network = checkpoint::load_weights(self.network, &folder.join(LAST))?;
        } else {
            self.network = checkpoint::load_weights(self.network, folder)?;
        }
        let path = folder.join(OPTIMIZER);
        self.optimizer = self.optimizer.load(&path.with_extension("mpk"), &self.network)?;
        let path = folder.join(PROGRESS);
        let text = read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.progress = serde_json::from_str(&text).with_context(|| format!("{}: not a training's progress", path.display()))?;
        let Progress { iteration, env_steps, updates, observations, reward_scale, .. } = &self.progress;
        let (width, envs) = (self.description.normalizer.width(), self.config.envs);
        ensure!(is_of_step(folder, *env_steps), "{}: says step {env_steps}, and the checkpoint is another", path.display());
        let counts = *iteration <= *env_steps && *updates < MOST_UPDATES;
        ensure!(
            counts && observations.are_of(width) && reward_scale.is_of(envs),
            "{}: not the progress of {envs} environments whose observations are {width} numbers",
            path.display()
        );
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
