//! What a policy carries between environment steps, as a value: cloned to fork a policy, stored, moved between devices.

use crate::{mixer::AnyState, state::StateRecord};
use aaren_kernels::KernelBackend;
use burn::tensor::backend::Backend;

/// What a policy carries between environment steps: one state a block.
#[derive(Clone, Debug)]
pub struct PolicyState<B: Backend> {
    pub(crate) blocks: Vec<AnyState<B>>,
}

impl<B: KernelBackend> PolicyState<B> {
    /// Bytes that the states of all blocks hold on their device.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(AnyState::bytes).sum()
    }

    /// Cut from the graph that made it: gradients stop here.
    pub fn detach(self) -> Self {
        Self { blocks: self.blocks.into_iter().map(AnyState::detach).collect() }
    }

    /// On another device.
    pub fn to_device(self, device: &B::Device) -> Self {
        Self { blocks: self.blocks.into_iter().map(|state| state.to_device(device)).collect() }
    }

    /// The states on the host, a record a block.
    pub fn to_records(&self) -> Vec<StateRecord> {
        self.blocks.iter().map(AnyState::to_record).collect()
    }
}
