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
    /// Sequences that go on side by side.
    rows: usize,
    state: PolicyState<B>,
    device: B::Device,
}

impl<B: KernelBackend> Stream<B> {
    /// Of a sequence that has not begun.
    pub fn new(policy: SequencePolicy<B>, device: B::Device) -> Self {
        Self::of_rows(policy, 1, device)
    }

    /// Of so many sequences that go on side by side, and have not begun.
    pub fn of_rows(policy: SequencePolicy<B>, rows: usize, device: B::Device) -> Self {
        Self { state: policy.network.initial_state(rows, &device), policy, rows, device }
    }

    /// One that goes on from a state of so many rows that was stored with [`Stream::state`].
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is not one of the model's.
    pub fn restore(
        policy: SequencePolicy<B>,
        rows: usize,
        state: Vec<StateRecord>,
        device: B::Device,
    ) -> Result<Self, PolicyError> {
        Ok(Self { state: policy.network.restore_state(state, rows, &device)?, policy, rows, device })
    }

    /// The next tokens of the sequence, of each row as many and one row after another; gives an output for each of them. What is due is not
    /// looked at.
    pub fn push(&mut self, tokens: &SequenceRows) -> Vec<f32> {
        let batch = SequenceBatch::asking_all(tokens, self.rows, &self.policy.description.spec, &self.device);
        let (outputs, state) = self.policy.network.forward(&batch, self.state.clone(), Dropout::OFF);
        self.state = state;
        outputs.into_data().to_vec().expect("models compute in f32")
    }

    /// The output at the last of the tokens of each row, where these are all that there are of its sequence: what was pushed is not looked
    /// at, and is not changed.
    pub fn ask(&self, tokens: &SequenceRows) -> Vec<f32> {
        let batch = SequenceBatch::asking_last(tokens, self.rows, &self.policy.description.spec, &self.device);
        let state = self.policy.network.initial_state(self.rows, &self.device);
        let (outputs, _) = self.policy.network.forward(&batch, state, Dropout::OFF);
        outputs.into_data().to_vec().expect("models compute in f32")
    }

    /// Forgets what was pushed: other sequences begin.
    pub fn begin(&mut self) {
        self.state = self.policy.network.initial_state(self.rows, &self.device);
    }

    /// The model.
    pub fn policy(&self) -> &SequencePolicy<B> {
        &self.policy
    }

    /// What it carries.
    pub fn state(&self) -> &PolicyState<B> {
        &self.state
    }
}
