//! A short convolution with a gate (Based's BaseConv): exact shifts by a few tokens.
//!
//! ```text
//! [a, g] = x W_in + b        y = (silu(conv(a)) g) W_out + b'
//! ```
//!
//! over `2 width` inner channels. State: the inputs that the convolution still sees, `8 width (taps - 1)` bytes a sequence and
//! layer.
//!
//! Source: Arora et al. 2024, arXiv:2402.18668, section 4.

use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::{convolution::ShortConvolution, init::Init, layers::Dense, reset::Reset, state::tensor_state};
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

mixer_options! {
    /// `policy.options.short-conv`
    "short-conv" ShortConvOptions {
        /// Taps of the convolution.
        taps: usize = 3, (2..=64).contains(taps), "2 to 64";
    }
}

/// The module.
#[derive(Module, Debug)]
pub struct ShortConv<B: Backend> {
    /// `[width, 4 width]`: the signal, then the gate
    input: Dense<B>,
    convolution: ShortConvolution<B>,
    /// `[2 width, width]`
    output: Dense<B>,
}

tensor_state! {
    /// The inputs that the convolution still sees.
    ShortConvState {
        /// `[batch, taps - 1, 2 width]`
        history: 3,
    }
}

impl<B: KernelBackend> Mixer<B> for ShortConv<B> {
    type State = ShortConvState<B>;
    type Options = ShortConvOptions;

    fn new(sizes: Sizes, options: &ShortConvOptions, init: &mut Init, device: &B::Device) -> Self {
        let (width, inner) = (sizes.width, 2 * sizes.width);
        Self {
            input: Dense::uniform(width, 2 * inner, init, device),
            convolution: ShortConvolution::new(options.taps, inner, init, device),
            output: Dense::uniform(inner, width, init, device),
        }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> ShortConvState<B> {
        ShortConvState { history: self.convolution.initial_history(batch, device) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let (rows, inner) = (batch * time, 2 * width);
        let projected = self.input.forward(x.reshape([rows, width]));
        let signal = projected.clone().slice([0..rows, 0..inner]).reshape([batch, time, inner]);
        let gate = projected.slice([0..rows, inner..2 * inner]);
        let (signal, history) = self.convolution.forward(signal, reset, state.history);
        let y = self.output.forward(activation::silu(signal.reshape([rows, inner])) * gate);
        (y.reshape([batch, time, width]), ShortConvState { history })
    }
}
