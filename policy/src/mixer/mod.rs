//! Sequence mixers: the part of a block that looks back in time, behind one contract.
//!
//! To add a mixer: one file in this folder with a module that implements [`Mixer`] and a state that implements
//! `MixerState` (a state of plain tensors takes one line, `tensor_state!`), and one line in the list at the end of this file, with a
//! sentence that ends in `no state` or the state's size, `: ... bytes a layer`, in numbers, `width`, `heads`, `head_dim`, the tokens
//! `t` and the mixer's own options. The laws in `tests/laws.rs` then run over it, and hold its state to that size. A mixer with options of its own names their struct, which implements
//! [`MixerOptions`], in its line; `policy.options` in a config then has them.
//!
//! A stack is a name for several mixers, one a block, in turn.

#![allow(clippy::large_enum_variant, reason = "there are as many mixers as a policy has blocks")]

mod bounded_cache;

pub use aaren::Recency;
pub use bounded_cache::CachePolicy;

use crate::{
    config::PolicyConfig,
    error::PolicyError,
    init::Init,
    reset::Reset,
    state::{MixerState, StateRecord},
};
use aaren_kernels::{Dropout, KernelBackend};
use burn::{
    module::{Module, ParamId},
    tensor::{Tensor, activation, backend::Backend},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

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

    /// Parameters that weight decay leaves alone.
    fn undecayed(&self) -> Vec<ParamId> {
        Vec::new()
    }
}

/// Options that one mixer has and others do not.
pub trait MixerOptions: Clone + Default + PartialEq + Serialize + DeserializeOwned {
    /// Whether the options fit each other and the sizes of the policy.
    ///
    /// # Errors
    /// [`PolicyError::Size`], with the key.
    fn check(&self, config: &PolicyConfig) -> Result<(), PolicyError>;
}

/// A tensor in another's float type: first states are made before anybody knows the inputs' type.
fn like<B: Backend, const D: usize, const E: usize>(state: Tensor<B, D>, x: &Tensor<B, E>) -> Tensor<B, D> {
    if state.dtype() == x.dtype() { state } else { state.cast(x.dtype()) }
}

/// `log(1 + e^x)` without overflow.
fn softplus<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    activation::relu(x.clone()) + x.abs().neg().exp().log1p()
}

/// The `x` of which [`softplus`] is `y`.
fn inverse_softplus(y: f32) -> f32 {
    y + (-(-y).exp_m1()).ln()
}

