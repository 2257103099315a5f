//! Long short-term memory, with a learned initial state that every episode begins from.
//!
//! ```text
//! i, f, g, o = x_t W_x + b_x + h_{t-1} W_h + b_h
//! c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)        h_t = sigmoid(o) tanh(c_t)
//! ```
//!
//! The output is `h_t`, of the policy's width. There is no parallel form: training takes as many sequential steps as there are
//! tokens, of which only the part of the input is one matrix product for all. State: `h` and `c`, `8 width` bytes a sequence and
//! layer. Law 1 holds to the bit but for the input's product.
//!
//! Initialization as in PyTorch, uniform within `1 / sqrt(width)`, and 1 on top of the forget gate's bias: half of what is in a cell is
//! forgotten after two tokens. With [`LstmOptions::max_lag`] the cells begin with times of their own.
//!
//! Source: Hochreiter and Schmidhuber 1997; Gers, Schmidhuber, Cummins 2000 for the forget gate and its bias.

use super::common::with_part;
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::{init::Init, layers::Dense, reset::Reset, state::tensor_state};
use aaren_kernels::{Cell, Dropout, KernelBackend, gated_cell};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, s};

mixer_options! {
    /// `policy.options.lstm`
    "lstm" LstmOptions {
        /// As many tokens as what is remembered may have to be kept for; 0 leaves gates as they are published. Otherwise biases of gates begin
        /// spread over so long a time (Tallec and Ollivier 2018, arXiv:1804.11188), without which little is kept before training.
        max_lag: usize = 0, (*max_lag == 0 || (3..=1 << 24).contains(max_lag)), "0, or 3 to 16777216";
    }
}

/// The module. Gates in PyTorch's order: input, forget, cell, output.
#[derive(Module, Debug)]
pub struct Lstm<B: Backend> {
    /// `[width, 4 width]`
    input: Dense<B>,
    /// `[width, 4 width]`
    recurrent: Dense<B>,
    /// `[width]`
    initial_hidden: Param<Tensor<B, 1>>,
    /// `[width]`
    initial_cell: Param<Tensor<B, 1>>,
}

tensor_state! {
    /// Output and cell after the last token, both `[batch, width]`.
    LstmState {
        hidden: 2,
        cell: 2,
    }
}

impl<B: KernelBackend> Mixer<B> for Lstm<B> {
    type State = LstmState<B>;
    type Options = LstmOptions;

    fn new(sizes: Sizes, options: &LstmOptions, init: &mut Init, device: &B::Device) -> Self {
        let width = sizes.width;
        let mut dense = || Dense::uniform(width, 4 * width, init, device);
        let (mut input, mut recurrent) = (dense(), dense());
        // Remember by default: a forget gate that starts open keeps gradients alive over the first tokens.
        input.bias = input.bias.map(|bias| {
            let forget = bias.clone().narrow(0, width, width) + 1.0;
            bias.slice_assign(s![width..2 * width], forget).detach().require_grad()
        });
        if options.max_lag > 0 {
            // The input gate, which comes before the forget gate, writes as little as is forgotten.
            let kept = init.lags(width, options.max_lag);
            let biases: Vec<f32> = kept.iter().map(|lag| -lag).chain(kept.iter().copied()).collect();
            input.bias = with_part(input.bias, 0, &biases);
            recurrent.bias = with_part(recurrent.bias, 0, &vec![0.0; 2 * width]);
        }
        let mut initial = || init.constant([width], 0.0, device);
        Self { input, recurrent, initial_hidden: initial(), initial_cell: initial() }
    }

