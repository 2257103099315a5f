//! Sequence mixers: the part of a block that looks back in time, behind one contract, [`Mixer`].
//!
//! [`AnyMixer`] is the mixer of a name; [`list`] says which there are. A stack is a name for several mixers, one a block, in turn.
//!
//! To add a mixer here: one file in this folder with a module that implements [`Mixer`] and a state that implements
//! [`MixerState`](crate::state::MixerState) (a state of plain tensors takes one line, [`tensor_state!`](crate::state::tensor_state)), its
//! `mod` line below, and one line in the list at the end of `list.rs`. The line has a sentence that ends in `no state` or in the state's size,
//! `: ... bytes a layer`, in numbers, `width`, `heads`, `head_dim`, the tokens `t` and the mixer's own options; the laws in `tests/suite/laws.rs`
//! then run over the mixer and check the size. A mixer with options names their struct there, which implements [`MixerOptions`], and
//! `policy.options` in a config then has them.
//!
//! To add one in another crate, [`register`] it:
//!
//! ```
//! use burn::{module::{Module, Param}, tensor::{Tensor, activation::sigmoid, backend::Backend}};
//! use aaren_policy::{Dropout, Init, KernelBackend, PolicyConfig, Reset, mixer::{self, Mixer, MixerFamily, Sizes}, state::tensor_state};
//!
//! /// An exponential moving average with a learned rate for every channel.
//! #[derive(Module, Debug)]
//! struct Average<B: Backend> {
//!     rate: Param<Tensor<B, 1>>,
//! }
//!
//! // What it carries along: a tensor of two axes, `[batch, width]`.
//! tensor_state! { AverageState { mean: 2 } }
//!
//! impl<B: KernelBackend> Mixer<B> for Average<B> {
//!     type State = AverageState<B>;
//!     type Options = ();
//!
//!     fn new(sizes: Sizes, _: &(), init: &mut Init, device: &B::Device) -> Self {
//!         Self { rate: init.constant([sizes.width], 1.0, device) }
//!     }
//!
//!     fn initial_state(&self, batch: usize, device: &B::Device) -> AverageState<B> {
//!         AverageState { mean: Tensor::zeros([batch, self.rate.dims()[0]], device) }
//!     }
//!
//!     fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: AverageState<B>, _: Dropout) -> (Tensor<B, 3>, AverageState<B>) {
//!         let [batch, time, width] = x.dims();
//!         let kept = sigmoid(self.rate.val()).unsqueeze::<2>();
//!         let (mut mean, mut outputs) = (state.mean, Vec::new());
//!         for t in 0..time {
//!             let begins = reset.tensor().slice([0..batch, t..t + 1]).expand([batch, width]);
//!             let token = x.clone().slice([0..batch, t..t + 1]).reshape([batch, width]);
//!             mean = mean.mask_fill(begins, 0.0) * kept.clone() + token * (kept.clone().neg() + 1.0);
//!             outputs.push(mean.clone());
//!         }
//!         (Tensor::stack(outputs, 1), AverageState { mean })
//!     }
//! }
//!
//! struct Averages;
//! impl MixerFamily for Averages {
//!     type Mixer<B: KernelBackend> = Average<B>;
//! }
//!
//! // At the start of `main`. From then on configs, training, checkpoints and acting know the name.
//! mixer::register::<Averages>("average", "Exponential moving average: 4 width bytes a layer")?;
//! PolicyConfig { mixer: "average".into(), ..Default::default() }.check()?;
//! # Ok::<(), aaren_policy::PolicyError>(())
//! ```

mod aaren;
mod abc;
mod any;
mod any_state;
mod bounded_cache;
mod common;
mod contract;
mod dyn_mixer;
mod erased;
mod gru;
mod hyena;
mod hyena_modal;
mod kind;
mod linear_attention;
mod list;
mod lstm;
mod mamba;
mod min_gru;
mod mlp;
mod monarch;
mod options;
mod parameters;
mod perceiver;
mod performer;
mod registry;
mod short_conv;
mod transformer;
mod window;

pub use aaren::Recency;
pub use abc::Gate;
pub use any::AnyMixer;
pub use any_state::AnyState;
pub use bounded_cache::CachePolicy;
pub use contract::{Mixer, MixerOptions, Sizes};
pub use kind::MixerFamily;
pub use list::*;
