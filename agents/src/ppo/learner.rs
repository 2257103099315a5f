//! The learner: weights, optimizer, and the update of one minibatch.

use super::{
    normalize::{Moments, RewardScale},
    targets::Targets,
};
use crate::{config::PpoConfig, play::rollout::Group};
use crate::{
    device::{CPU, Cpu, Graph},
    optim::{
        AdamW,
        gradient::{Clipping, is_finite},
    },
    seeds,
};
use aaren_envs::derive_seed;
use aaren_policy::{
    ActionTensors, ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy, PolicyState, Reset, checkpoint,
};
use anyhow::{Context, Result, ensure};
use burn::{
    module::AutodiffModule,
    optim::GradientsParams,
    record::{FullPrecisionSettings, NamedMpkFileRecorder, Recorder},
    tensor::{Tensor, TensorData},
};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

type Network = ActorCriticNetwork<Graph>;

/// As published for PPO; larger than Adam's own.
const ADAM_EPSILON: f64 = 1e-5;
/// Added to the deviation of advantages.
const ADVANTAGE_EPSILON: f64 = 1e-8;

const OPTIMIZER: &str = "optimizer";
const PROGRESS: &str = "progress.json";

/// How far a training has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
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
}

/// Weights, optimizer, and where the training is.
pub struct Learner {
    network: Network,
    optimizer: AdamW<Graph, Network>,
    description: ActorCriticDescription,
    config: PpoConfig,
    /// How far the training has come.
    pub progress: Progress,
}

/// Timesteps of an update on the host: `rows` sequences of equal length, row after row.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    observations: Vec<f32>,
    resets: Vec<bool>,
    draws: Vec<f32>,
    log_probs: Vec<f32>,
    advantages: Vec<f32>,
    values: Vec<f32>,
    value_targets: Vec<f32>,
}

impl Samples {
    /// Appends a group's rollout with its targets.
    pub fn push(&mut self, group: &Group, targets: &[Targets]) {
        for (rollout, targets) in group.rollouts().zip(targets) {
            self.observations.extend_from_slice(&rollout.observations);
            self.resets.extend_from_slice(&rollout.resets);
            self.draws.extend_from_slice(&rollout.draws);
            self.log_probs.extend_from_slice(&rollout.log_probs);
            self.advantages.extend_from_slice(&targets.advantages);
            self.values.extend_from_slice(&targets.values);
            self.value_targets.extend_from_slice(&targets.value_targets);
        }
    }

    /// Timesteps.
    pub fn len(&self) -> usize {
        self.log_probs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.log_probs.is_empty()
    }

    /// Some of the timesteps, in the order of `indices`.
    fn select(&self, indices: &[usize]) -> Samples {
        let (width, action_width) = (self.observations.len() / self.len(), self.draws.len() / self.len());
        let rows = |from: &[f32], width: usize| -> Vec<f32> {
            let mut rows = Vec::with_capacity(indices.len() * width);
            indices.iter().for_each(|&i| rows.extend_from_slice(&from[i * width..(i + 1) * width]));
            rows
        };
        Samples {
            observations: rows(&self.observations, width),
            resets: indices.iter().map(|&i| self.resets[i]).collect(),
            draws: rows(&self.draws, action_width),
            log_probs: rows(&self.log_probs, 1),
            advantages: rows(&self.advantages, 1),
            values: rows(&self.values, 1),
            value_targets: rows(&self.value_targets, 1),
        }
    }

    /// Explained variance of the value targets by the values at the rollout: 1 is perfect, 0 is no better than their mean.
    pub fn explained_variance(&self) -> f64 {
        let variance = |numbers: &mut dyn Iterator<Item = f64>| {
            let numbers: Vec<f64> = numbers.collect();
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / numbers.len() as f64
        };
        let errors = &mut self.value_targets.iter().zip(&self.values).map(|(target, value)| f64::from(target - value));
        1.0 - variance(errors) / variance(&mut self.value_targets.iter().map(|&x| f64::from(x)))
    }
}

