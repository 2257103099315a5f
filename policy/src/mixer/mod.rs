//! Sequence mixers: the part of a block that looks back in time, behind one contract, [`Mixer`].
//!
//! [`AnyMixer`] is the mixer of a name; [`list`] says which there are. A stack is a name for several mixers, one a block, in turn.
//!
//! To add a mixer here: one file in this folder with a module that implements [`Mixer`] and a state that implements
//! [`MixerState`](crate::state::MixerState) (a state of plain tensors takes one line, [`tensor_state!`](crate::state::tensor_state)), its
//! `mod` line below, and one line in the list at the end of `any.rs`. The line has a sentence that ends in `no state` or in the state's size,
//! `: ... bytes a layer`, in numbers, `width`, `heads`, `head_dim`, the tokens `t` and the mixer's own options; the laws in `tests/laws.rs`
//! then run over the mixer and check the size. A mixer with options names their struct there, which implements [`MixerOptions`], and
//! `policy.options` in a config then has them.

mod aaren;
mod any;
mod bounded_cache;
mod common;
mod contract;
mod gru;
mod hyena;
mod hyena_modal;
mod linear_attention;
mod lstm;
mod mamba;
mod min_gru;
mod mlp;
mod monarch;
mod perceiver;
mod performer;
mod short_conv;
mod transformer;
mod window;

pub use aaren::Recency;
pub use any::*;
pub use bounded_cache::CachePolicy;
pub use contract::{Mixer, MixerOptions, Sizes};
