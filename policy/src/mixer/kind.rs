//! A kind of mixer: its name, and how one is made on every backend.

use super::contract::{Mixer, MixerOptions, Sizes};
use super::dyn_mixer::DynMixer;
use crate::{error::PolicyError, init::Init};
use aaren_kernels::KernelBackend;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Device;
use burn::tensor::backend::Backend;
use serde_json::Value;
use std::any::{Any, TypeId};

/// A mixer on every backend: `struct Family; impl MixerFamily for Family { type Mixer<B: KernelBackend> = MyMixer<B>; }`.
pub trait MixerFamily: 'static {
    /// The mixer on one backend.
    type Mixer<B: KernelBackend>: Mixer<B>;
}

/// Makes a mixer on one backend.
type Constructor<B> = fn(Sizes, &Value, &mut Init, &Device<B>) -> Box<dyn DynMixer<B>>;

/// A kind of mixer.
pub(super) struct Kind {
    /// What a config calls it.
    pub name: &'static str,
    /// What names of its weights call it.
    pub tag: &'static str,
    /// What it is, and the size of its state.
    pub sentence: &'static str,
    family: TypeId,
    check: fn(&Value) -> Result<(), PolicyError>,
    /// A [`Constructor`] for each backend.
    constructors: Vec<Box<dyn Any + Send + Sync>>,
}

impl Kind {
    /// The kind of a family. What its mixers compute is compiled here, in the crate that calls this.
    pub fn new<F: MixerFamily>(name: &'static str, tag: &'static str, sentence: &'static str) -> Self {
        let mut kind = Self { name, tag, sentence, family: TypeId::of::<F>(), check: check::<F>, constructors: Vec::new() };
        kind.add::<F, Flex>();
        #[cfg(feature = "vulkan")]
        kind.add::<F, aaren_kernels::device::Vulkan>();
        #[cfg(feature = "cuda")]
        kind.add::<F, aaren_kernels::device::Cuda>();
        kind
    }

    /// Adds a backend, and the one that differentiates it.
    fn add<F: MixerFamily, B: KernelBackend>(&mut self) {
        self.constructors.push(constructor::<B, F::Mixer<B>>());
        self.constructors.push(constructor::<Autodiff<B>, F::Mixer<Autodiff<B>>>());
    }

    /// Whether this is a family's kind.
    pub fn is<F: MixerFamily>(&self) -> bool {
        self.family == TypeId::of::<F>()
    }

    /// Checks a mixer's options.
    ///
    /// # Errors
    /// [`PolicyError::Size`].
    pub fn check(&self, options: &Value) -> Result<(), PolicyError> {
        (self.check)(options)
    }

    /// Makes a mixer whose options are checked.
    ///
    /// # Panics
    /// If there is no mixer for this backend.
    pub fn make<B: Backend>(&self, sizes: Sizes, options: &Value, init: &mut Init, device: &B::Device) -> Box<dyn DynMixer<B>> {
        let of_backend = self.constructors.iter().find_map(|make| make.downcast_ref::<Constructor<B>>());
        let make = of_backend.unwrap_or_else(|| panic!("mixers do not run on the backend {}", B::name(device)));
        make(sizes, options, init, device)
    }
}

fn constructor<B: KernelBackend, M: Mixer<B>>() -> Box<dyn Any + Send + Sync> {
    let make: Constructor<B> = |sizes, options, init, device| {
        let options = parse(options).expect("options are checked before a mixer is made");
        Box::new(M::new(sizes, &options, init, device))
    };
    Box::new(make)
}

fn check<F: MixerFamily>(options: &Value) -> Result<(), PolicyError> {
    let options: <F::Mixer<Flex> as Mixer<Flex>>::Options =
        parse(options).map_err(|error| PolicyError::Size { key: "options.custom", problem: error.to_string() })?;
    options.check()
}

/// A mixer's options from JSON, where `null` stands for the defaults.
fn parse<O: MixerOptions>(options: &Value) -> Result<O, serde_json::Error> {
    if options.is_null() { Ok(O::default()) } else { O::deserialize(options) }
}