/// A piece of a minibatch that goes through the network in one pass.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Row after row.
    pub samples: Samples,
    /// Sequences.
    pub rows: usize,
    /// What the policy carried when they began.
    pub state: PolicyState<Graph>,
}

/// Numbers of one optimizer step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Update {
    /// Of the clipped surrogate.
    pub policy_loss: f64,
    /// Mean squared error of values.
    pub value_loss: f64,
    /// Mean over timesteps.
    pub entropy: f64,
    /// All three, weighted.
    pub loss: f64,
    /// Estimate of the KL divergence from the policy that acted: mean of `ratio - 1 - ln ratio`.
    pub approx_kl: f64,
    /// Share of timesteps whose ratio is clipped.
    pub clip_fraction: f64,
    /// Largest distance of a ratio from 1.
    pub ratio_distance: f64,
    /// Norm over all parameters, before clipping.
    pub gradient_norm: f64,
}

impl Learner {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not check.
    pub fn new(description: ActorCriticDescription, config: &PpoConfig, seed: u64) -> Result<Self> {
        let network = Network::new(&description, config.initial_log_std, derive_seed(seed, &[seeds::WEIGHTS]), &CPU)?;
        let progress = Progress {
            iteration: 0,
            env_steps: 0,
            updates: 0,
            seconds: 0.0,
            loss: None,
            observations: Moments::new(description.normalizer.width()),
            reward_scale: RewardScale::new(config.envs),
        };
        let optimizer = AdamW::new(ADAM_EPSILON, 0.0, Vec::new());
        Ok(Self { network, optimizer, description, config: config.clone(), progress })
    }

    /// The policy as it is now, to act with.
    pub fn policy(&self) -> ActorCriticPolicy<Cpu> {
        ActorCriticPolicy { network: self.network.valid(), description: self.description.clone() }
    }

    /// What a batch of episodes that have not begun carry.
    pub fn initial_state(&self, batch: usize) -> PolicyState<Graph> {
        self.network.initial_state(batch, &CPU)
    }

    /// What the weights mean.
    pub fn description(&self) -> &ActorCriticDescription {
        &self.description
    }

