//! A residual block: `x + mix(norm(x))`, then `x + feed_forward(norm(x))`.

use crate::{
    backbone::Keep,
    config::{Activation, PolicyConfig},
    error::PolicyError,
    init::Init,
    layers::{Dense, Norm},
    mixer::{AnyMixer, AnyState},
    reset::Reset,
};
use burn::{
    module::Module,
    tensor::{Tensor, activation, backend::Backend},
};
use kernels::{Dropout, KernelBackend, dropout_add};

/// Norm, mixer, norm, feed-forward.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    mixer_norm: Norm<B>,
    mixer: AnyMixer<B>,
    feed_forward_norm: Norm<B>,
    up: Dense<B>,
    down: Dense<B>,
    #[module(skip)]
    activation: Activation,
}

/// Dropout of one block: a seed for each of the places that drop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockDropout {
    pub mixer: Dropout,
    pub mixer_branch: Dropout,
    pub feed_forward_branch: Dropout,
}

impl<B: KernelBackend> Block<B> {
    /// Makes a block of the given sizes.
    ///
    /// # Errors
    /// [`PolicyError::UnknownMixer`].
    pub fn new(config: &PolicyConfig, init: &mut Init, device: &B::Device) -> Result<Self, PolicyError> {
        let (width, feed_forward) = (config.width, config.feed_forward);
        Ok(Self {
            mixer_norm: Norm::new(width, init, device),
            mixer: AnyMixer::new(config, init, device)?,
            feed_forward_norm: Norm::new(width, init, device),
            up: Dense::in_block(width, feed_forward, init, device),
            down: Dense::in_block(feed_forward, width, init, device),
            activation: config.activation,
        })
    }

    /// The mixer.
    pub fn mixer(&self) -> &AnyMixer<B> {
        &self.mixer
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
        let normal = self.mixer_norm.forward(x.clone()).reshape([batch, rows / batch, width]);
        let (mixed, state) = self.mixer.forward(normal, reset, state, dropout.mixer);
        let x = keep.of(dropout_add(x, mixed.reshape([rows, width]), dropout.mixer_branch));

        let normal = self.feed_forward_norm.forward(x.clone());
        let hidden = match self.activation {
            Activation::Relu => self.up.forward_relu(normal),
            Activation::Gelu => activation::gelu(self.up.forward(normal)),
        };
        (dropout_add(x, self.down.forward(hidden), dropout.feed_forward_branch), state)
    }
}