/// Replaces the rows of `state` whose episode begins at `token` by those of `fresh`. Nothing is computed where none does.
fn restart_rows<B: Backend>(state: Tensor<B, 2>, fresh: &Tensor<B, 2>, reset: &Reset<B>, token: usize) -> Tensor<B, 2> {
    let batch = reset.batch();
    match (0..batch).filter(|&row| reset.at(row, token)).count() {
        0 => state,
        rows if rows == batch => fresh.clone(),
        _ => {
            let shape = state.dims();
            state.mask_where(reset.tensor().slice([0..batch, token..token + 1]).expand(shape), fresh.clone())
        }
    }
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
    ($($(#[doc = $doc:literal])* $name:literal => $variant:ident: $module:ident::{$mixer:ident, $state:ident $(, $options:ident)?},)*) => {
        $(mod $module;)*
        $($(pub use $module::$options;)?)*

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

        /// `policy.options`: the options of every mixer that has some.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        pub struct Options {
            $($(#[doc = concat!("Options of `", $name, "`.")] pub $module: $options,)?)*
        }

        impl Options {
            /// Checks the options of the mixers that are used.
            ///
            /// # Errors
            /// [`PolicyError::Size`], also for options of a mixer that is not used.
            pub(crate) fn check(&self, used: &[&str], config: &PolicyConfig) -> Result<(), PolicyError> {
                $($(
                    if used.contains(&$name) {
                        MixerOptions::check(&self.$module, config)?;
                    } else if self.$module != $options::default() {
                        return Err(PolicyError::Size {
                            key: concat!("options.", $name),
                            problem: format!("given, but no block is \"{}\"; there are {}", $name, used.join(", ")),
                        });
                    }
                )?)*
                Ok(())
            }
        }

        /// Name and description of every mixer.
        const LIST: &[(&str, &str)] = &[$(($name, concat!($($doc),*))),*];

        impl<B: KernelBackend> AnyMixer<B> {
            /// Makes the mixer of a name, of the sizes and options in `config`.
            ///
            /// # Errors
            /// [`PolicyError::UnknownMixer`] if there is none of that name.
            pub fn new(name: &str, config: &PolicyConfig, init: &mut Init, device: &B::Device) -> Result<Self, PolicyError> {
                match name {
                    $($name => Ok(Self::$variant(Mixer::<B>::new(config, init, device))),)*
                    name => Err(unknown(name)),
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

            /// [`Mixer::undecayed`].
            pub(crate) fn undecayed(&self) -> Vec<ParamId> {
                match self {
                    $(Self::$variant(mixer) => mixer.undecayed(),)*
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

impl<B: KernelBackend> AnyMixer<B> {
    /// Lets a Transformer act with a KV cache of bounded size; says whether this is one.
    pub fn set_cache(&mut self, cache: CachePolicy) -> bool {
        match self {
            Self::Transformer(transformer) => {
                transformer.set_cache(cache);
                true
            }
            _ => false,
        }
    }

    /// With the random features of a Performer drawn anew. States made before do not go with them.
    pub fn redrawn(self, init: &mut Init) -> Self {
        match self {
            Self::Performer(performer) => Self::Performer(performer.redrawn(init)),
            other => other,
        }
    }
}

/// Stacks: a name, its mixers in turn, and what it is.
const STACKS: &[(&str, &[&str], &str)] = &[
    (
        "based",
        &["short-conv", "linear-attention", "window"],
        "Stack: short convolution, linear attention with the Taylor map, window attention, in turn",
    ),
    ("striped-hyena", &["hyena-modal", "transformer"], "Stack: Hyena in its modal form and causal attention, in turn"),
];

/// Names of all mixers.
pub fn names() -> Vec<&'static str> {
    LIST.iter().map(|(name, _)| *name).collect()
}

/// Names of all mixers and stacks: what `policy.mixer` in a config may be.
pub fn choices() -> Vec<&'static str> {
    names().into_iter().chain(STACKS.iter().map(|(name, ..)| *name)).collect()
}

/// Name and one-line description of all mixers and stacks.
pub fn list() -> Vec<(&'static str, &'static str)> {
    LIST.iter().copied().chain(STACKS.iter().map(|(name, _, what)| (*name, *what))).collect()
}

fn unknown(name: &str) -> PolicyError {
    PolicyError::UnknownMixer { name: name.into(), known: choices().join(", ") }
}

/// The mixers that a name stands for: itself, or a stack's. `"attention"` is another name of the Transformer's.
pub(crate) fn resolve(name: &str) -> Result<Vec<&'static str>, PolicyError> {
    let name = if name == "attention" { "transformer" } else { name };
    if let Some((_, mixers, _)) = STACKS.iter().find(|(stack, ..)| *stack == name) {
        return Ok(mixers.to_vec());
    }
    names().into_iter().find(|mixer| *mixer == name).map(|mixer| vec![mixer]).ok_or_else(|| unknown(name))
}

mixers! {
    /// Attention of a learned query, a recurrence with constant state: 4 queries (width + heads) bytes a layer
    "aaren" => Aaren: aaren::{Aaren, AarenState, AarenOptions},
    /// No mixing, a block is its feed-forward half: with "tokens": "observation" behaviour cloning; no state
    "mlp" => Mlp: mlp::{Mlp, MlpState},
    /// Causal softmax attention with a KV cache: 8 width bytes a layer and token
    "transformer" => Transformer: transformer::{Transformer, KeyValueCache},
    /// Gated recurrent unit with a learned initial state: 4 width bytes a layer
    "gru" => Gru: gru::{Gru, GruState},
    /// Gated long convolution with implicit filters: 4 width (order - 1) min(t, taps - 1) + 8 width (order + 1) + 8 bytes a layer
    "hyena" => Hyena: hyena::{Hyena, HyenaState, HyenaOptions},
    /// Gated long convolution with filters of complex exponentials, an exact recurrence: 8 width (poles + 3) bytes a layer
    "hyena-modal" => HyenaModal: hyena_modal::{HyenaModal, HyenaModalState, HyenaModalOptions},
    /// Long short-term memory with a learned initial state: 8 width bytes a layer
    "lstm" => Lstm: lstm::{Lstm, LstmState},
    /// Linear attention with the Taylor map of the exponential, 153 features: 4 heads 153 (head_dim + 1) bytes a layer
    "linear-attention" => LinearAttention: linear_attention::{LinearAttention, LinearAttentionState, LinearAttentionOptions},
    /// Selective state space with short convolution and gate: 4 expansion width (states + taps - 1) bytes a layer
    "mamba" => Mamba: mamba::{Mamba, MambaState, MambaOptions},
    /// Gated recurrent unit whose gates do not see its state, trained by a parallel scan: 4 width bytes a layer
    "min-gru" => MinGru: min_gru::{MinGru, MinGruState},
    /// Gated long convolution by Monarch matrices: 4 width min(t, length / 2 - 1) + 24 width + 8 bytes a layer
    "monarch" => Monarch: monarch::{Monarch, MonarchState, MonarchOptions},
    /// Learned latents that read all tokens and answer the present one: 4 latents (width + heads) bytes a layer
    "perceiver" => Perceiver: perceiver::{Perceiver, PerceiverState, PerceiverOptions},
    /// Softmax attention by random features: 4 heads features (head_dim + 1) bytes a layer
    "performer" => Performer: performer::{Performer, PerformerState, PerformerOptions},
    /// Short convolution with a gate: 8 width (taps - 1) bytes a layer
    "short-conv" => ShortConv: short_conv::{ShortConv, ShortConvState, ShortConvOptions},
    /// Causal softmax attention over the last tokens: 8 width (tokens - 1) + 8 bytes a layer
    "window" => Window: window::{Window, WindowState, WindowOptions},
}
