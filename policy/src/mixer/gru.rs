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
//! Source: Cho et al. 2014, arXiv:1406.1078. Initialization as in PyTorch, uniform within `1 / sqrt(width)`.

use super::common::restart_rows;
use super::contract::{Mixer, Sizes};
use crate::{init::Init, layers::Dense, reset::Reset, state::tensor_state};
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

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
    type Options = ();

    fn new(sizes: Sizes, _options: &(), init: &mut Init, device: &B::Device) -> Self {
        let width = sizes.width;
        let mut dense = || Dense::uniform(width, 3 * width, init, device);
        let (input, recurrent) = (dense(), dense());
        Self { input, recurrent, initial_hidden: init.constant([width], 0.0, device) }
    }

    fn initial_state(&self, batch: usize, _device: &B::Device) -> GruState<B> {
        let [width] = self.initial_hidden.dims();
        GruState { hidden: self.initial_hidden.val().unsqueeze::<2>().expand([batch, width]) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: GruState<B>, _dropout: Dropout) -> (Tensor<B, 3>, GruState<B>) {
        let [batch, time, width] = x.dims();
        let mut hidden = state.hidden;
        let fresh = self.initial_state(batch, &x.device()).hidden;
        let from_input = self.input.forward(x.reshape([batch * time, width])).reshape([batch, time, 3 * width]);
        let mut outputs = Vec::with_capacity(time);
        for token in 0..time {
            hidden = restart_rows(hidden, &fresh, reset, token);
            let from_input = from_input.clone().slice([0..batch, token..token + 1]).reshape([batch, 3 * width]);
            let recurrent = self.recurrent.forward(hidden.clone());
            let gates = |tensor: &Tensor<B, 2>| tensor.clone().slice([0..batch, 0..2 * width]);
            let new = |tensor: Tensor<B, 2>| tensor.slice([0..batch, 2 * width..3 * width]);
            let gates = activation::sigmoid(gates(&from_input) + gates(&recurrent));
            let restart = gates.clone().slice([0..batch, 0..width]);
            let update = gates.slice([0..batch, width..2 * width]);
            let candidate = (new(from_input) + restart * new(recurrent)).tanh();
            hidden = candidate.clone() + update * (hidden - candidate);
            outputs.push(hidden.clone());
        }
        let y = if time == 1 { hidden.clone().unsqueeze_dim(1) } else { Tensor::stack(outputs, 1) };
        (y, GruState { hidden })
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::tests::{layer_of_ones, near};
    use super::*;
    use burn::backend::Flex;

    /// One unit with all weights 1 and the given biases of the input, in the order of the gates.
    fn unit(biases: [f32; 3]) -> Gru<Flex> {
        let mut gru = Gru::<Flex>::new(Sizes { width: 1, heads: 1, layers: 1 }, &(), &mut Init::new(1), &Default::default());
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
