//! No mixing at all: every token is handed on as it came, so that a block is its feed-forward half and a policy sees the present
//! timestep only. With the observation as the only token this is behaviour cloning with a residual MLP: the baseline that shows
//! what looking back in time is worth.
//!
//! Handing on, and not zeros: the block then adds its normalised input to the residual stream, which every law holds for. It has no
//! parameters and no state: 0 bytes.

use super::Mixer;
use crate::{config::PolicyConfig, error::PolicyError, init::Init, reset::Reset, state::{MixerState, StateRecord}};
use burn::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};
use aaren_kernels::{Dropout, KernelBackend};
use std::marker::PhantomData;

/// The module: nothing.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    backend: PhantomData<B>,
}

/// Nothing.
#[derive(Clone, Debug)]
pub struct MlpState<B: Backend>(PhantomData<B>);

impl<B: KernelBackend> Mixer<B> for Mlp<B> {
    type State = MlpState<B>;

    fn new(_config: &PolicyConfig, _init: &mut Init, _device: &B::Device) -> Self {
        Self { backend: PhantomData }
    }

    fn initial_state(&self, _batch: usize, _device: &B::Device) -> MlpState<B> {
        MlpState(PhantomData)
    }

    fn forward(&self, x: Tensor<B, 3>, _reset: &Reset<B>, state: MlpState<B>, _dropout: Dropout) -> (Tensor<B, 3>, MlpState<B>) {
        (x, state)
    }
}

impl<B: KernelBackend> MixerState<B> for MlpState<B> {
    fn bytes(&self) -> usize {
        0
    }

    fn to_record(&self) -> StateRecord {
        StateRecord::new([])
    }

    fn from_record(_record: StateRecord, _device: &B::Device) -> Result<Self, PolicyError> {
        Ok(Self(PhantomData))
    }

    fn detach(self) -> Self {
        self
    }

    fn to_device(self, _device: &B::Device) -> Self {
        self
    }
}
