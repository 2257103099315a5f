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

use super::contract::{Mixer, MixerOptions, Sizes};
use crate::{convolution::ShortConvolution, error::PolicyError, init::Init, layers::Dense, reset::Reset, state::tensor_state};
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// `policy.options.short-conv`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShortConvOptions {
    /// Taps of the convolution.
    pub taps: usize,
}

impl Default for ShortConvOptions {
    fn default() -> Self {
        Self { taps: 3 }
    }
}

impl MixerOptions for ShortConvOptions {
    fn check(&self) -> Result<(), PolicyError> {
        if !(2..=64).contains(&self.taps) {
            let problem = format!("{}, expected 2 to 64", self.taps);
            return Err(PolicyError::Size { key: "options.short-conv.taps", problem });
        }
        Ok(())
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

    fn forward(
        &self,
        x: Tensor<B, 3>,
        reset: &Reset<B>,
        state: ShortConvState<B>,
        _dropout: Dropout,
    ) -> (Tensor<B, 3>, ShortConvState<B>) {
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
