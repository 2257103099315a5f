//! The gated recurrent unit, with a learned initial state that every episode begins from.
//!
//! ```text
//! r = sigmoid(x W_r + b_r + h_{t-1} U_r + b'_r)        z = sigmoid(x W_z + b_z + h_{t-1} U_z + b'_z)
//! n = tanh(x W_n + b_n + r (h_{t-1} U_n + b'_n))        h_t = (1 - z) n + z h_{t-1}
//! ```
//!
//! The reset gate comes after the recurrent product, as in PyTorch (and cuDNN), not before it as in the paper. The output is `h_t`,
//! of the policy's width. No parallel form, as for the LSTM. State: `h`, `4 width` bytes a sequence and layer.
//!
//! Source: Cho et al. 2014, arXiv:1406.1078. Initialization as in PyTorch, uniform within `1 / sqrt(width)`: half of what is
//! remembered is forgotten at each token. With [`GruOptions::max_lag`] the units begin with times of their own.

use super::common::with_part;
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::{init::Init, layers::Dense, reset::Reset, state::tensor_state};
use aaren_kernels::{Cell, Dropout, KernelBackend, gated_cell};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

mixer_options! {
    /// `policy.options.gru`
    "gru" GruOptions {
        /// As many tokens as what is remembered may have to be kept for; 0 leaves gates as they are published. Otherwise biases of gates begin
        /// spread over so long a time (Tallec and Ollivier 2018, arXiv:1804.11188), without which little is kept before training.
        max_lag: usize = 0, (*max_lag == 0 || (3..=1 << 24).contains(max_lag)), "0, or 3 to 16777216";
    }
}

/// The module. Gates in PyTorch's order: reset, update, new.
#[derive(Module, Debug)]
pub struct Gru<B: Backend> {
    /// `[width, 3 width]`
    input: Dense<B>,
    /// `[width, 3 width]`
    recurrent: Dense<B>,
    /// `[width]`
    initial_hidden: Param<Tensor<B, 1>>,
}

tensor_state! {
    /// The output after the last token, `[batch, width]`.
    GruState {
        hidden: 2,
    }
}

impl<B: KernelBackend> Mixer<B> for Gru<B> {
    type State = GruState<B>;
    type Options = GruOptions;

    fn new(sizes: Sizes, options: &GruOptions, init: &mut Init, device: &B::Device) -> Self {
        let width = sizes.width;
        let mut dense = || Dense::uniform(width, 3 * width, init, device);
        let (mut input, mut recurrent) = (dense(), dense());
        if options.max_lag > 0 {
            input.bias = with_part(input.bias, width, &init.lags(width, options.max_lag));
            recurrent.bias = with_part(recurrent.bias, width, &vec![0.0; width]);
        }
        Self { input, recurrent, initial_hidden: init.constant([width], 0.0, device) }
    }

    fn initial_state(&self, batch: usize, _device: &B::Device) -> GruState<B> {
        let [width] = self.initial_hidden.dims();
        GruState { hidden: self.initial_hidden.val().unsqueeze::<2>().expand([batch, width]) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: GruState<B>, _dropout: Dropout) -> (Tensor<B, 3>, GruState<B>) {
        let [batch, time, width] = x.dims();
        let from_input = self.input.forward(x.reshape([batch * time, width])).reshape([batch, time, 3 * width]);
        let (weight, bias) = (self.recurrent.weight.val(), self.recurrent.bias.val());
        let (fresh, carry) = (self.initial_hidden.val().unsqueeze_dim(0), state.hidden.unsqueeze_dim(1));
        let (y, last) = gated_cell(Cell::Gru, from_input, weight, bias, fresh, reset.tensor(), carry);
        (y, GruState { hidden: last.reshape([batch, width]) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::tests::{layer_of_ones, near};
    use super::*;
    use burn::backend::Flex;

    /// One unit with all weights 1 and the given biases of the input, in the order of the gates.
    fn unit(biases: [f32; 3]) -> Gru<Flex> {
        let mut gru = Gru::<Flex>::new(
            Sizes { width: 1, heads: 1, layers: 1 },
            &GruOptions::default(),
            &mut Init::new(1),
            &Default::default(),
        );
        (gru.input, gru.recurrent) = (layer_of_ones(biases), layer_of_ones([0.0; 3]));
        gru
    }

    fn outputs(gru: &Gru<Flex>, start: f32, inputs: &[f32]) -> Vec<f32> {
        let device = Default::default();
        let state = GruState { hidden: Tensor::full([1, 1], start, &device) };
        let time = inputs.len();
        let x = Tensor::<Flex, 1>::from_data(inputs, &device).reshape([1, time, 1]);
        gru.forward(x, &Reset::none(1, time, &device), state, Dropout::OFF).0.into_data().to_vec().unwrap()
    }

    #[test]
    fn closed_form_of_two_tokens() {
        near(&outputs(&unit([0.0; 3]), 0.0, &[1.0, 1.0]), &[0.204_824_21, 0.346_753_1]);
    }

    #[test]
    fn an_open_update_gate_keeps_the_state() {
        assert_eq!(outputs(&unit([0.0, 200.0, 0.0]), 0.625, &[1.0, -3.0, 2.0]), [0.625; 3]);
    }

    #[test]
    fn the_reset_gate_comes_after_the_recurrent_product() {
        // r = 1/2 and z = 0 whatever comes, h = 2, U_n = 1, b'_n = 1: n = tanh((2 + 1) / 2), and not tanh(2 / 2 + 1).
        let mut gru = unit([0.0, -200.0, 0.0]);
        gru.recurrent.weight = gru.recurrent.weight.map(|weight| Tensor::from_data([[0.0, 0.0, 1.0]], &weight.device()));
        gru.recurrent.bias = gru.recurrent.bias.map(|bias| Tensor::from_data([0.0, 0.0, 1.0], &bias.device()));
        near(&outputs(&gru, 2.0, &[0.0]), &[0.905_148_25]);
    }
}
