//! Monarch Mixer over time: a gated long convolution and a residual one, evaluated as products with Monarch matrices of one fixed size.
//!
//! ```text
//! [x_0, x_1, v] = conv3(x W + b)        y = (x_0 (k * (x_1 v) + beta x_1 v) + g * x + gamma x) W_out + b_out
//! k * u = M^-1 (K . M u)
//! ```
//!
//! `M` is the Monarch matrix of the Fourier transform of `length = m^2` points, two block-diagonal halves of `m` blocks, and `K` the
//! transform of an implicit filter `k`; `g` is another, of the tokens themselves (`residual`). Without it this is Hyena of order 2, as are
//! models that were stored before there was the option. It is causal because the filter has no more than half as many taps as there are points: what
//! wraps around lands where there is history, which is cut off. Longer chunks go in pieces. Training over `T` tokens costs
//! `T^1.5` a channel; a few tokens, and rows with episodes packed, are convolved tap by tap.
//!
//! State and laws as for `hyena`, with `length / 2` taps and the inputs of both filters: `8 width min(t, taps - 1) + 24 width` bytes a
//! sequence and layer, and 8; half as many for each token without the residual filter.
//!
//! Source: Fu et al. 2023, arXiv:2310.12109, and its code, whose filters are made by networks 128 wide with a frequency of 10; here they
//! are 64 wide, as Hyena's, and the transform is kept fixed. Its feed-forward half is `policy.feed_forward_kind = "monarch"`, which a job
//! with this mixer has unless it says otherwise.

use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::init::Init;
use crate::long_convolution::{LongConvolution, LongConvolutionState, OperatorSizes, Way};
use crate::reset::Reset;
use aaren_kernels::{Dropout, KernelBackend};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

mixer_options! {
    /// `policy.options.monarch`
    "monarch" MonarchOptions {
        /// Points of the transform, a square: a token sees half as many tokens back.
        length: usize = 1024, ((2..=1024).contains(&length.isqrt()) && length.isqrt().pow(2) == *length), "a square from 4 to 2^20, such as 1024";
        /// Whether the tokens themselves are convolved as well, past the gates, as published.
        residual: bool = true;
    }
}

/// The module.
#[derive(Module, Debug)]
pub struct Monarch<B: Backend> {
    operator: LongConvolution<B>,
}

/// See [`LongConvolutionState`].
pub type MonarchState<B> = LongConvolutionState<B>;

impl<B: KernelBackend> Mixer<B> for Monarch<B> {
    type State = MonarchState<B>;
    type Options = MonarchOptions;

    fn new(sizes: Sizes, options: &MonarchOptions, init: &mut Init, device: &B::Device) -> Self {
        let MonarchOptions { length, residual } = *options;
        let operator = OperatorSizes { width: sizes.width, order: 2, taps: length / 2, embedding: 5, frequency: 10.0, residual };
        Self { operator: LongConvolution::new(&operator, Way::Square(length.isqrt()), init, device) }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> MonarchState<B> {
        self.operator.initial_state(batch, device)
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        self.operator.forward(x, reset, state)
    }
}
