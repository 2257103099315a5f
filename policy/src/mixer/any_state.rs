//! The state of a mixer of any kind.

use crate::state::{MixerState, StateRecord};
use aaren_kernels::KernelBackend;
use burn::tensor::backend::Backend;
use std::{any::Any, fmt::Debug};

/// [`MixerState`] without its type.
trait DynState<B: Backend>: Debug + Send + Sync {
    fn boxed_clone(&self) -> Box<dyn DynState<B>>;
    fn dyn_bytes(&self) -> usize;
    fn dyn_record(&self) -> StateRecord;
    fn dyn_detach(self: Box<Self>) -> Box<dyn DynState<B>>;
    fn dyn_to_device(self: Box<Self>, device: &B::Device) -> Box<dyn DynState<B>>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<B: KernelBackend, S: MixerState<B>> DynState<B> for S {
    fn boxed_clone(&self) -> Box<dyn DynState<B>> {
        Box::new(self.clone())
    }

    fn dyn_bytes(&self) -> usize {
        self.bytes()
    }

    fn dyn_record(&self) -> StateRecord {
        self.to_record()
    }

    fn dyn_detach(self: Box<Self>) -> Box<dyn DynState<B>> {
        Box::new(self.detach())
    }

    fn dyn_to_device(self: Box<Self>, device: &B::Device) -> Box<dyn DynState<B>> {
        Box::new(self.to_device(device))
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The state of a mixer of any kind.
#[derive(Debug)]
pub struct AnyState<B: Backend>(Box<dyn DynState<B>>);

impl<B: Backend> Clone for AnyState<B> {
    fn clone(&self) -> Self {
        Self(self.0.boxed_clone())
    }
}

impl<B: Backend> AnyState<B> {
    pub(crate) fn new<S: MixerState<B>>(state: S) -> Self
    where
        B: KernelBackend,
    {
        Self(Box::new(state))
    }

    /// # Panics
    /// If the state is another mixer's.
    pub(crate) fn into_inner<S: 'static>(self) -> S {
        *self.0.into_any().downcast().expect("a mixer was given another mixer's state")
    }

    /// Bytes that the state holds on its device.
    pub fn bytes(&self) -> usize {
        self.0.dyn_bytes()
    }

    /// The state as named tensors on the host.
    pub fn to_record(&self) -> StateRecord {
        self.0.dyn_record()
    }

    /// Cut from the graph that made it: gradients stop here.
    pub fn detach(self) -> Self {
        Self(self.0.dyn_detach())
    }

    /// On another device.
    pub fn to_device(self, device: &B::Device) -> Self {
        Self(self.0.dyn_to_device(device))
    }
}