    /// Takes the observations of a rollout into the normalisation of the next one.
    pub fn observe<'a>(&mut self, raw_observations: impl Iterator<Item = &'a [f64]>) {
        raw_observations.for_each(|observations| self.progress.observations.add(observations));
        self.description.normalizer = self.progress.observations.normalizer();
    }

    /// The learning rate of this iteration.
    pub fn learning_rate(&self) -> f64 {
        let done = self.progress.iteration as f64 / self.config.iterations() as f64;
        self.config.learning_rate * if self.config.anneal { (1.0 - done).max(0.0) } else { 1.0 }
    }

    /// The parts that an epoch's minibatches are drawn from: for MLPs all timesteps together, for recurrent policies a group each.
    ///
    /// # Errors
    /// If a state cannot be moved into the graph.
    pub fn pieces(&self, groups: &[Group], targets: &[Vec<Targets>]) -> Result<Vec<Piece>> {
        let piece = |groups: &[Group], targets: &[Vec<Targets>]| -> Result<Piece> {
            let mut samples = Samples::default();
            groups.iter().zip(targets).for_each(|(group, targets)| samples.push(group, targets));
            let rows = groups.iter().map(|group| group.rollouts().count()).sum();
            let state = self.network.restore_state(groups[0].first_state().to_records(), &CPU)?;
            Ok(Piece { samples, rows, state })
        };
        match self.network.is_recurrent() {
            true => (0..groups.len()).map(|i| piece(&groups[i..=i], &targets[i..=i])).collect(),
            false => Ok(vec![piece(groups, targets)?]),
        }
    }

    /// The minibatch of some units of the pieces: timesteps for MLPs, whole pieces for recurrent policies, whose time is never
    /// shuffled.
    pub fn minibatch(&self, pieces: &[Piece], units: &[usize]) -> Vec<Piece> {
        match self.network.is_recurrent() {
            true => units.iter().map(|&unit| pieces[unit].clone()).collect(),
            false => {
                let samples = pieces[0].samples.select(units);
                vec![Piece { rows: samples.len(), samples, state: pieces[0].state.clone() }]
            }
        }
    }

    /// Units that an epoch shuffles.
    pub fn units(&self, pieces: &[Piece]) -> usize {
        if self.network.is_recurrent() { pieces.len() } else { pieces[0].samples.len() }
    }

    /// One optimizer step. With `most_kl`, none is made once the policy is further than that from the one that acted.
    ///
    /// # Errors
    /// If the loss or the gradient is not finite; the weights are as before then.
    pub fn update(&mut self, minibatch: &[Piece], learning_rate: f64, most_kl: Option<f64>) -> Result<(Update, bool)> {
        let config = &self.config;
        let (clip, count) = (config.clip as f32, minibatch.iter().map(|piece| piece.samples.len()).sum::<usize>());
        let column = |of: fn(&Samples) -> &Vec<f32>| -> Vec<f32> {
            minibatch.iter().flat_map(|piece| of(&piece.samples)).copied().collect()
        };
        let tensor = |numbers: Vec<f32>| Tensor::<Graph, 1>::from_data(TensorData::new(numbers, [count]), &CPU);

        // The same forward pass that acted, over whole sequences.
        let outputs: Vec<_> = minibatch.iter().map(|piece| self.forward(piece)).collect();
        let entropy = outputs.iter().map(|(distributions, ..)| distributions.entropy()).reduce(|a, b| a + b);
        let entropy = entropy.context("a minibatch of nothing")? / minibatch.len() as f64; // pieces are equally long
        let log_probs = cat(outputs.iter().map(|(_, log_probs, _)| log_probs.clone()).collect());
        let values = cat(outputs.into_iter().map(|(.., values)| values).collect());

        // Clipped surrogate.
        let advantages = match config.normalise_advantages {
            true => normalised(column(|samples| &samples.advantages)),
            false => column(|samples| &samples.advantages),
        };
        let log_ratio = log_probs - tensor(column(|samples| &samples.log_probs));
        let ratio = log_ratio.clone().exp();
        let advantages = tensor(advantages);
        let free = ratio.clone() * advantages.clone();
        let held = ratio.clamp(1.0 - clip, 1.0 + clip) * advantages;
        let policy_loss = free.min_pair(held).mean().neg();

        // Values.
        let value_targets = tensor(column(|samples| &samples.value_targets));
        let square = |error: Tensor<Graph, 1>| error.clone() * error;
        let value_loss = match config.value_clip {
            None => square(values - value_targets).mean(),
            Some(most) => {
                let before = tensor(column(|samples| &samples.values));
                let held = before.clone() + (values.clone() - before).clamp(-most, most);
                square(values - value_targets.clone()).max_pair(square(held - value_targets)).mean()
            }
        };
        let loss =
            policy_loss.clone() + value_loss.clone() * config.value_coefficient - entropy.clone() * config.entropy_coefficient;

        let number = |tensor: Tensor<Graph, 1>| f64::from(tensor.into_scalar());
        let log_ratios: Vec<f32> = log_ratio.into_data().to_vec().expect("policies compute in f32");
        let mean = |of: &dyn Fn(f64) -> f64| log_ratios.iter().map(|&x| of(f64::from(x))).sum::<f64>() / count as f64;
        let mut update = Update {
            policy_loss: number(policy_loss),
            value_loss: number(value_loss),
            entropy: number(entropy),
            loss: number(loss.clone()),
            approx_kl: mean(&|log_ratio| log_ratio.exp_m1() - log_ratio),
            clip_fraction: mean(&|log_ratio| f64::from(u8::from(log_ratio.exp_m1().abs() > config.clip))),
            ratio_distance: log_ratios.iter().map(|&x| f64::from(x).exp_m1().abs()).fold(0.0, f64::max),
            gradient_norm: 0.0,
        };
        let at = self.progress.env_steps;
        ensure!(update.loss.is_finite(), "the loss is {} at step {at}; lower ppo.learning_rate", update.loss);
        if most_kl.is_some_and(|most| update.approx_kl > most) {
            return Ok((update, false));
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        let clipping = Clipping::new(&self.network, &gradients, config.gradient_clip);
        update.gradient_norm = clipping.norm();
        ensure!(
            update.gradient_norm.is_finite(),
            "the gradient's norm is {} at step {at}; lower ppo.learning_rate",
            update.gradient_norm
        );
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients, &clipping);
        self.progress.updates += 1;
        Ok((update, true))
    }

    /// Distributions, log-probabilities of the draws, and values.
    fn forward(&self, piece: &Piece) -> (ActionTensors<Graph>, Tensor<Graph, 1>, Tensor<Graph, 1>) {
        let Piece { samples, rows, state } = piece;
        let matrix = |numbers: &[f32]| {
            let width = numbers.len() / samples.len();
            Tensor::<Graph, 2>::from_data(TensorData::new(numbers.to_vec(), [samples.len(), width]), &CPU)
        };
        let reset = Reset::new(samples.resets.clone(), *rows, &CPU);
        let (distributions, values, _) = self.network.forward(matrix(&samples.observations), &reset, state.clone());
        let log_probs = distributions.log_prob(matrix(&samples.draws));
        (distributions, log_probs, values)
    }

    /// Writes the policy, the optimizer and the progress into a folder that exists.
    ///
    /// # Errors
    /// Names the file that could not be written; or a weight is not finite, then nothing is written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let at = self.progress.env_steps;
        ensure!(is_finite(&self.network.valid()), "a weight is not finite after step {at}; lower ppo.learning_rate");
        checkpoint::save(&self.policy(), folder)?;
        let path = folder.join(OPTIMIZER);
        NamedMpkFileRecorder::<FullPrecisionSettings>::new()
            .record(self.optimizer.to_record(), path.clone())
            .with_context(|| format!("cannot write {}.mpk", path.display()))?;
        let path = folder.join(PROGRESS);
        fs::write(&path, serde_json::to_vec_pretty(&self.progress)?).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Continues from a folder that [`Learner::save`] wrote.
    ///
    /// # Errors
    /// Names the file that is missing, damaged, or of another policy.
    pub fn load(mut self, folder: &Path) -> Result<Self> {
        let stored = match checkpoint::load_any_description(folder)? {
            aaren_policy::AnyDescription::ActorCritic(stored)
                if stored.network == self.description.network && stored.action == self.description.action =>
            {
                stored
            }
            _ => anyhow::bail!(
                "{}: the checkpoint's policy is not the job's; resume with the config of the run, or train a new run",
                folder.join(checkpoint::DESCRIPTION).display()
            ),
        };
        self.description = stored;
        self.network = checkpoint::load_weights(self.network, folder)?;
        let path = folder.join(OPTIMIZER);
        let record = NamedMpkFileRecorder::<FullPrecisionSettings>::new()
            .load(path.clone(), &CPU)
            .with_context(|| format!("cannot read {}.mpk", path.display()))?;
        self.optimizer = self.optimizer.load_record(record);
        let path = folder.join(PROGRESS);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.progress =
            serde_json::from_slice(&text).with_context(|| format!("{}: not a training's progress", path.display()))?;
        Ok(self)
    }
}

fn cat(mut tensors: Vec<Tensor<Graph, 1>>) -> Tensor<Graph, 1> {
    if tensors.len() == 1 { tensors.remove(0) } else { Tensor::cat(tensors, 0) }
}

/// Brought to mean 0 and deviation 1.
fn normalised(numbers: Vec<f32>) -> Vec<f32> {
    let count = numbers.len() as f64;
    let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = numbers.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt() + ADVANTAGE_EPSILON;
    numbers.into_iter().map(|x| ((f64::from(x) - mean) / deviation) as f32).collect()
}
