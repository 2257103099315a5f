//! The losses of proximal policy optimization on a part of a rollout.

use anyhow::{Context, Result};
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::config::PpoConfig;
use crate::device::{CPU, Graph};
use crate::ppo::minibatch::normalised;
use crate::ppo::transitions::{Sequences, Transitions};
use aaren_policy::{ActionTensors, ActorCriticNetwork, Reset};

/// Numbers of one optimizer step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Update {
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

impl Update {
    /// All of it, in this order.
    pub(super) fn numbers(&self) -> [f64; 8] {
        let &Self { policy_loss, value_loss, entropy, loss, approx_kl, clip_fraction, ratio_distance, gradient_norm } = self;
        [policy_loss, value_loss, entropy, loss, approx_kl, clip_fraction, ratio_distance, gradient_norm]
    }

    /// Over equal parts of a minibatch, each with its [`Update::numbers`], in order.
    pub(super) fn over(parts: &[Vec<f64>]) -> Self {
        let mean = |index: usize| parts.iter().map(|numbers| numbers[index]).sum::<f64>() / parts.len() as f64;
        Self {
            policy_loss: mean(0),
            value_loss: mean(1),
            entropy: mean(2),
            loss: mean(3),
            approx_kl: mean(4),
            clip_fraction: mean(5),
            ratio_distance: parts.iter().map(|numbers| numbers[6]).fold(0.0, f64::max),
            gradient_norm: 0.0,
        }
    }
}

/// The loss on some sequences, `[1]`, and the numbers that it consists of; there is no gradient yet.
///
/// - `advantages`: mean and deviation that advantages are normalised by, where they are
/// - `seed`: of what is added to means of actions, where something is
///
/// # Errors
/// If there is no sequence.
pub(super) fn losses(
    network: &ActorCriticNetwork<Graph>,
    config: &PpoConfig,
    part: &[Sequences],
    advantages: Option<(f64, f64)>,
    seed: u64,
) -> Result<(Tensor<Graph, 1>, Update)> {
    let (clip, count) = (config.clip as f32, part.iter().map(|sequence| sequence.transitions.len()).sum::<usize>());
    let column = |of: fn(&Transitions) -> &Vec<f32>| -> Vec<f32> {
        part.iter().flat_map(|sequence| of(&sequence.transitions)).copied().collect()
    };
    let tensor = |numbers: Vec<f32>| Tensor::<Graph, 1>::from_data(TensorData::new(numbers, [count]), &CPU);

    // The same forward pass that acted, over whole sequences.
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let outputs: Vec<_> = part.iter().map(|sequence| forward(network, sequence, config.rpo_alpha, &mut generator)).collect();
    let entropy = outputs.iter().map(|(distributions, ..)| distributions.entropy()).reduce(|a, b| a + b);
    let entropy = entropy.context("a minibatch of nothing")? / part.len() as f64; // sequences are equally long
    let log_probs = cat(outputs.iter().map(|(_, log_probs, _)| log_probs.clone()).collect());
    let values = cat(outputs.into_iter().map(|(.., values)| values).collect());

    // Clipped surrogate.
    let raw_advantages = column(|transitions| &transitions.advantages);
    let advantages = tensor(match advantages {
        Some(moments) => normalised(raw_advantages, moments),
        None => raw_advantages,
    });
    let log_ratio = log_probs - tensor(column(|transitions| &transitions.log_probs));
    let ratio = log_ratio.clone().exp();
    let unclipped = ratio.clone() * advantages.clone();
    let clipped = ratio.clamp(1.0 - clip, 1.0 + clip) * advantages;
    let policy_loss = unclipped.min_pair(clipped).mean().neg();

    // Values.
    let value_targets = tensor(column(|transitions| &transitions.value_targets));
    let square = |error: Tensor<Graph, 1>| error.clone() * error;
    let value_loss = match config.value_clip {
        None => square(values - value_targets).mean(),
        Some(most) => {
            let before = tensor(column(|transitions| &transitions.values));
            let clipped = before.clone() + (values.clone() - before).clamp(-most, most);
            square(values - value_targets.clone()).max_pair(square(clipped - value_targets)).mean()
        }
    };
    let loss = policy_loss.clone() + value_loss.clone() * config.value_coefficient - entropy.clone() * config.entropy_coefficient;

    let number = |tensor: Tensor<Graph, 1>| f64::from(tensor.into_scalar());
    let log_ratios: Vec<f32> = log_ratio.into_data().to_vec().expect("policies compute in f32");
    let mean = |of: &dyn Fn(f64) -> f64| log_ratios.iter().map(|&x| of(f64::from(x))).sum::<f64>() / count as f64;
    let update = Update {
        policy_loss: number(policy_loss),
        value_loss: number(value_loss),
        entropy: number(entropy),
        loss: number(loss.clone()),
        approx_kl: mean(&|log_ratio| log_ratio.exp_m1() - log_ratio),
        clip_fraction: mean(&|log_ratio| f64::from(u8::from(log_ratio.exp_m1().abs() > config.clip))),
        ratio_distance: log_ratios.iter().map(|&x| f64::from(x).exp_m1().abs()).fold(0.0, f64::max),
        gradient_norm: 0.0,
    };
    Ok((loss, update))
}

/// Distributions, log-probabilities of the raw_actions, and values.
fn forward(
    network: &ActorCriticNetwork<Graph>,
    sequence: &Sequences,
    alpha: f64,
    generator: &mut Pcg64Mcg,
) -> (ActionTensors<Graph>, Tensor<Graph, 1>, Tensor<Graph, 1>) {
    let Sequences { transitions, rows, state } = sequence;
    let matrix = |numbers: &[f32]| {
        let width = numbers.len() / transitions.len();
        Tensor::<Graph, 2>::from_data(TensorData::new(numbers.to_vec(), [transitions.len(), width]), &CPU)
    };
    let reset = Reset::new(transitions.resets.clone(), *rows, &CPU);
    let (mut distributions, values, _) = network.forward(matrix(&transitions.inputs), &reset, state.clone());
    if alpha > 0.0 {
        let shift = transitions.raw_actions.iter().map(|_| (alpha * generator.random_range(-1.0..1.0)) as f32);
        distributions = distributions.shifted(matrix(&shift.collect::<Vec<_>>()));
    }
    let log_probs = distributions.log_prob(matrix(&transitions.raw_actions));
    (distributions, log_probs, values)
}

fn cat(mut tensors: Vec<Tensor<Graph, 1>>) -> Tensor<Graph, 1> {
    if tensors.len() == 1 { tensors.remove(0) } else { Tensor::cat(tensors, 0) }
}
