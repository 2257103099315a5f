//! What a sequence mixer is.

use super::bounded_cache::CachePolicy;
use crate::{error::PolicyError, init::Init, reset::Reset, state::MixerState};
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use serde::{Serialize, de::DeserializeOwned};

/// Sizes of the policy that a mixer is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Width of the residual stream (`d_model`), a multiple of `heads`.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Residual blocks of the policy.
    pub layers: usize,
}

/// The contract. `forward` is training, acting and everything between: there is no second implementation to agree with.
pub trait Mixer<B: KernelBackend>: Module<B> + Sync + 'static {
    /// What the mixer carries from one call to the next.
    type State: MixerState<B>;

    /// What `policy.options` in a config says about the mixer alone; `()` if there is nothing to say.
    type Options: MixerOptions;

    /// Makes the module.
    fn new(sizes: Sizes, options: &Self::Options, init: &mut Init, device: &B::Device) -> Self;

    /// The state of sequences that have not begun.
    fn initial_state(&self, batch: usize, device: &B::Device) -> Self::State;

    /// The state of sequences that have not begun, with a KV cache of bounded size; `None` if the mixer has no cache to bound. The state
    /// decides: all that comes after it is bounded too.
    fn bounded_state(&self, _cache: CachePolicy, _batch: usize) -> Option<Self::State> {
        None
    }

    /// Mixes tokens over time, causally, forgetting at resets.
    ///
    /// # Shapes
    /// - `x`: `[batch, time, width]`, any `time >= 1`
    /// - `reset`: `[batch, time]`
    /// - returns: `[batch, time, width]`, and the state after the last token
    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, dropout: Dropout) -> (Tensor<B, 3>, Self::State);

    /// Parameters that weight decay leaves alone.
    fn no_decay(&self) -> Vec<ParamId> {
        Vec::new()
    }
}

/// Options that one mixer has and others do not.
pub trait MixerOptions: Clone + Default + PartialEq + Serialize + DeserializeOwned {
    /// Whether the options are in range and fit each other.
    ///
    /// # Errors
    /// [`PolicyError::Size`], with the key.
    fn check(&self) -> Result<(), PolicyError>;
}

impl MixerOptions for () {
    fn check(&self) -> Result<(), PolicyError> {
        Ok(())
    }
}
