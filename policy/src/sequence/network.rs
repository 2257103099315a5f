//! The network over tokens, and the network with its description.

use aaren_kernels::{Dropout, KernelBackend};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::pool::{Pool, PoolState, running_mean};
use super::{Loss, SequenceBatch, SequenceDescription};
use crate::backbone::Backbone;
use crate::error::PolicyError;
use crate::init::Init;
use crate::keep::Keep;
use crate::layers::{Dense, Norm};
use crate::mixer::AnyState;
use crate::policy_state::PolicyState;
use crate::state::{MixerState, StateRecord};

/// Embeddings, backbone and output: the weights. Without an output layer of its own the embedding of ids is it.
#[derive(Module, Debug)]
pub struct SequenceNetwork<B: Backend> {
    /// `[vocabulary, width]`
    embedding: Option<Param<Tensor<B, 2>>>,
    numbers: Option<Dense<B>>,
    /// `[positions, width]`
    positions: Option<Param<Tensor<B, 2>>>,
    norm: Option<Norm<B>>,
    backbone: Backbone<B>,
    output: Option<Dense<B>>,
    #[module(skip)]
    pool: Pool,
    #[module(skip)]
    loss: Loss,
}

impl<B: KernelBackend> SequenceNetwork<B> {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not [`check`](SequenceDescription::check) or names an unknown mixer.
    pub fn new(description: &SequenceDescription, seed: u64, device: &B::Device) -> Result<Self, PolicyError> {
        description.check()?;
        let (config, spec, init) = (&description.config, &description.spec, &mut Init::with(seed, description.config.init));
        let width = config.width;
        Ok(Self {
            embedding: (spec.vocabulary > 0).then(|| init.normal([spec.vocabulary, width], 0.02, device)),
            numbers: (spec.numbers > 0).then(|| Dense::uniform(spec.numbers, width, init, device)),
            positions: (spec.positions > 0).then(|| init.normal([spec.positions, width], 0.02, device)),
            norm: (!spec.tied).then(|| Norm::new(width, init, device)),
            backbone: Backbone::new(config, init, device)?,
            output: (!spec.tied).then(|| match spec.loss {
                Loss::Classes(_) | Loss::NextEvent { .. } => Dense::uniform(width, spec.loss.width(), init, device),
                // Near 0, where a forecast is its anchor.
                Loss::Squares(numbers) => Dense::small(width, numbers, init, device),
            }),
            pool: spec.pool,
            loss: spec.loss,
        })
    }

    /// The backbone.
    pub fn backbone(&self) -> &Backbone<B> {
        &self.backbone
    }

    /// The state of sequences that have not begun.
    pub fn initial_state(&self, batch: usize, device: &B::Device) -> PolicyState<B> {
        let mut state = self.backbone.initial_state(batch, device);
        if self.pool == Pool::Mean {
            let width = self.backbone.blocks()[0].width();
            state.blocks.push(AnyState::new(PoolState::initial(batch, width, device)));
        }
        state
    }

    /// A state that was stored with [`PolicyState::to_records`], of so many rows.
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is not one of the network's.
    pub fn restore_state(
        &self,
        mut records: Vec<StateRecord>,
        batch: usize,
        device: &B::Device,
    ) -> Result<PolicyState<B>, PolicyError> {
        let own = (self.pool == Pool::Mean).then(|| records.pop()).flatten();
        let mut state = self.backbone.restore_state_of(records, batch, device)?;
        if let Some(record) = own {
            let like = self.initial_state(batch, device).to_records().pop().expect("a mean");
            record.check([&like; 3])?;
            state.blocks.push(AnyState::new(PoolState::<B>::from_record(record, device)?));
        }
        Ok(state)
    }

    /// Whether the embedding is the output layer as well.
    pub(crate) fn is_tied(&self) -> bool {
        self.output.is_none()
    }

    /// Outputs at the tokens that are asked for, `[due, outputs]`, and the state after the last token.
    ///
    /// # Panics
    /// If the state is another network's.
    pub fn forward(
        &self,
        batch: &SequenceBatch<B>,
        mut state: PolicyState<B>,
        dropout: Dropout,
    ) -> (Tensor<B, 2>, PolicyState<B>) {
        let mean = batch.shares.clone().map(|shares| (shares, state.blocks.pop().expect("a mean").into_inner::<PoolState<B>>()));
        let table = |table: &Option<Param<Tensor<B, 2>>>, rows| Some(table.as_ref()?.val().select(0, Option::clone(rows)?));
        let numbers = || Some(self.numbers.as_ref()?.forward(batch.numbers.clone()?));
        let parts = [table(&self.embedding, &batch.ids), numbers(), table(&self.positions, &batch.positions)];
        let sum = parts.into_iter().flatten().reduce(|sum, part| sum + part);
        let tokens = sum.expect("a token has an id or numbers"); // [tokens, width]
        let tokens = self.norm.as_ref().map_or(tokens.clone(), |norm| norm.forward(tokens));
        let (mut features, mut state) = self.backbone.forward(tokens, &batch.reset, state, dropout, Keep::All);
        if let Some((shares, pool)) = mean {
            let (means, pool) = running_mean(features, shares, &batch.reset, pool);
            features = means;
            state.blocks.push(AnyState::new(pool));
        }
        let features = match &batch.due {
            Some(due) => features.select(0, due.clone()),
            None => features,
        };
        let outputs = match (&self.output, &self.embedding) {
            (None, Some(embedding)) => features.matmul(embedding.val().transpose()),
            (output, _) => output.as_ref().expect("an output layer where ids have no embedding").forward(features),
        };
        (outputs, state)
    }

    /// The mean loss of such outputs, `[1]`.
    ///
    /// # Panics
    /// If nothing is due in the batch.
    pub fn loss_of(&self, outputs: Tensor<B, 2>, batch: &SequenceBatch<B>) -> Tensor<B, 1> {
        let what = batch.what.as_ref().expect("a batch that says what is due");
        self.loss.of(outputs, what, batch.weights.clone())
    }
}

/// A network and its description: all that is needed to answer.
#[derive(Clone, Debug)]
pub struct SequencePolicy<B: Backend> {
    /// The weights.
    pub network: SequenceNetwork<B>,
    /// What they mean.
    pub description: SequenceDescription,
}
