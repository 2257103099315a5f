//! A mixer of any kind, chosen by its name when a policy is built.
//!
//! An [`AnyMixer`] is a module around a `DynMixer`, whose type is not known. What a mixer computes is compiled once for each backend, where
//! its kind is made, and not in every crate that trains or acts.

use super::any_state::AnyState;
use super::bounded_cache::CachePolicy;
use super::contract::Sizes;
use super::dyn_mixer::{DynMixer, Mixed};
use super::kind::Kind;
use super::list::{self, Options};
use super::parameters::{Flatten, Inner, Outer, Replace, Unflatten};
use crate::error::PolicyError;
use crate::init::Init;
use crate::reset::Reset;
use crate::state::StateRecord;
use aaren_kernels::Dropout;
use burn::module::{
    AutodiffModule, Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde_json::Value;
use std::{any::Any, fmt::Debug, marker::PhantomData, sync::Arc};

/// How names of weights tell that the part before the mixer's own names its kind: Burn writes this of an enum.
const CONTAINER: &str = "Enum:AnyMixer";

/// What a mixer was made from, to make it again on another backend.
struct Origin {
    kind: &'static Kind,
    sizes: Sizes,
    options: Value,
}

impl Origin {
    /// # Panics
    /// If there are no mixers for this backend.
    fn make<B: Backend>(self: &Arc<Self>, init: &mut Init, device: &B::Device) -> AnyMixer<B> {
        AnyMixer { mixer: self.kind.make(self.sizes, &self.options, init, device), origin: self.clone() }
    }
}

/// A mixer of any kind.
pub struct AnyMixer<B: Backend> {
    mixer: Box<dyn DynMixer<B>>,
    origin: Arc<Origin>,
}

impl<B: Backend> AnyMixer<B> {
    /// Makes the mixer of a name.
    ///
    /// # Errors
    /// [`PolicyError::UnknownMixer`] if there is none of that name; [`PolicyError::Size`] for options of a mixer of another crate.
    ///
    /// # Panics
    /// If the backend is none of those that mixers are registered for.
    pub fn new(name: &str, sizes: Sizes, options: &Options, init: &mut Init, device: &B::Device) -> Result<Self, PolicyError> {
        let kind = list::find(name)?;
        let options = options.of(kind);
        kind.check(&options)?;
        Ok(Arc::new(Origin { kind, sizes, options }).make(init, device))
    }

    /// [`Mixer::initial_state`](super::Mixer::initial_state).
    pub fn initial_state(&self, batch: usize, device: &B::Device) -> AnyState<B> {
        self.mixer.dyn_initial_state(batch, device)
    }

    /// [`Mixer::bounded_state`](super::Mixer::bounded_state).
    pub fn bounded_state(&self, cache: CachePolicy, batch: usize) -> Option<AnyState<B>> {
        self.mixer.dyn_bounded_state(cache, batch)
    }

    /// [`Mixer::forward`](super::Mixer::forward).
    ///
    /// # Panics
    /// If the state is another mixer's.
    pub fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: AnyState<B>, dropout: Dropout) -> Mixed<B> {
        self.mixer.dyn_forward(x, reset, state, dropout)
    }

    /// [`Mixer::no_decay`](super::Mixer::no_decay).
    pub(crate) fn no_decay(&self) -> Vec<ParamId> {
        self.mixer.dyn_no_decay()
    }

    /// A stored state, if it is one of this mixer's.
    ///
    /// # Errors
    /// [`PolicyError::State`] if tensors are missing or of another shape.
    pub fn restore_state(&self, record: StateRecord, device: &B::Device) -> Result<AnyState<B>, PolicyError> {
        self.mixer.dyn_restore_state(record, device)
    }

    /// The same mixer on another backend, with parameters that are given in the order of a visit.
    fn on<C: Backend>(&self, device: &C::Device, parameters: Vec<Box<dyn Any>>) -> AnyMixer<C> {
        self.origin.make(&mut Init::blank(), device).map(&mut Replace(parameters.into_iter()))
    }

    fn device(&self) -> B::Device {
        self.devices().pop().unwrap_or_default()
    }
}

impl<B: Backend> Clone for AnyMixer<B> {
    fn clone(&self) -> Self {
        Self { mixer: self.mixer.boxed_clone(), origin: self.origin.clone() }
    }
}

impl<B: Backend> Debug for AnyMixer<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.mixer.fmt(f)
    }
}

impl<B: Backend> Module<B> for AnyMixer<B> {
    /// All parameters on one axis each, in the order of a visit.
    type Record = Vec<Param<Tensor<B, 1>>>;

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        self.mixer.dyn_devices(devices)
    }

    fn fork(self, device: &B::Device) -> Self {
        Self { mixer: self.mixer.dyn_fork(device), ..self }
    }

    fn to_device(self, device: &B::Device) -> Self {
        Self { mixer: self.mixer.dyn_to_device(device), ..self }
    }

    fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        let kind = self.origin.kind.tag;
        visitor.enter_module(kind, CONTAINER);
        self.mixer.dyn_visit(visitor);
        visitor.exit_module(kind, CONTAINER);
    }

    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        let kind = self.origin.kind.tag;
        mapper.enter_module(kind, CONTAINER);
        let mixer = self.mixer.dyn_map(mapper);
        mapper.exit_module(kind, CONTAINER);
        Self { mixer, ..self }
    }

    fn load_record(self, record: Self::Record) -> Self {
        self.map(&mut Unflatten(record.into_iter()))
    }

    fn into_record(self) -> Self::Record {
        let mut flat = Flatten(Vec::new());
        self.visit(&mut flat);
        flat.0
    }
}

impl<B: AutodiffBackend> AutodiffModule<B> for AnyMixer<B> {
    type InnerModule = AnyMixer<B::InnerBackend>;

    fn valid(&self) -> Self::InnerModule {
        let mut inner = Inner(Vec::new());
        self.visit(&mut inner);
        self.on(&self.device(), inner.0)
    }

    fn from_inner(module: Self::InnerModule) -> Self {
        let mut outer = Outer::<B>(Vec::new(), PhantomData);
        module.visit(&mut outer);
        module.on(&module.device(), outer.0)
    }
}

impl<B: Backend> ModuleDisplayDefault for AnyMixer<B> {
    fn content(&self, content: Content) -> Option<Content> {
        content.set_top_level_type("AnyMixer").optional()
    }
}

impl<B: Backend> ModuleDisplay for AnyMixer<B> {}
