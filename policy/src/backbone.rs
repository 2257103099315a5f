//! The backbone: residual blocks and, unless they end with one, a last norm.

use crate::block::{Block, BlockDropout};
use crate::config::{NormPlace, PolicyConfig};
use crate::error::PolicyError;
use crate::init::Init;
use crate::keep::Keep;
use crate::layers::Norm;
use crate::mixer::{AnyState, CachePolicy};
use crate::policy_state::PolicyState;
use crate::reset::Reset;
use crate::state::StateRecord;
use aaren_kernels::{Dropout, KernelBackend, dropout_add};
use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Blocks in order, and the norm after the last where the blocks do not end with one.
#[derive(Module, Debug)]
pub struct Backbone<B: Backend> {
    blocks: Vec<Block<B>>,
    norm: Option<Norm<B>>,
    /// Of attention weights, and of what the first block sees; as that of branches where there is none.
    #[module(skip)]
    probabilities: [Option<f64>; 2],
}

/// The places in a policy that drop, as numbers that tell their seeds apart.
const PLACES_PER_BLOCK: u64 = 3;

/// A dropout with a seed of its own for a place.
pub(crate) fn dropout_at(dropout: Dropout, place: u64) -> Dropout {
    // An odd multiplier maps places to distinct seeds; the mask's hash does the mixing.
    Dropout { seed: dropout.seed.wrapping_add((place + 1).wrapping_mul(0xd134_2543_de82_ef95)), ..dropout }
}

impl<B: KernelBackend> Backbone<B> {
    /// Makes `config.layers` blocks.
    ///
    /// # Errors
    /// As [`PolicyConfig::mixer_of_blocks`].
    pub fn new(config: &PolicyConfig, init: &mut Init, device: &B::Device) -> Result<Self, PolicyError> {
        let mixers = config.mixer_of_blocks()?;
        let blocks = mixers.into_iter().map(|mixer| Block::new(mixer, config, init, device)).collect::<Result<_, _>>()?;
        let norm = (config.norm == NormPlace::Pre).then(|| Norm::new(config.width, init, device));
        Ok(Self { blocks, norm, probabilities: [config.attention_dropout, config.embedding_dropout] })
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Block<B>] {
        &self.blocks
    }

    /// Parameters that weight decay leaves alone.
    pub fn no_decay(&self) -> Vec<ParamId> {
        self.blocks.iter().flat_map(|block| block.mixer().no_decay()).collect()
    }

    /// The state of sequences that have not begun.
    pub fn initial_state(&self, batch: usize, device: &B::Device) -> PolicyState<B> {
        PolicyState { blocks: self.blocks.iter().map(|block| block.mixer().initial_state(batch, device)).collect() }
    }

    /// The state of sequences that have not begun, where all Transformers among the mixers keep KV caches of bounded size.
    ///
    /// # Errors
    /// [`PolicyError::Cache`] if the cache is bounded and there is no Transformer among the mixers.
    pub fn bounded_state(&self, cache: CachePolicy, batch: usize, device: &B::Device) -> Result<PolicyState<B>, PolicyError> {
        let bounded: Vec<_> = self.blocks.iter().map(|block| block.mixer().bounded_state(cache, batch)).collect();
        if cache != CachePolicy::Full && bounded.iter().all(Option::is_none) {
            let problem = "no block is a \"transformer\", and other mixers have no KV cache to bound".into();
            return Err(PolicyError::Cache { text: cache.to_string(), problem });
        }
        let state =
            |(block, bounded): (&Block<B>, Option<_>)| bounded.unwrap_or_else(|| block.mixer().initial_state(batch, device));
        Ok(PolicyState { blocks: self.blocks.iter().zip(bounded).map(state).collect() })
    }

    /// A state that was stored with [`PolicyState::to_records`].
    ///
    /// # Errors
    /// [`PolicyError::State`] if it is not one of this backbone's.
    pub fn restore_state(&self, records: Vec<StateRecord>, device: &B::Device) -> Result<PolicyState<B>, PolicyError> {
        if records.len() != self.blocks.len() {
            return Err(PolicyError::State(format!("{} blocks, expected {}", records.len(), self.blocks.len())));
        }
        let restore = |(block, record): (&Block<B>, StateRecord)| block.mixer().restore_state(record, device);
        Ok(PolicyState { blocks: self.blocks.iter().zip(records).map(restore).collect::<Result<_, _>>()? })
    }

    /// [`Backbone::restore_state`] of what a file says, which may say anything: it is held against the states that `rows` rows have.
    ///
    /// # Errors
    /// [`PolicyError::State`], with the block and the tensor.
    pub fn restore_state_of(
        &self,
        records: Vec<StateRecord>,
        rows: usize,
        device: &B::Device,
    ) -> Result<PolicyState<B>, PolicyError> {
        let width = self.blocks[0].width();
        let reset = Reset::new(vec![false; rows], rows, device);
        for (index, (block, record)) in self.blocks.iter().zip(&records).enumerate() {
            let after = |state: &AnyState<B>| {
                let token = Tensor::zeros([rows, 1, width], device);
                block.mixer().forward(token, &reset, state.clone(), Dropout::OFF).1
            };
            let initial = block.mixer().initial_state(rows, device);
            let one = after(&initial);
            let states = [&initial, &one, &after(&one)].map(AnyState::to_record);
            record.check(states.each_ref()).map_err(|error| match error {
                PolicyError::State(problem) => PolicyError::State(format!("block {index}: {problem}")),
                other => other,
            })?;
        }
        self.restore_state(records, device)
    }

    /// Runs the blocks.
    ///
    /// # Shapes
    /// - `x`: `[batch * time, width]`, batch-major
    /// - `reset`: `[batch, time]`
    /// - returns: `[batch * kept, width]`, and the state after the last token
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        reset: &Reset<B>,
        state: PolicyState<B>,
        dropout: Dropout,
        keep: Keep,
    ) -> (Tensor<B, 2>, PolicyState<B>) {
        let last = self.blocks.len() - 1;
        let of = |given: Option<f64>, dropout: Dropout| Dropout {
            probability: if dropout.is_on() { given.unwrap_or(dropout.probability) } else { 0.0 },
            ..dropout
        };
        let [attention, embedding] = self.probabilities;
        let first = of(embedding, dropout_at(dropout, self.blocks.len() as u64 * PLACES_PER_BLOCK));
        let mut x = if first.is_on() { dropout_add(x.zeros_like(), x, first) } else { x };
        let mut next: Vec<AnyState<B>> = Vec::with_capacity(self.blocks.len());
        for (index, (block, state)) in self.blocks.iter().zip(state.blocks).enumerate() {
            let place = |place: u64| dropout_at(dropout, index as u64 * PLACES_PER_BLOCK + place);
            let dropout = BlockDropout { mixer: of(attention, place(0)), mixer_branch: place(1), feed_forward_branch: place(2) };
            let (y, state) = block.forward(x, reset, state, dropout, if index == last { keep } else { Keep::All });
            x = y;
            next.push(state);
        }
        let x = match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        (x, PolicyState { blocks: next })
    }
}
