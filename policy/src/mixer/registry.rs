//! Mixers of other crates, by name.

use super::contract::{Mixer, MixerOptions, Sizes};
use super::custom::{Constructors, CustomMixer, parse};
use crate::{error::PolicyError, init::Init};
use aaren_kernels::KernelBackend;
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use serde_json::Value;
use std::{any::TypeId, sync::RwLock};

/// A mixer on every backend: `struct Family; impl MixerFamily for Family { type Mixer<B: KernelBackend> = MyMixer<B>; }`.
pub trait MixerFamily: 'static {
    /// The mixer on one backend.
    type Mixer<B: KernelBackend>: Mixer<B>;
}

/// A registered mixer.
pub(super) struct Registered {
    pub name: &'static str,
    pub sentence: &'static str,
    family: TypeId,
    check: fn(&Value) -> Result<(), PolicyError>,
    constructors: Constructors,
}

/// Entries live as long as the process: policies may have been made from them.
static REGISTERED: RwLock<Vec<&'static Registered>> = RwLock::new(Vec::new());
const LOCK: &str = "no thread panics while it holds the lock";

/// Adds a mixer under a name that no other has.
pub(super) fn insert<F: MixerFamily>(name: &'static str, sentence: &'static str) {
    let mut constructors = Constructors::default();
    add::<F, Flex>(&mut constructors);
    #[cfg(feature = "vulkan")]
    add::<F, aaren_kernels::device::Vulkan>(&mut constructors);
    #[cfg(feature = "cuda")]
    add::<F, aaren_kernels::device::Cuda>(&mut constructors);
    let one = Registered { name, sentence, family: TypeId::of::<F>(), check: check::<F>, constructors };
    let mut registered = REGISTERED.write().expect(LOCK);
    // Another thread may have been quicker.
    if registered.iter().all(|other| other.name != name) {
        registered.push(Box::leak(Box::new(one)));
    }
}

/// Adds a backend, and the one that differentiates it.
fn add<F: MixerFamily, B: KernelBackend>(constructors: &mut Constructors) {
    constructors.add::<B, F::Mixer<B>>();
    constructors.add::<Autodiff<B>, F::Mixer<Autodiff<B>>>();
}

fn check<F: MixerFamily>(options: &Value) -> Result<(), PolicyError> {
    let options: <F::Mixer<Flex> as Mixer<Flex>>::Options =
        parse(options).map_err(|error| PolicyError::Size { key: "options.custom", problem: error.to_string() })?;
    options.check()
}

/// All that are registered, in the order in which they were.
pub(super) fn all() -> Vec<&'static Registered> {
    REGISTERED.read().expect(LOCK).clone()
}

/// The one of a name.
pub(super) fn find(name: &str) -> Option<&'static Registered> {
    all().into_iter().find(|one| one.name == name)
}

impl Registered {
    /// Whether this is a family's mixer.
    pub fn is<F: MixerFamily>(&self) -> bool {
        self.family == TypeId::of::<F>()
    }

    /// Checks a mixer's options.
    pub fn check(&self, options: &Value) -> Result<(), PolicyError> {
        (self.check)(options)
    }

    /// Makes a mixer whose options are checked.
    pub fn make<B: Backend>(&'static self, sizes: Sizes, options: Value, init: &mut Init, device: &B::Device) -> CustomMixer<B> {
        CustomMixer::new(&self.constructors, sizes, options, init, device)
    }
}
