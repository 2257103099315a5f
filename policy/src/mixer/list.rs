//! All mixers: their names, their options, and which there are beside those of this crate.

use super::contract::{MixerOptions, Sizes};
use super::kind::{Kind, MixerFamily};
use super::registry;
use crate::error::PolicyError;
use aaren_kernels::KernelBackend;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, sync::LazyLock};

/// Makes the list of all mixers, and their options.
macro_rules! mixers {
    ($($(#[doc = $doc:literal])* $name:literal => $module:ident::$mixer:ident $({ $options:ident })?,)*) => {
        $($(pub use super::$module::$options;)?)*

        $(
            struct $mixer;

            impl MixerFamily for $mixer {
                type Mixer<B: KernelBackend> = super::$module::$mixer<B>;
            }
        )*

        /// Every mixer of this crate.
        static LIST: LazyLock<Vec<Kind>> =
            LazyLock::new(|| vec![$(Kind::new::<$mixer>($name, stringify!($mixer), concat!($($doc),*))),*]);

        /// `policy.options`: the options of every mixer that has some.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        pub struct Options {
            $($(#[doc = concat!("Options of `", $name, "`.")] pub $module: $options,)?)*
            /// Options of mixers of other crates, by name.
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub custom: BTreeMap<String, Value>,
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

            /// The options of a mixer in JSON.
            pub(super) fn of(&self, kind: &Kind) -> Value {
                match kind.name {
                    $($($name => serde_json::to_value::<&$options>(&self.$module).expect("options are numbers and words"),)?)*
                    name => self.custom.get(name).cloned().unwrap_or_default(),
                }
            }
        }
    };
}

impl Options {
    /// With what a stack of that name says where a config does not: StripedHyena's attention has rotary positions.
    pub(crate) fn in_stack(mut self, name: &str) -> Self {
        if name == "striped-hyena" {
            self.transformer.rotary.get_or_insert(true);
        }
        self
    }

    /// At least so many numbers are in the mixer of a name: its large matrices. 0 for a mixer of another crate.
    pub(crate) fn least_numbers(&self, name: &str, sizes: Sizes) -> u128 {
        let Sizes { width, heads, .. } = sizes;
        let square = (width as u128).pow(2);
        match name {
            "mlp" => 0,
            "aaren" => (3 + self.aaren.queries as u128) * square,
            "linear-attention" => 2 * square + 2 * width as u128 * heads as u128 * self.linear_attention.feature_width as u128,
            "mamba" => 3 * self.mamba.expansion as u128 * square,
            "abc" => 4 * square + width as u128 * (heads * self.abc.slots) as u128,
            "performer" => 4 * square + (width / heads * self.performer.rows) as u128,
            name if LIST.iter().any(|own| own.name == name) => square,
            _ => 0,
        }
    }

    fn check_custom(&self, used: &[&str]) -> Result<(), PolicyError> {
        let wrong = |problem: String| Err(PolicyError::Size { key: "options.custom", problem });
        if let Some(name) = self.custom.keys().find(|name| !used.contains(&name.as_str())) {
            return wrong(format!("given for \"{name}\", but no block is one; there are {}", used.join(", ")));
        }
        let default = Value::Null;
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

/// The mixers of this crate, and those of others.
fn kinds() -> impl Iterator<Item = &'static Kind> {
    LIST.iter().chain(registry::all())
}

/// The kind of a name.
///
/// # Errors
/// [`PolicyError::UnknownMixer`].
pub(super) fn find(name: &str) -> Result<&'static Kind, PolicyError> {
    kinds().find(|kind| kind.name == name).ok_or_else(|| unknown(name))
}

/// Names of all mixers.
pub fn names() -> Vec<&'static str> {
    kinds().map(|kind| kind.name).collect()
}

/// Names of all mixers and stacks: what `policy.mixer` in a config may be.
pub fn choices() -> Vec<&'static str> {
    names().into_iter().chain(STACKS.iter().map(|(name, ..)| *name)).collect()
}

/// Name and one-line description of all mixers and stacks.
pub fn list() -> Vec<(&'static str, &'static str)> {
    let stacks = STACKS.iter().map(|(name, _, what)| (*name, *what));
    kinds().map(|kind| (kind.name, kind.sentence)).chain(stacks).collect()
}

/// Makes a mixer of another crate known by a name, from now on and in all of the process: `policy.mixer` in a config may name it, and
/// `policy.options.custom.NAME` holds its options. `sentence` is what lists show; end it in the state's size, `: ... bytes a layer`.
///
/// The mixer runs on the CPU and on the GPU backends that this crate is built with. Its parameters are float tensors of one to four axes.
/// Whatever else it holds, [`Mixer::new`](super::Mixer::new) makes again when the mixer moves to another backend.
///
/// # Errors
/// [`PolicyError::MixerName`] if another mixer has the name. To register the same one twice is no error.
pub fn register<F: MixerFamily>(name: &'static str, sentence: &'static str) -> Result<(), PolicyError> {
    let is_ours = name == ATTENTION || STACKS.iter().any(|(stack, ..)| *stack == name) || LIST.iter().any(|own| own.name == name);
    if is_ours || !registry::insert::<F>(name, sentence) {
        return Err(PolicyError::MixerName { name: name.into() });
    }
    Ok(())
}

fn unknown(name: &str) -> PolicyError {
    PolicyError::UnknownMixer { name: name.into(), known: choices().join(", ") }
}

/// Another name of the Transformer's, as issues and papers have it.
pub const ATTENTION: &str = "attention";

/// The mixers that a name stands for: itself, or a stack's; [`ATTENTION`] for the Transformer's.
pub(crate) fn resolve(name: &str) -> Result<Vec<&'static str>, PolicyError> {
    let name = if name == ATTENTION { "transformer" } else { name };
    if let Some((_, mixers, _)) = STACKS.iter().find(|(stack, ..)| *stack == name) {
        return Ok(mixers.to_vec());
    }
    names().into_iter().find(|mixer| *mixer == name).map(|mixer| vec![mixer]).ok_or_else(|| unknown(name))
}

