//! Mamba: a selective state space model behind a short convolution, with a gate.
//!
//! ```text
//! [u0, z] = x W_in                  u = silu(conv(u0) + b_conv)
//! [dt0, B, C] = u W_x               delta = softplus(dt0 W_dt + b_dt)        A = -exp(A_log)
//! h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t          y_t = C_t h_t + D u_t
//! out = (y silu(z)) W_out
//! ```
//!
//! `expansion * width` inner channels, each with `states` states. State: the `h` of all, and the inputs that the convolution still
//! sees: `4 expansion width (states + taps - 1)` bytes a sequence and layer.
//!
//! At a reset the decay counts as 0 and no tap of the convolution reaches across. The blocks here have a layer norm in front and a
//! feed-forward half behind, as for every mixer; published models have a root-mean-square norm and nothing behind. As
//! there, weight decay leaves `A_log` and `D` alone.
//!
//! Source: Gu and Dao 2023, arXiv:2312.00752; initialization as in its code.

use super::common::{inverse_softplus, softplus};
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::convolution::ShortConvolution;
use crate::init::Init;
use crate::layers::{Dense, Projection};
use crate::reset::Reset;
use crate::state::tensor_state;
use aaren_kernels::{Dropout, KernelBackend, SelectiveScan, selective_scan};
use burn::module::{Module, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

mixer_options! {
    /// `policy.options.mamba`
    "mamba" MambaOptions {
        /// Inner channels for each channel of the policy's width.
        expansion: usize = 2, (1..=64).contains(expansion), "1 to 64";
        /// States of every inner channel.
        states: usize = 16, (1..=1024).contains(states), "1 to 1024";
        /// Taps of the convolution.
        taps: usize = 4, (2..=64).contains(taps), "2 to 64";
    }
}

/// The module.
#[derive(Module, Debug)]
pub struct Mamba<B: Backend> {
    /// `[width, 2 inner]`: the signal, then the gate
    input: Projection<B>,
    convolution: ShortConvolution<B>,
    /// `[inner, rank + 2 states]`
    select: Projection<B>,
    /// `[rank, inner]`
    step: Dense<B>,
    /// `[states, inner]`
    decay_log: Param<Tensor<B, 2>>,
    /// `[inner]`
    skip: Param<Tensor<B, 1>>,
    /// `[inner, width]`
    output: Projection<B>,
}

tensor_state! {
    /// States of the scan, and the inputs that the convolution still sees.
    MambaState {
        /// `[batch, states, inner]`
        hidden: 3,
        /// `[batch, taps - 1, inner]`
        history: 3,
    }
}

/// The smallest step of a freshly drawn model, the largest, and the floor: `delta` at the start is log-uniform between them.
const STEPS: [f32; 3] = [1e-3, 1e-1, 1e-4];

impl<B: KernelBackend> Mixer<B> for Mamba<B> {
    type State = MambaState<B>;
    type Options = MambaOptions;

    fn new(sizes: Sizes, options: &MambaOptions, init: &mut Init, device: &B::Device) -> Self {
        let MambaOptions { expansion, states, taps } = *options;
        let (width, inner, rank) = (sizes.width, expansion * sizes.width, sizes.width.div_ceil(16));
        let input = Projection::uniform(width, 2 * inner, 1.0, init, device);
        let convolution = ShortConvolution::new(taps, inner, init, device);
        let select = Projection::uniform(inner, rank + 2 * states, 1.0, init, device);
        let [smallest, largest, floor] = STEPS;
        let mut first_step = || init.draw(smallest.ln(), largest.ln()).exp().max(floor);
        let bias = (0..inner).map(|_| inverse_softplus(first_step())).collect();
        let step = Dense {
            weight: init.uniform([rank, inner], 1.0 / (rank as f32).sqrt(), device),
            bias: init.given(bias, [inner], device),
        };
        let decays = (1..=states).flat_map(|n| std::iter::repeat_n((n as f32).ln(), inner)).collect();
        Self {
            input,
            convolution,
            select,
            step,
            decay_log: init.given(decays, [states, inner], device),
            skip: init.constant([inner], 1.0, device),
            output: Projection::uniform(inner, width, 1.0 / (sizes.layers as f32).sqrt(), init, device),
        }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> MambaState<B> {
        let [states, inner] = self.decay_log.dims();
        MambaState {
            hidden: Tensor::zeros([batch, states, inner], device),
            history: self.convolution.initial_history(batch, device),
        }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let ([states, inner], [rank, _]) = (self.decay_log.dims(), self.step.weight.dims());
        let rows = batch * time;
        let projected = self.input.forward(x.reshape([rows, width]));
        let signal = projected.clone().slice([0..rows, 0..inner]).reshape([batch, time, inner]);
        let gate = projected.slice([0..rows, inner..2 * inner]);
        let (signal, history) = self.convolution.forward(signal, reset, state.history);
        let signal = activation::silu(signal.reshape([rows, inner]));

        let selected = self.select.forward(signal.clone());
        let part = |columns: std::ops::Range<usize>| selected.clone().slice([0..rows, columns]);
        let steps = softplus(self.step.forward(part(0..rank)));
        let (scanned, hidden) = selective_scan(
            SelectiveScan {
                inputs: signal.clone().reshape([batch, time, inner]),
                steps: steps.reshape([batch, time, inner]),
                decays: self.decay_log.val().exp().neg(),
                writes: part(rank..rank + states).reshape([batch, time, states]),
                reads: part(rank + states..rank + 2 * states).reshape([batch, time, states]),
            },
            reset.tensor(),
            state.hidden,
        );
        let y = scanned.reshape([rows, inner]) + signal * self.skip.val().unsqueeze::<2>();
        let y = self.output.forward(y * activation::silu(gate));
        (y.reshape([batch, time, width]), MambaState { hidden, history })
    }

    fn no_decay(&self) -> Vec<ParamId> {
        vec![self.decay_log.id, self.skip.id]
    }
}
