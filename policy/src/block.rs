//! A residual block: `x + mix(norm(x))`, then `x + feed_forward(norm(x))`; or with the norms after the sums.

use crate::config::{Activation, FEED_FORWARD_BLOCKS, FeedForwardKind, NormPlace, PolicyConfig};
use crate::error::PolicyError;
use crate::init::Init;
use crate::keep::Keep;
use crate::layers::{BlockDiagonal, Dense, Norm};
use crate::mixer::{AnyMixer, AnyState};
use crate::reset::Reset;
use aaren_kernels::{Dropout, KernelBackend, dropout_add};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

/// Norm, mixer, norm, feed-forward; or mixer, norm, feed-forward, norm.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    mixer_norm: Norm<B>,
    mixer: AnyMixer<B>,
    feed_forward_norm: Norm<B>,
    /// The dense feed-forward half, or else the block-diagonal one.
    up: Option<Dense<B>>,
    down: Option<Dense<B>>,
    blocks: Option<GatedBlocks<B>>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    norm: NormPlace,
}

/// Monarch Mixer's feed-forward half: block-diagonal layers, gated. `y = (gelu(g) v) W_down + b` with `[g, v] = x W_up`; because both are
/// cut from one product, every block of the output sees two of the input.
///
/// Source: Fu et al. 2023, arXiv:2310.12109, and its code.
#[derive(Module, Debug)]
struct GatedBlocks<B: Backend> {
    up: BlockDiagonal<B>,
    down: BlockDiagonal<B>,
    bias: Param<Tensor<B, 1>>,
}

impl<B: Backend> GatedBlocks<B> {
    fn new(config: &PolicyConfig, init: &mut Init, device: &B::Device) -> Self {
        let (width, inner) = (config.width, config.feed_forward);
        Self {
            up: BlockDiagonal::new(width, 2 * inner, FEED_FORWARD_BLOCKS, init, device),
            down: BlockDiagonal::new(inner, width, FEED_FORWARD_BLOCKS, init, device),
            bias: init.constant([width], 0.0, device),
        }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let both = self.up.forward(x);
        let [rows, width] = both.dims();
        let half = |part: usize| both.clone().slice([0..rows, part * width / 2..(part + 1) * width / 2]);
        self.down.forward(activation::gelu(half(0)) * half(1)) + self.bias.val().unsqueeze::<2>()
    }
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`. The cube is made of products: a power of a negative number is a NaN on some GPUs.
fn gelu_tanh<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    const SQRT_2_OVER_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    let inner = (x.clone() * x.clone() * 0.044715 + 1.0) * x.clone() * SQRT_2_OVER_PI;
    (inner.tanh() + 1.0) * x * 0.5
}

/// Dropout of one block: a seed for each of the places that drop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockDropout {
    pub mixer: Dropout,
    pub mixer_branch: Dropout,
    pub feed_forward_branch: Dropout,
}

impl<B: KernelBackend> Block<B> {
    /// Makes a block of the given sizes around the mixer of a name.
    ///
    /// # Errors
    /// [`PolicyError::UnknownMixer`].
    pub fn new(mixer: &str, config: &PolicyConfig, init: &mut Init, device: &B::Device) -> Result<Self, PolicyError> {
        let (width, feed_forward) = (config.width, config.feed_forward);
        let is_dense = config.feed_forward_kind == FeedForwardKind::Dense;
        let options = config.options.clone().in_stack(&config.mixer);
        Ok(Self {
            mixer_norm: Norm::new(width, init, device),
            mixer: AnyMixer::new(mixer, config.sizes(), &options, init, device)?,
            feed_forward_norm: Norm::new(width, init, device),
            up: is_dense.then(|| Dense::small(width, feed_forward, init, device)),
            down: is_dense.then(|| Dense::small(feed_forward, width, init, device)),
            blocks: (!is_dense).then(|| GatedBlocks::new(config, init, device)),
            activation: config.activation,
            norm: config.norm,
        })
    }

    /// The mixer.
    pub fn mixer(&self) -> &AnyMixer<B> {
        &self.mixer
    }

    /// Numbers in a token.
    pub(crate) fn width(&self) -> usize {
        self.mixer_norm.gain.dims()[0]
    }

    /// `[batch * time, width]` to `[batch * kept, width]`: only kept tokens go through the feed-forward half.
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        reset: &Reset<B>,
        state: AnyState<B>,
        dropout: BlockDropout,
        keep: Keep,
    ) -> (Tensor<B, 2>, AnyState<B>) {
        let ([rows, width], batch) = (x.dims(), reset.batch());
        let before = |norm: &Norm<B>, x: &Tensor<B, 2>| match self.norm {
            NormPlace::Pre => norm.forward(x.clone()),
            NormPlace::Post => x.clone(),
        };
        let after = |norm: &Norm<B>, x: Tensor<B, 2>| match self.norm {
            NormPlace::Pre => x,
            NormPlace::Post => norm.forward(x),
        };
        let input = before(&self.mixer_norm, &x).reshape([batch, rows / batch, width]);
        let (mixed, state) = self.mixer.forward(input, reset, state, dropout.mixer);
        let x = keep.of(dropout_add(x, mixed.reshape([rows, width]), dropout.mixer_branch));
        let x = after(&self.mixer_norm, x);

        let input = before(&self.feed_forward_norm, &x);
        let x = dropout_add(x, self.feed_forward(input), dropout.feed_forward_branch);
        (after(&self.feed_forward_norm, x), state)
    }

    fn feed_forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let (Some(up), Some(down)) = (&self.up, &self.down) else {
            return self.blocks.as_ref().expect("a block has one feed-forward half").forward(x);
        };
        let hidden = match self.activation {
            Activation::Relu => up.forward_relu(x),
            Activation::Gelu => activation::gelu(up.forward(x)),
            Activation::GeluTanh => gelu_tanh(up.forward(x)),
        };
        down.forward(hidden)
    }
}
