//! Causal softmax attention over packed sequences, for the Transformer that Aaren is compared with: memory linear in time.
//!
//! A query sees one run of keys, from the first of its episode to its own: `first_key[b, i] ..= keys - queries + i`. That one
//! number per query says what a mask would: episodes packed in a row do not see each other, a KV cache is a longer run of keys
//! than of queries, and a window is a later first key.
//!
//! ```
//! use burn::{backend::Flex, tensor::{Distribution, Tensor}};
//! use aaren_kernels::{Dropout, causal_attention};
//!
//! let device = Default::default();
//! let random = || Tensor::<Flex, 4>::random([1, 2, 5, 8], Distribution::Default, &device);
//! let values = random();
//! // Every query sees its own token alone.
//! let own = Tensor::from_ints([[0, 1, 2, 3, 4]], &device);
//! let outputs = causal_attention(random(), random(), values.clone(), own, Dropout::OFF);
//! assert_eq!(outputs.into_data(), values.into_data());
//! ```

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod inputs;
mod ops;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use inputs::{AttentionGradients, AttentionInputs, AttentionOutputs};
pub use ops::{AttentionOps, causal_attention};
