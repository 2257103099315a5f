//! A mixer whose type this crate does not know, because another crate implements it.
//!
//! [`DynMixer`] is what is left of [`Mixer`] and Burn's `Module` without their generic methods; a [`CustomMixer`] is a module around it.

use super::contract::{Mixer, MixerOptions, Sizes};
use super::custom_state::CustomState;
use super::erased::{DynMapper, DynVisitor, Erased};
use super::parameters::{Flatten, Inner, Outer, Replace, Unflatten};
use crate::error::PolicyError;
use crate::init::Init;
use crate::reset::Reset;
use crate::state::{MixerState, StateRecord};
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::{
    AutodiffModule, Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Device, Tensor};
use serde_json::Value;
use std::{any::Any, fmt::Debug, marker::PhantomData, sync::Arc};

/// What a mixer makes of tokens, and its next state.
type Mixed<B> = (Tensor<B, 3>, CustomState<B>);

/// [`Mixer`] and [`Module`] without their type.
trait DynMixer<B: Backend>: Debug + Send + Sync {
    fn boxed_clone(&self) -> Box<dyn DynMixer<B>>;
    fn dyn_devices(&self, devices: Devices<B>) -> Devices<B>;
    fn dyn_fork(self: Box<Self>, device: &B::Device) -> Box<dyn DynMixer<B>>;
    fn dyn_to_device(self: Box<Self>, device: &B::Device) -> Box<dyn DynMixer<B>>;
    fn dyn_visit(&self, visitor: &mut dyn DynVisitor<B>);
    fn dyn_map(self: Box<Self>, mapper: &mut dyn DynMapper<B>) -> Box<dyn DynMixer<B>>;
    fn dyn_initial_state(&self, batch: usize, device: &B::Device) -> CustomState<B>;
    fn dyn_restore_state(&self, record: StateRecord, device: &B::Device) -> Result<CustomState<B>, PolicyError>;
    fn dyn_forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: CustomState<B>, dropout: Dropout) -> Mixed<B>;
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

    fn dyn_initial_state(&self, batch: usize, device: &B::Device) -> CustomState<B> {
        CustomState::new(self.initial_state(batch, device))
    }

    fn dyn_restore_state(&self, record: StateRecord, device: &B::Device) -> Result<CustomState<B>, PolicyError> {
        Ok(CustomState::new(M::State::from_record(record, device)?))
    }

    fn dyn_forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: CustomState<B>, dropout: Dropout) -> Mixed<B> {
        let (y, state) = self.forward(x, reset, state.into_inner(), dropout);
        (y, CustomState::new(state))
    }

    fn dyn_no_decay(&self) -> Vec<ParamId> {
        self.no_decay()
    }
}

/// Makes a mixer on one backend.
type Constructor<B> = fn(Sizes, &Value, &mut Init, &Device<B>) -> Box<dyn DynMixer<B>>;

/// How to make a mixer, on every backend that it was registered for: a [`Constructor`] each.
#[derive(Default)]
pub(super) struct Constructors(Vec<Box<dyn Any + Send + Sync>>);

impl Constructors {
    /// Adds a backend.
    pub fn add<B: KernelBackend, M: Mixer<B>>(&mut self) {
        let make: Constructor<B> = |sizes, options, init, device| {
            let options = parse(options).expect("options are checked before a mixer is made");
            Box::new(M::new(sizes, &options, init, device))
        };
        self.0.push(Box::new(make));
    }
}

/// A mixer's options from JSON, where `null` stands for the defaults.
pub(super) fn parse<O: MixerOptions>(options: &Value) -> Result<O, serde_json::Error> {
    if options.is_null() { Ok(O::default()) } else { O::deserialize(options) }
}

/// What a mixer was made from, to make it again on another backend.
struct Origin {
    constructors: &'static Constructors,
    sizes: Sizes,
    options: Value,
}

impl Origin {
    /// # Panics
    /// If the mixer was not registered for this backend.
    fn make<B: Backend>(self: &Arc<Self>, init: &mut Init, device: &B::Device) -> CustomMixer<B> {
        let of_backend = self.constructors.0.iter().find_map(|make| make.downcast_ref::<Constructor<B>>());
        let make = of_backend.unwrap_or_else(|| panic!("registered mixers do not run on the backend {}", B::name(device)));
        CustomMixer { mixer: make(self.sizes, &self.options, init, device), origin: self.clone() }
    }
}

/// A registered mixer.
pub struct CustomMixer<B: Backend> {
    mixer: Box<dyn DynMixer<B>>,
    origin: Arc<Origin>,
}

impl<B: Backend> CustomMixer<B> {
    pub(super) fn new(
        constructors: &'static Constructors,
        sizes: Sizes,
        options: Value,
        init: &mut Init,
        device: &B::Device,
    ) -> Self {
        Arc::new(Origin { constructors, sizes, options }).make(init, device)
    }

    pub(super) fn initial_state(&self, batch: usize, device: &B::Device) -> CustomState<B> {
        self.mixer.dyn_initial_state(batch, device)
    }

    pub(super) fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: CustomState<B>, dropout: Dropout) -> Mixed<B> {
        self.mixer.dyn_forward(x, reset, state, dropout)
    }

    pub(super) fn no_decay(&self) -> Vec<ParamId> {
        self.mixer.dyn_no_decay()
    }

    pub(super) fn restore_state(&self, record: StateRecord, device: &B::Device) -> Result<CustomState<B>, PolicyError> {
        self.mixer.dyn_restore_state(record, device)
    }

    /// The same mixer on another backend, with parameters that are given in the order of a visit.
    fn on<C: Backend>(&self, device: &C::Device, parameters: Vec<Box<dyn Any>>) -> CustomMixer<C> {
        self.origin.make(&mut Init::new(0), device).map(&mut Replace(parameters.into_iter()))
    }

    fn device(&self) -> B::Device {
        self.devices().pop().unwrap_or_default()
    }
}

impl<B: Backend> Clone for CustomMixer<B> {
    fn clone(&self) -> Self {
        Self { mixer: self.mixer.boxed_clone(), origin: self.origin.clone() }
    }
}

impl<B: Backend> Debug for CustomMixer<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.mixer.fmt(f)
    }
}

impl<B: Backend> Module<B> for CustomMixer<B> {
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
        self.mixer.dyn_visit(visitor);
    }

    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        Self { mixer: self.mixer.dyn_map(mapper), ..self }
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

impl<B: AutodiffBackend> AutodiffModule<B> for CustomMixer<B> {
    type InnerModule = CustomMixer<B::InnerBackend>;

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

impl<B: Backend> ModuleDisplayDefault for CustomMixer<B> {
    fn content(&self, content: Content) -> Option<Content> {
        content.set_top_level_type("CustomMixer").optional()
    }
}

impl<B: Backend> ModuleDisplay for CustomMixer<B> {}
