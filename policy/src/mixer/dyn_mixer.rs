//! [`Mixer`] without its type.

use super::any_state::AnyState;
use super::bounded_cache::CachePolicy;
use super::contract::Mixer;
use super::erased::{DynMapper, DynVisitor, Erased};
use crate::error::PolicyError;
use crate::reset::Reset;
use crate::state::{MixerState, StateRecord};
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::{Devices, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use std::fmt::Debug;

/// What a mixer makes of tokens, and its next state.
pub(super) type Mixed<B> = (Tensor<B, 3>, AnyState<B>);

/// What is left of [`Mixer`] and Burn's `Module` without their generic methods.
pub(super) trait DynMixer<B: Backend>: Debug + Send + Sync {
    fn boxed_clone(&self) -> Box<dyn DynMixer<B>>;
    fn dyn_devices(&self, devices: Devices<B>) -> Devices<B>;
    fn dyn_fork(self: Box<Self>, device: &B::Device) -> Box<dyn DynMixer<B>>;
    fn dyn_to_device(self: Box<Self>, device: &B::Device) -> Box<dyn DynMixer<B>>;
    fn dyn_visit(&self, visitor: &mut dyn DynVisitor<B>);
    fn dyn_map(self: Box<Self>, mapper: &mut dyn DynMapper<B>) -> Box<dyn DynMixer<B>>;
    fn dyn_initial_state(&self, batch: usize, device: &B::Device) -> AnyState<B>;
    fn dyn_bounded_state(&self, cache: CachePolicy, batch: usize) -> Option<AnyState<B>>;
    fn dyn_restore_state(&self, record: StateRecord, device: &B::Device) -> Result<AnyState<B>, PolicyError>;
    fn dyn_forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: AnyState<B>, dropout: Dropout) -> Mixed<B>;
    fn dyn_no_decay(&self) -> Vec<ParamId>;
}

impl<B: KernelBackend, M: Mixer<B>> DynMixer<B> for M {
    fn boxed_clone(&self) -> Box<dyn DynMixer<B>> {
        Box::new(self.clone())
    }

    fn dyn_devices(&self, devices: Devices<B>) -> Devices<B> {
        self.collect_devices(devices)
    }

    fn dyn_fork(self: Box<Self>, device: &B::Device) -> Box<dyn DynMixer<B>> {
        Box::new(self.fork(device))
    }

    fn dyn_to_device(self: Box<Self>, device: &B::Device) -> Box<dyn DynMixer<B>> {
        Box::new(self.to_device(device))
    }

    fn dyn_visit(&self, visitor: &mut dyn DynVisitor<B>) {
        self.visit(&mut Erased(visitor));
    }

    fn dyn_map(self: Box<Self>, mapper: &mut dyn DynMapper<B>) -> Box<dyn DynMixer<B>> {
        Box::new(self.map(&mut Erased(mapper)))
    }

    fn dyn_initial_state(&self, batch: usize, device: &B::Device) -> AnyState<B> {
        AnyState::new(self.initial_state(batch, device))
    }

    fn dyn_bounded_state(&self, cache: CachePolicy, batch: usize) -> Option<AnyState<B>> {
        self.bounded_state(cache, batch).map(AnyState::new)
    }

    fn dyn_restore_state(&self, record: StateRecord, device: &B::Device) -> Result<AnyState<B>, PolicyError> {
        Ok(AnyState::new(M::State::from_record(record, device)?))
    }

    fn dyn_forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: AnyState<B>, dropout: Dropout) -> Mixed<B> {
        let (y, state) = self.forward(x, reset, state.into_inner(), dropout);
        (y, AnyState::new(state))
    }

    fn dyn_no_decay(&self) -> Vec<ParamId> {
        self.no_decay()
    }
}
