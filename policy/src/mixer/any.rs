//! A mixer of any kind, chosen by its name when a policy is built.

#![allow(clippy::large_enum_variant, reason = "there are as many mixers as a policy has blocks")]

use super::bounded_cache::CachePolicy;
use super::contract::{Mixer, MixerOptions, Sizes};
use super::custom::CustomMixer;
use super::custom_state::CustomState;
use super::registry;
use super::registry::MixerFamily;
use crate::error::PolicyError;
use crate::init::Init;
use crate::reset::Reset;
use crate::state::{MixerState, StateRecord};
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The options of one mixer, or none.
macro_rules! options_of {
    ($all:ident) => {
        &()
    };
    ($all:ident $module:ident $options:ident) => {
        &$all.$module
    };
}

/// Makes the enums over all mixers and their states, so that a mixer is chosen by name when a policy is built.
macro_rules! mixers {
    ($($(#[doc = $doc:literal])* $name:literal => $variant:ident: $module:ident::{$mixer:ident, $state:ident $(, $options:ident)?},)*) => {
        $($(pub use super::$module::$options;)?)*

        /// A mixer of any kind.
        #[derive(Module, Debug)]
        pub enum AnyMixer<B: Backend> {
            $($(#[doc = $doc])* $variant(super::$module::$mixer<B>),)*
            /// Of another crate, see [`register`].
            Custom(CustomMixer<B>),
        }

        /// The state of a mixer of any kind.
        #[derive(Clone, Debug)]
        pub enum AnyState<B: Backend> {
            $($(#[doc = $doc])* $variant(super::$module::$state<B>),)*
            /// Of a mixer of another crate.
            Custom(CustomState<B>),
        }

        /// `policy.options`: the options of every mixer that has some.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        pub struct Options {
            $($(#[doc = concat!("Options of `", $name, "`.")] pub $module: $options,)?)*
            /// Options of mixers of other crates, by name.
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub custom: BTreeMap<String, serde_json::Value>,
        }

        impl Options {
            /// Checks the options of the mixers that are used.
            ///
            /// # Errors
            /// [`PolicyError::Size`], also for options of a mixer that is not used.
            pub(crate) fn check(&self, used: &[&str]) -> Result<(), PolicyError> {
                $($(
                    if used.contains(&$name) {
                        MixerOptions::check(&self.$module)?;
                    } else if self.$module != $options::default() {
                        return Err(PolicyError::Size {
                            key: concat!("options.", $name),
                            problem: format!("given, but no block is \"{}\"; there are {}", $name, used.join(", ")),
                        });
                    }
                )?)*
                self.check_custom(used)
            }
        }

        /// Name and description of every mixer.
        const LIST: &[(&str, &str)] = &[$(($name, concat!($($doc),*))),*];

        impl<B: KernelBackend> AnyMixer<B> {
            /// Makes the mixer of a name.
            ///
            /// # Errors
            /// [`PolicyError::UnknownMixer`] if there is none of that name.
            pub fn new(name: &str, sizes: Sizes, options: &Options, init: &mut Init, device: &B::Device) -> Result<Self, PolicyError> {
                match name {
                    $($name => Ok(Self::$variant(Mixer::<B>::new(sizes, options_of!(options $($module $options)?), init, device))),)*
                    name => {
                        let mixer = registry::find(name).ok_or_else(|| unknown(name))?;
                        let options = options.custom.get(name).cloned().unwrap_or_default();
                        mixer.check(&options)?;
                        Ok(Self::Custom(mixer.make(sizes, options, init, device)))
                    }
                }
            }

            /// [`Mixer::initial_state`].
            pub fn initial_state(&self, batch: usize, device: &B::Device) -> AnyState<B> {
                match self {
                    $(Self::$variant(mixer) => AnyState::$variant(mixer.initial_state(batch, device)),)*
                    Self::Custom(mixer) => AnyState::Custom(mixer.initial_state(batch, device)),
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
                    (Self::Custom(mixer), AnyState::Custom(state)) => {
                        let (y, state) = mixer.forward(x, reset, state, dropout);
                        (y, AnyState::Custom(state))
                    }
                    (_, _) => panic!("a mixer was given another mixer's state"),
                }
            }

            /// [`Mixer::no_decay`].
            pub(crate) fn no_decay(&self) -> Vec<ParamId> {
                match self {
                    $(Self::$variant(mixer) => mixer.no_decay(),)*
                    Self::Custom(mixer) => mixer.no_decay(),
                }
            }

            /// A stored state, if it is one of this mixer's.
            ///
            /// # Errors
            /// [`PolicyError::State`] if tensors are missing or of another shape.
            pub fn restore_state(&self, record: StateRecord, device: &B::Device) -> Result<AnyState<B>, PolicyError> {
                match self {
                    $(Self::$variant(_) => Ok(AnyState::$variant(MixerState::from_record(record, device)?)),)*
                    Self::Custom(mixer) => Ok(AnyState::Custom(mixer.restore_state(record, device)?)),
                }
            }
        }

        impl<B: Backend> AnyState<B> {
            /// Bytes that the state holds on its device.
            pub fn bytes(&self) -> usize where B: KernelBackend {
                match self { $(Self::$variant(state) => state.bytes(),)* Self::Custom(state) => state.bytes() }
            }

            /// The state as named tensors on the host.
            pub fn to_record(&self) -> StateRecord where B: KernelBackend {
                match self { $(Self::$variant(state) => state.to_record(),)* Self::Custom(state) => state.to_record() }
            }

            /// Cut from the graph that made it: gradients stop here.
            pub fn detach(self) -> Self where B: KernelBackend {
                match self { $(Self::$variant(state) => Self::$variant(state.detach()),)* Self::Custom(state) => Self::Custom(state.detach()) }
            }

            /// On another device.
            pub fn to_device(self, device: &B::Device) -> Self where B: KernelBackend {
                match self { $(Self::$variant(state) => Self::$variant(state.to_device(device)),)* Self::Custom(state) => Self::Custom(state.on_device(device)) }
            }
        }
    };
}

impl<B: KernelBackend> AnyMixer<B> {
    /// The state of sequences that have not begun, with a KV cache of bounded size; `None` if the mixer has no cache to bound.
    pub fn bounded_state(&self, cache: CachePolicy, batch: usize) -> Option<AnyState<B>> {
        match self {
            Self::Transformer(transformer) => Some(AnyState::Transformer(transformer.bounded_state(cache, batch))),
            _ => None,
        }
    }
}

impl Options {
    /// At least so many numbers are in the mixer of a name: its large matrices. 0 for a mixer of another crate.
    pub(crate) fn least_numbers(&self, name: &str, sizes: Sizes) -> u128 {
        let Sizes { width, heads, .. } = sizes;
        let square = (width as u128).pow(2);
        match name {
            "mlp" => 0,
            "aaren" => (3 + self.aaren.queries as u128) * square,
            "linear-attention" => 2 * square + 2 * width as u128 * heads as u128 * self.linear_attention.feature_width as u128,
            "mamba" => 3 * self.mamba.expansion as u128 * square,
            "performer" => 4 * square + (width / heads * self.performer.rows) as u128,
            name if LIST.iter().any(|(own, _)| *own == name) => square,
            _ => 0,
        }
    }

    fn check_custom(&self, used: &[&str]) -> Result<(), PolicyError> {
        let wrong = |problem: String| Err(PolicyError::Size { key: "options.custom", problem });
        if let Some(name) = self.custom.keys().find(|name| !used.contains(&name.as_str())) {
            return wrong(format!("given for \"{name}\", but no block is one; there are {}", used.join(", ")));
        }
        let default = serde_json::Value::Null;
        used.iter()
            .filter_map(|name| registry::find(name))
            .try_for_each(|mixer| mixer.check(self.custom.get(mixer.name).unwrap_or(&default)))
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
    LIST.iter().map(|(name, _)| *name).chain(registry::all().iter().map(|mixer| mixer.name)).collect()
}

/// Names of all mixers and stacks: what `policy.mixer` in a config may be.
pub fn choices() -> Vec<&'static str> {
    names().into_iter().chain(STACKS.iter().map(|(name, ..)| *name)).collect()
}

/// Name and one-line description of all mixers and stacks.
pub fn list() -> Vec<(&'static str, &'static str)> {
    let registered = registry::all().into_iter().map(|mixer| (mixer.name, mixer.sentence));
    LIST.iter().copied().chain(registered).chain(STACKS.iter().map(|(name, _, what)| (*name, *what))).collect()
}

/// Makes a mixer of another crate known by a name, from now on and in all of the process: `policy.mixer` in a config may name it, and
/// `policy.options.custom.NAME` holds its options. `sentence` is what lists show; end it in the state's size, `: ... bytes a layer`.
///
/// The mixer runs on the CPU and on the GPU backends that this crate is built with. Its parameters are float tensors of one to four axes.
/// Whatever else it holds, [`Mixer::new`] makes again when the mixer moves to another backend.
///
/// # Errors
/// [`PolicyError::MixerName`] if another mixer has the name. To register the same one twice is no error.
pub fn register<F: MixerFamily>(name: &'static str, sentence: &'static str) -> Result<(), PolicyError> {
    if registry::find(name).is_some_and(|mixer| mixer.is::<F>()) {
        return Ok(());
    }
    if resolve(name).is_ok() {
        return Err(PolicyError::MixerName { name: name.into() });
    }
    registry::insert::<F>(name, sentence);
    Ok(())
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
