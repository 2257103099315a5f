//! The minimal gated recurrent unit: gates that see the token and not the state, which makes the unit one linear recurrence.
//!
//! ```text
//! z = sigmoid(x W_z + b_z)        n = g(x W_n + b_n)        h_t = (1 - z) h_{t-1} + z n
//! g(a) = a + 1/2 where a >= 0, sigmoid(a) elsewhere
//! ```
//!
//! Training is a parallel scan, where the GRU's and the LSTM's takes as many sequential steps as there are tokens. The output is `h_t`, of
//! the policy's width, always positive. The published code computes it from logarithms, which is what `g` is for; the scan here multiplies gates and
//! never divides by them, so it needs none. Every episode begins from 0.
//!
//! State: `h`, `4 width` bytes a sequence and layer. Laws: all hold.
//!
//! Source: Feng et al. 2024, arXiv:2410.01201. Initialization as in PyTorch, uniform within `1 / sqrt(width)`: half of what is
//! remembered is forgotten at each token. With [`MinGruOptions::max_lag`] the units begin with times of their own.

use super::common::with_part;
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::{init::Init, layers::Dense, reset::Reset, state::tensor_state};
use aaren_kernels::{Dropout, KernelBackend, gated_recurrence};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

mixer_options! {
    /// `policy.options.min-gru`
    "min-gru" MinGruOptions {
        /// As many tokens as what is remembered may have to be kept for; 0 leaves gates as they are published. Otherwise biases of gates begin
        /// spread over so long a time (Tallec and Ollivier 2018, arXiv:1804.11188), without which little is kept before training.
        max_lag: usize = 0, (*max_lag == 0 || (3..=1 << 24).contains(max_lag)), "0, or 3 to 16777216";
    }
}

/// The module.
#[derive(Module, Debug)]
pub struct MinGru<B: Backend> {
    /// `[width, 2 width]`: the gate, then what is written
    input: Dense<B>,
}

tensor_state! {
    /// The output after the last token, `[batch, width]`.
    MinGruState {
        hidden: 2,
    }
}

impl<B: KernelBackend> Mixer<B> for MinGru<B> {
    type State = MinGruState<B>;
    type Options = MinGruOptions;

    fn new(sizes: Sizes, options: &MinGruOptions, init: &mut Init, device: &B::Device) -> Self {
        let mut input = Dense::uniform(sizes.width, 2 * sizes.width, init, device);
        if options.max_lag > 0 {
            let written: Vec<f32> = init.lags(sizes.width, options.max_lag).iter().map(|lag| -lag).collect();
            input.bias = with_part(input.bias, 0, &written);
        }
        Self { input }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> MinGruState<B> {
        let [outputs] = self.input.bias.dims();
        MinGruState { hidden: Tensor::zeros([batch, outputs / 2], device) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let rows = batch * time;
        let projected = self.input.forward(x.reshape([rows, width]));
        let part = |index: usize| projected.clone().slice([0..rows, index * width..(index + 1) * width]);
        let (gate, new) = (part(0), part(1));
        // g: either term is what it should be where the other is 0, or one half.
        let new = activation::relu(new.clone()) + activation::sigmoid(new.clamp_max(0.0));
        let written = activation::sigmoid(gate.clone()) * new;
        let kept = activation::sigmoid(gate.neg());
        let of_tokens = |tensor: Tensor<B, 2>| tensor.reshape([batch, time, width]);
        let y = gated_recurrence(of_tokens(kept), of_tokens(written), reset.tensor(), state.hidden);
        let hidden = y.clone().slice([0..batch, time - 1..time, 0..width]).reshape([batch, width]);
        (y, MinGruState { hidden })
    }
}
