//! Hyena: gated long convolutions whose filters are functions of the lag, given by a small network.
//!
//! ```text
//! [x_0, .., x_{N-1}, v] = conv3(x W + b)      for i = N-1 .. 1:  v <- h_i * (x_i v) + beta_i (x_i v)      y = (x_0 v) W_out + b_out
//! h[n] = network(n) exp(-rate n / (taps - 1))     network: [position, cosines, sines] -> 3 x sin(omega (. W + b)) -> width
//! ```
//!
//! Training convolves tap by tap over short rows and packed episodes, and over long ones by a Fourier transform made of matrix
//! products (`aaren_kernels::MonarchTransform`). A general filter has no finite state: acting keeps the inputs that the filters still see,
//! `4 width (order - 1) min(t, taps - 1) + 8 (order + 1) width` bytes a sequence and layer, and 8 bytes a sequence for where its
//! episode begins. A token costs `width` multiply-adds for every token in sight.
//!
//! Laws: all hold; a transform rounds differently from a sum, so law 1 and law 2 hold to 1e-5 of the output's scale from 512
//! tokens on. Filters are evaluated once for a state: like the rest of a state they belong to the weights that made it.
//!
//! Source: Poli et al. 2023, arXiv:2302.10866.

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
    /// `policy.options.hyena`
    "hyena" HyenaOptions {
        /// Gating projections: one long filter fewer.
        order: usize = 2, (2..=8).contains(order), "2 to 8";
        /// How far back a token sees, in tokens, itself included.
        taps: usize = 1024, (2..=1 << 20).contains(taps), "2 to 2^20";
        /// Numbers that describe a tap's position: 1 and a cosine and a sine for every band.
        embedding: usize = 33, ((3..=1025).contains(embedding) && embedding % 2 == 1), "an odd number from 3 to 1025";
        /// Initial frequency of the sine activations.
        frequency: f64 = 14.0, (frequency.is_finite() && *frequency > 0.0), "a positive number";
    }
}

/// The module.
#[derive(Module, Debug)]
pub struct Hyena<B: Backend> {
    operator: LongConvolution<B>,
}

/// See [`LongConvolutionState`].
pub type HyenaState<B> = LongConvolutionState<B>;

impl<B: KernelBackend> Mixer<B> for Hyena<B> {
    type State = HyenaState<B>;
    type Options = HyenaOptions;

    fn new(sizes: Sizes, options: &HyenaOptions, init: &mut Init, device: &B::Device) -> Self {
        let HyenaOptions { order, taps, embedding, frequency } = *options;
        let operator = OperatorSizes { width: sizes.width, order, taps, embedding, frequency, residual: false };
        Self { operator: LongConvolution::new(&operator, Way::Shortest, init, device) }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> HyenaState<B> {
        self.operator.initial_state(batch, device)
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        self.operator.forward(x, reset, state)
    }
}
