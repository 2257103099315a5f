//! A trained model that answers token by token, at a cost that does not grow where the mixer's does not.

use aaren_kernels::{Dropout, KernelBackend};

use super::{SequenceBatch, SequencePolicy, SequenceRows};
use crate::error::PolicyError;
use crate::policy_state::PolicyState;
use crate::state::StateRecord;

/// A trained model, and what it carries of a sequence.
#[derive(Debug)]
pub struct Stream<B: KernelBackend> {
    policy: SequencePolicy<B>,
    state: PolicyState<B>,
    device: B::Device,
}

impl<B: KernelBackend> Stream<B> {
    /// Of a sequence that has not begun.
    pub fn new(policy: SequencePolicy<B>, device: B::Device) -> Self {
        Self { state: policy.network.initial_state(1, &device), policy, device }
    }

    /// One that goes on from a state that was stored with [`Stream::state`].
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is not one of the model's.
    pub fn restore(policy: SequencePolicy<B>, state: Vec<StateRecord>, device: B::Device) -> Result<Self, PolicyError> {
        Ok(Self { state: policy.network.restore_state(state, 1, &device)?, policy, device })
    }

    /// The next tokens of the sequence; gives an output for each of them, one after another. What is due is not looked at.
    pub fn push(&mut self, tokens: &SequenceRows) -> Vec<f32> {
        let batch = SequenceBatch::asking_all(tokens, 1, &self.policy.description.spec, &self.device);
        let (outputs, state) = self.policy.network.forward(&batch, self.state.clone(), Dropout::OFF);
        self.state = state;
        outputs.into_data().to_vec().expect("models compute in f32")
    }

    /// What it carries.
    pub fn state(&self) -> &PolicyState<B> {
        &self.state
    }
}
