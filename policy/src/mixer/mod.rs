//! Sequence mixers: the part of a block that looks back in time, behind one contract.
//!
//! To add a mixer: one file in this folder with a module that implements [`Mixer`] and a state that implements
//! `MixerState`, and one line in the list at the end of this file. The laws in `tests/laws.rs` then run over it.

mod aaren;
mod mlp;
mod transformer;

use crate::{
    config::PolicyConfig,
    error::PolicyError,
    init::Init,
    reset::Reset,
    state::{MixerState, StateRecord},
};
use burn::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};
use kernels::{Dropout, KernelBackend};

/// The contract. `forward` is training, acting and everything between: there is no second implementation to agree with.
pub trait Mixer<B: KernelBackend>: Sized {
    /// What the mixer carries from one call to the next.
    type State: MixerState<B>;

    /// Makes the module. `config.width` is a multiple of `config.heads`.
    fn new(config: &PolicyConfig, init: &mut Init, device: &B::Device) -> Self;

    /// The state of sequences that have not begun.
    fn initial_state(&self, batch: usize, device: &B::Device) -> Self::State;

    /// Mixes tokens over time, causally, forgetting at resets.
    ///
    /// # Shapes
    /// - `x`: `[batch, time, width]`, any `time >= 1`
    /// - `reset`: `[batch, time]`
    /// - returns: `[batch, time, width]`, and the state after the last token
    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, dropout: Dropout) -> (Tensor<B, 3>, Self::State);
}

/// `[batch * time, width]` to `[batch, heads, time, head_dim]`.
fn split_heads<B: Backend>(x: Tensor<B, 2>, batch: usize, heads: usize) -> Tensor<B, 4> {
    let [rows, width] = x.dims();
    let (time, head_dim) = (rows / batch, width / heads);
    if heads == 1 {
        // The same memory without the axes being swapped, which a later reshape would have to undo by a copy.
        return x.reshape([batch, 1, time, head_dim]);
    }
    x.reshape([batch, time, heads, head_dim]).swap_dims(1, 2)
}

/// `[batch, heads, time, head_dim]` to `[batch * time, width]`.
fn merge_heads<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 2> {
    let [batch, heads, time, head_dim] = x.dims();
    let x = if heads == 1 { x } else { x.swap_dims(1, 2) };
    x.reshape([batch * time, heads * head_dim])
}

/// Makes the enums over all mixers and their states, so that a mixer is chosen by name when a policy is built.
macro_rules! mixers {
    ($($(#[doc = $doc:literal])* $name:literal => $variant:ident: $module:ident::{$mixer:ident, $state:ident},)*) => {
        /// A mixer of any kind.
        #[derive(Module, Debug)]
        pub enum AnyMixer<B: Backend> {
            $($(#[doc = $doc])* $variant($module::$mixer<B>),)*
        }

        /// The state of a mixer of any kind.
        #[derive(Clone, Debug)]
        pub enum AnyState<B: Backend> {
            $($(#[doc = $doc])* $variant($module::$state<B>),)*
        }

        /// Name and description of every mixer.
        const LIST: &[(&str, &str)] = &[$(($name, concat!($($doc),*))),*];

        impl<B: KernelBackend> AnyMixer<B> {
            /// Makes the mixer that `config.mixer` names.
            ///
            /// # Errors
            /// [`PolicyError::UnknownMixer`] if there is none of that name.
            pub fn new(config: &PolicyConfig, init: &mut Init, device: &B::Device) -> Result<Self, PolicyError> {
                match config.mixer.as_str() {
                    $($name => Ok(Self::$variant(Mixer::<B>::new(config, init, device))),)*
                    name => Err(PolicyError::UnknownMixer { name: name.into(), known: names().join(", ") }),
                }
            }

            /// [`Mixer::initial_state`].
            pub fn initial_state(&self, batch: usize, device: &B::Device) -> AnyState<B> {
                match self {
                    $(Self::$variant(mixer) => AnyState::$variant(mixer.initial_state(batch, device)),)*
                }
            }

            /// [`Mixer::forward`].
            ///
            /// # Panics
            /// If the state is another mixer's.
            pub fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: AnyState<B>, dropout: Dropout) -> (Tensor<B, 3>, AnyState<B>) {
                match (self, state) {
                    $((Self::$variant(mixer), AnyState::$variant(state)) => {
                        let (y, state) = mixer.forward(x, reset, state, dropout);
                        (y, AnyState::$variant(state))
                    })*
                    #[allow(unreachable_patterns)]
                    (_, _) => panic!("a mixer was given another mixer's state"),
                }
            }

            /// A stored state, if it is one of this mixer's.
            ///
            /// # Errors
            /// [`PolicyError::State`] if tensors are missing or of another shape.
            pub fn restore_state(&self, record: StateRecord, device: &B::Device) -> Result<AnyState<B>, PolicyError> {
                match self {
                    $(Self::$variant(_) => Ok(AnyState::$variant(MixerState::from_record(record, device)?)),)*
                }
            }
        }

        impl<B: Backend> AnyState<B> {
            /// Bytes that the state holds on its device.
            pub fn bytes(&self) -> usize where B: KernelBackend {
                match self { $(Self::$variant(state) => state.bytes(),)* }
            }

            /// The state as named tensors on the host.
            pub fn to_record(&self) -> StateRecord where B: KernelBackend {
                match self { $(Self::$variant(state) => state.to_record(),)* }
            }

            /// Cut from the graph that made it: gradients stop here.
            pub fn detach(self) -> Self where B: KernelBackend {
                match self { $(Self::$variant(state) => Self::$variant(state.detach()),)* }
            }

            /// On another device.
            pub fn to_device(self, device: &B::Device) -> Self where B: KernelBackend {
                match self { $(Self::$variant(state) => Self::$variant(state.to_device(device)),)* }
            }
        }
    };
}

/// Names of all mixers, as `policy.mixer` in a config has them.
pub fn names() -> Vec<&'static str> {
    LIST.iter().map(|(name, _)| *name).collect()
}

/// Name and one-line description of all mixers.
pub fn list() -> &'static [(&'static str, &'static str)] {
    LIST
}

mixers! {
    /// Attention of a learned query, a recurrence with constant state: 4 (width + heads) bytes a layer
    "aaren" => Aaren: aaren::{Aaren, AarenState},
    /// No mixing, a block is its feed-forward half: with "tokens": "observation" behaviour cloning; no state
    "mlp" => Mlp: mlp::{Mlp, MlpState},
    /// Causal softmax attention with a KV cache: 8 width bytes a layer and token
    "transformer" => Transformer: transformer::{Transformer, KeyValueCache},
}
