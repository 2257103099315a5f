//! What a learner trains, whatever it is made of: rows of tokens in, a loss out, the state carried.

use std::fmt::Debug;
use std::path::Path;

use aaren_kernels::{Dropout, KernelBackend};
use burn::module::{Module, ParamId};
use burn::tensor::{Tensor, TensorData};

use crate::any::AnyDescription;
use crate::backbone::Backbone;
use crate::checkpoint::{load_any_description, load_description};
use crate::config::PolicyConfig;
use crate::decision::{DecisionNetwork, DecisionPolicy, DecisionRows};
use crate::description::Description;
use crate::error::PolicyError;
use crate::model::Model;
use crate::policy_state::PolicyState;
use crate::sequence::{SequenceBatch, SequenceDescription, SequenceNetwork, SequencePolicy, SequenceRows};
use crate::state::StateRecord;
use crate::timesteps::TimestepTensors;

/// A network that a learner trains.
pub trait Trainable<B: KernelBackend>: Module<B> {
    /// What makes its numbers mean something.
    type Description: Described;
    /// A batch on the host.
    type Rows: Rows;
    /// The same on a device.
    type Batch: Send;
    /// The same network on another backend.
    type On<C: KernelBackend>: Trainable<C, Description = Self::Description, Rows = Self::Rows>;

    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not check.
    fn init(description: &Self::Description, seed: u64, device: &B::Device) -> Result<Self, PolicyError>;

    /// What carries the state.
    fn backbone(&self) -> &Backbone<B>;

    /// The state of sequences that have not begun.
    fn initial_state(&self, rows: usize, device: &B::Device) -> PolicyState<B> {
        self.backbone().initial_state(rows, device)
    }

    /// A state of so many rows that was stored.
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is not one of the network's.
    fn restore_state(&self, records: Vec<StateRecord>, rows: usize, device: &B::Device) -> Result<PolicyState<B>, PolicyError> {
        self.backbone().restore_state_of(records, rows, device)
    }

    /// Parameters that weight decay leaves alone.
    fn no_decay(&self) -> Vec<ParamId> {
        self.backbone().no_decay()
    }

    /// Moves `batch` rows of one length to a device.
    fn batch(rows: &Self::Rows, batch: usize, description: &Self::Description, device: &B::Device) -> Self::Batch;

    /// The mean loss of a batch, `[1]`, and the state after it.
    fn loss(&self, batch: &Self::Batch, state: PolicyState<B>, dropout: Dropout) -> (Tensor<B, 1>, PolicyState<B>);

    /// With its description: what a checkpoint holds.
    fn into_model(self, description: Self::Description) -> Model<B>;
}

/// A description, as a learner sees it.
pub trait Described: Clone + Debug + Send + Sync + 'static {
    /// Sizes and parts.
    fn config(&self) -> &PolicyConfig;

    /// Whether weights of the other one are weights of this one.
    fn fits(&self, other: &Self) -> bool;

    /// That of a checkpoint.
    ///
    /// # Errors
    /// As [`checkpoint::load_any_description`](crate::checkpoint::load_any_description), and [`PolicyError::Kind`] for another kind.
    fn read(folder: &Path) -> Result<Self, PolicyError>;
}

/// Timesteps on the host, as a sampler fills them.
pub trait Rows: Clone + Debug + Default + Send + 'static {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take on a device.
    fn bytes(&self) -> usize;
}

impl<B: KernelBackend> Trainable<B> for DecisionNetwork<B> {
    type Description = Description;
    type Rows = DecisionRows;
    /// Inputs, and actions: `[timesteps, action width]`.
    type Batch = (TimestepTensors<B>, Tensor<B, 2>);
    type On<C: KernelBackend> = DecisionNetwork<C>;

    fn init(description: &Description, seed: u64, device: &B::Device) -> Result<Self, PolicyError> {
        Self::new(description, seed, device)
    }

    fn backbone(&self) -> &Backbone<B> {
        self.backbone()
    }