    fn initial_state(&self, batch: usize, _device: &B::Device) -> LstmState<B> {
        let [width] = self.initial_hidden.dims();
        let learned = |vector: &Param<Tensor<B, 1>>| vector.val().unsqueeze::<2>().expand([batch, width]);
        LstmState { hidden: learned(&self.initial_hidden), cell: learned(&self.initial_cell) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: LstmState<B>, _dropout: Dropout) -> (Tensor<B, 3>, LstmState<B>) {
        let [batch, time, width] = x.dims();
        let from_input = self.input.forward(x.reshape([batch * time, width])).reshape([batch, time, 4 * width]);
        let (weight, bias) = (self.recurrent.weight.val(), self.recurrent.bias.val());
        let fresh = Tensor::stack(vec![self.initial_hidden.val(), self.initial_cell.val()], 0);
        let carry = Tensor::stack(vec![state.hidden, state.cell], 1);
        let (y, last) = gated_cell(Cell::Lstm, from_input, weight, bias, fresh, reset.tensor(), carry);
        let part = |part: usize| last.clone().slice([0..batch, part..part + 1]).reshape([batch, width]);
        (y, LstmState { hidden: part(0), cell: part(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::tests::{layer_of_ones, near};
    use super::*;
    use burn::backend::Flex;

    /// One unit with all weights 1 and the given biases of the input, in the order of the gates.
    fn unit(biases: [f32; 4]) -> Lstm<Flex> {
        let mut lstm = Lstm::<Flex>::new(
            Sizes { width: 1, heads: 1, layers: 1 },
            &LstmOptions::default(),
            &mut Init::new(1),
            &Default::default(),
        );
        (lstm.input, lstm.recurrent) = (layer_of_ones(biases), layer_of_ones([0.0; 4]));
        lstm
    }

    fn states(lstm: &Lstm<Flex>, start: LstmState<Flex>, tokens: usize) -> Vec<[f32; 2]> {
        let device = Default::default();
        let mut state = start;
        (0..tokens)
            .map(|_| {
                let next =
                    lstm.forward(Tensor::ones([1, 1, 1], &device), &Reset::none(1, 1, &device), state.clone(), Dropout::OFF).1;
                state = next.clone();
                [next.cell.into_scalar(), next.hidden.into_scalar()]
            })
            .collect()
    }

    #[test]
    fn closed_form_of_two_tokens() {
        let lstm = unit([0.0; 4]);
        let found = states(&lstm, lstm.initial_state(1, &Default::default()), 2).concat();
        near(&found, &[0.556_769_94, 0.369_606_35, 1.144_446_2, 0.650_535_2]);
    }

    #[test]
    fn saturated_gates_keep_the_cell() {
        let lstm = unit([-200.0, 200.0, 0.0, 0.0]); // nothing is written, nothing forgotten
        let start = LstmState {
            hidden: Tensor::ones([1, 1], &Default::default()),
            cell: Tensor::full([1, 1], 0.75, &Default::default()),
        };
        assert!(states(&lstm, start, 5).iter().all(|[cell, _]| *cell == 0.75));
    }

    #[test]
    fn cells_begin_with_times_up_to_the_longest_lag() {
        let sizes = Sizes { width: 64, heads: 1, layers: 1 };
        let kept = |max_lag: usize| {
            let lstm = Lstm::<Flex>::new(sizes, &LstmOptions { max_lag }, &mut Init::new(4), &Default::default());
            let start = LstmState {
                hidden: Tensor::zeros([1, 64], &Default::default()),
                cell: Tensor::ones([1, 64], &Default::default()),
            };
            let (tokens, reset) = (Tensor::zeros([1, 100, 64], &Default::default()), Reset::none(1, 100, &Default::default()));
            let state = lstm.forward(tokens, &reset, start, Dropout::OFF).1;
            state.cell.mean().into_scalar()
        };
        // Of lags that are spread evenly up to 1,000 the mean unit keeps (1 - 1 / lag)^100, which is 0.79; published gates keep nothing.
        assert!(kept(0).abs() < 0.2, "{}", kept(0));
        assert!((0.65..0.95).contains(&kept(1000)), "{}", kept(1000));
        let biases = Lstm::<Flex>::new(sizes, &LstmOptions { max_lag: 1000 }, &mut Init::new(4), &Default::default()).input.bias;
        let biases: Vec<f32> = biases.val().into_data().to_vec().unwrap();
        let (input, forget) = (&biases[..64], &biases[64..128]);
        assert!(forget.iter().all(|bias| (0.0..999f32.ln()).contains(bias)), "{forget:?}");
        assert!(input.iter().zip(forget).all(|(input, forget)| *input == -forget));
    }
}
