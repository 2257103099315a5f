//! What an update learns from: timesteps of a rollout with their targets, on the host.

use super::targets::Targets;
use crate::{device::Graph, play::group_rollout::GroupRollout};
use aaren_policy::PolicyState;

/// Timesteps of an update on the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transitions {
    pub(super) inputs: Vec<f32>,
    pub(super) resets: Vec<bool>,
    pub(super) raw_actions: Vec<f32>,
    pub(super) log_probs: Vec<f32>,
    pub(super) advantages: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) value_targets: Vec<f32>,
}

impl Transitions {
    /// Appends a group's rollout with its targets.
    pub(crate) fn push(&mut self, group: &GroupRollout, targets: &[Targets]) {
        for (rollout, targets) in group.rollouts.iter().zip(targets) {
            self.inputs.extend_from_slice(&rollout.inputs);
            self.resets.extend_from_slice(&rollout.resets);
            self.raw_actions.extend_from_slice(&rollout.raw_actions);
            self.log_probs.extend_from_slice(&rollout.log_probs);
            self.advantages.extend_from_slice(&targets.advantages);
            self.values.extend_from_slice(&targets.values);
            self.value_targets.extend_from_slice(&targets.value_targets);
        }
    }

    /// Timesteps.
    pub(crate) fn len(&self) -> usize {
        self.log_probs.len()
    }

    /// Some of the timesteps, in the order of `indices`.
    pub(super) fn select(&self, indices: &[usize]) -> Transitions {
        let (width, action_width) = (self.inputs.len() / self.len(), self.raw_actions.len() / self.len());
        let rows = |from: &[f32], width: usize| -> Vec<f32> {
            let mut rows = Vec::with_capacity(indices.len() * width);
            indices.iter().for_each(|&i| rows.extend_from_slice(&from[i * width..(i + 1) * width]));
            rows
        };
        Transitions {
            inputs: rows(&self.inputs, width),
            resets: indices.iter().map(|&i| self.resets[i]).collect(),
            raw_actions: rows(&self.raw_actions, action_width),
            log_probs: rows(&self.log_probs, 1),
            advantages: rows(&self.advantages, 1),
            values: rows(&self.values, 1),
            value_targets: rows(&self.value_targets, 1),
        }
    }

    /// Explained variance of the value targets by the values at the rollout: 1 is perfect, 0 is no better than their mean.
    pub(crate) fn explained_variance(&self) -> f64 {
        let variance = |numbers: &mut dyn Iterator<Item = f64>| {
            let numbers: Vec<f64> = numbers.collect();
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / numbers.len() as f64
        };
        let errors = &mut self.value_targets.iter().zip(&self.values).map(|(target, value)| f64::from(target - value));
        1.0 - variance(errors) / variance(&mut self.value_targets.iter().map(|&x| f64::from(x)))
    }
}

/// Equally long sequences that go through the network in one pass.
#[derive(Clone, Debug)]
pub(crate) struct Sequences {
    /// Row after row.
    pub transitions: Transitions,
    /// Sequences.
    pub rows: usize,
    /// What the policy carried when they began.
    pub state: PolicyState<Graph>,
}