    fn batch(rows: &DecisionRows, batch: usize, description: &Description, device: &B::Device) -> Self::Batch {
        let inputs = rows.timesteps.to_tensors(batch, description.config.tokens, device);
        let actions = TensorData::new(rows.actions.clone(), [rows.len(), description.action.width()]);
        (inputs, Tensor::from_data(actions, device))
    }

    fn loss(&self, batch: &Self::Batch, state: PolicyState<B>, dropout: Dropout) -> (Tensor<B, 1>, PolicyState<B>) {
        self.loss(&batch.0, batch.1.clone(), state, dropout)
    }

    fn into_model(self, description: Description) -> Model<B> {
        Model::Policy(DecisionPolicy { network: self, description }.into())
    }
}

impl Described for Description {
    fn config(&self) -> &PolicyConfig {
        &self.config
    }

    fn fits(&self, other: &Self) -> bool {
        // What a policy is told of returns does not make its weights others; older policies have no range.
        let config = PolicyConfig { return_range: other.config.return_range, ..self.config.clone() };
        config == other.config && self.action == other.action
    }

    fn read(folder: &Path) -> Result<Self, PolicyError> {
        load_description(folder)
    }
}

impl Rows for DecisionRows {
    fn len(&self) -> usize {
        self.timesteps.len()
    }

    fn bytes(&self) -> usize {
        4 * (self.timesteps.numbers() + self.actions.len())
    }
}

impl<B: KernelBackend> Trainable<B> for SequenceNetwork<B> {
    type Description = SequenceDescription;
    type Rows = SequenceRows;
    type Batch = SequenceBatch<B>;
    type On<C: KernelBackend> = SequenceNetwork<C>;

    fn init(description: &SequenceDescription, seed: u64, device: &B::Device) -> Result<Self, PolicyError> {
        Self::new(description, seed, device)
    }

    fn backbone(&self) -> &Backbone<B> {
        self.backbone()
    }

    fn initial_state(&self, rows: usize, device: &B::Device) -> PolicyState<B> {
        self.initial_state(rows, device)
    }

    fn restore_state(&self, records: Vec<StateRecord>, rows: usize, device: &B::Device) -> Result<PolicyState<B>, PolicyError> {
        self.restore_state(records, rows, device)
    }

    fn no_decay(&self) -> Vec<ParamId> {
        if self.is_tied() { Vec::new() } else { self.backbone().no_decay() }
    }

    fn batch(rows: &SequenceRows, batch: usize, description: &SequenceDescription, device: &B::Device) -> SequenceBatch<B> {
        SequenceBatch::new(rows, batch, &description.spec, device)
    }

    fn loss(&self, batch: &SequenceBatch<B>, state: PolicyState<B>, dropout: Dropout) -> (Tensor<B, 1>, PolicyState<B>) {
        let (outputs, state) = self.forward(batch, state, dropout);
        (self.loss_of(outputs, batch), state)
    }

    fn into_model(self, description: SequenceDescription) -> Model<B> {
        Model::Sequence(SequencePolicy { network: self, description })
    }
}

impl Described for SequenceDescription {
    fn config(&self) -> &PolicyConfig {
        &self.config
    }

    fn fits(&self, other: &Self) -> bool {
        (&self.config, &self.spec) == (&other.config, &other.spec)
    }

    fn read(folder: &Path) -> Result<Self, PolicyError> {
        match load_any_description(folder)? {
            AnyDescription::Sequence(description) => Ok(description),
            _ => Err(PolicyError::Kind { path: folder.into(), found: "a policy that acts", expected: "a model of sequences" }),
        }
    }
}

impl Rows for SequenceRows {
    fn len(&self) -> usize {
        self.resets.len()
    }

    fn bytes(&self) -> usize {
        4 * (self.numbers.len()
            + self.ids.len()
            + 2 * self.resets.len()
            + 3 * self.due.len()
            + 2 * self.gains.len()
            + 3 * self.gaps.len())
    }
}
