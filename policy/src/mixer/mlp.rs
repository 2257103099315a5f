//! No mixing at all: every token is the output, unchanged, so that a block is its feed-forward half and a policy sees the present
//! timestep only. With the observation as the only token this is behaviour cloning with a residual MLP: the baseline that shows
//! what looking back in time is worth.
//!
//! Tokens and not zeros: the block then adds its normalized input to the residual stream, which obeys every law. It has no
//! parameters and no state: 0 bytes.

use super::contract::{Mixer, Sizes};
use crate::error::PolicyError;
use crate::init::Init;
use crate::reset::Reset;
use crate::state::{MixerState, StateRecord};
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
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
    type Options = ();

    fn new(_sizes: Sizes, _options: &(), _init: &mut Init, _device: &B::Device) -> Self {
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