mixers! {
    /// Attention of a learned query, a recurrence with constant state: 4 queries (width + heads) bytes a layer
    "aaren" => aaren::Aaren { AarenOptions },
    /// No mixing, a block is its feed-forward half: with "tokens": "observation" behaviour cloning; no state
    "mlp" => mlp::Mlp,
    /// Causal softmax attention with a KV cache: 8 width bytes a layer and token
    "transformer" => transformer::Transformer { TransformerOptions },
    /// Gated recurrent unit with a learned initial state: 4 width bytes a layer
    "gru" => gru::Gru { GruOptions },
    /// Gated long convolution with implicit filters: 4 width (order - 1) min(t, taps - 1) + 8 width (order + 1) + 8 bytes a layer
    "hyena" => hyena::Hyena { HyenaOptions },
    /// Gated long convolution with filters of complex exponentials, an exact recurrence: 8 width (poles + 3) bytes a layer
    "hyena-modal" => hyena_modal::HyenaModal { HyenaModalOptions },
    /// Long short-term memory with a learned initial state: 8 width bytes a layer
    "lstm" => lstm::Lstm { LstmOptions },
    /// Linear attention with the Taylor map of the exponential, 153 features: 4 heads 153 (head_dim + 1) bytes a layer
    "linear-attention" => linear_attention::LinearAttention { LinearAttentionOptions },
    /// Selective state space with short convolution and gate: 4 expansion width (states + taps - 1) bytes a layer
    "mamba" => mamba::Mamba { MambaOptions },
    /// Gated recurrent unit whose gates do not see its state, trained by a parallel scan: 4 width bytes a layer
    "min-gru" => min_gru::MinGru { MinGruOptions },
    /// Gated and residual long convolutions by Monarch matrices: 4 width (1 + residual) min(t, length / 2 - 1) + 24 width + 8 bytes a layer
    "monarch" => monarch::Monarch { MonarchOptions },
    /// Learned latents that read all tokens and answer the present one: 4 latents (width + heads) bytes a layer
    "perceiver" => perceiver::Perceiver { PerceiverOptions },
    /// Attention with bounded memory, Aaren's cells as slots that the token reads: 8 slots width + 4 slots heads bytes a layer
    "abc" => abc::Abc { AbcOptions },
    /// Softmax attention by random features: 4 heads features (head_dim + 1) bytes a layer
    "performer" => performer::Performer { PerformerOptions },
    /// Short convolution with a gate: 8 width (taps - 1) bytes a layer
    "short-conv" => short_conv::ShortConv { ShortConvOptions },
    /// Causal softmax attention over the last tokens: 8 width (tokens - 1) + 8 bytes a layer
    "window" => window::Window { WindowOptions },
}
