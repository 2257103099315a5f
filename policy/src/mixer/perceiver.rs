//! Perceiver: a few learned latents read everything that has been seen, think among themselves, and answer the present token.
//!
//! ```text
//! r_l = softmax(q_l K^T / sqrt(head_dim)) V over the tokens so far        the read: a scan a latent and head, as Aaren's
//! z   = q + r W_o;  z <- z + feed_forward(norm(z))                        a latent stays itself
//! z  <- z + attention(norm(z))                                            among the latents
//! y_t = softmax(x_t W_q . z W_k / sqrt(head_dim)) (z W_v) W_out            the answer: the present token queries the latents
//! ```
//!
//! With `residual = false` a latent is what it read, `z = r W_o`, and nothing stands between: all latents then begin alike, and the answer
//! cannot tell them apart. Models that were stored before there was the option are so.
//!
//! The read has queries that do not depend on the input, so as a recurrence it is many-to-one: a token costs `latents * width`
//! multiply-adds to take in. What comes after depends on all of the read and is computed again for every token that is answered:
//! `latents * width^2` for the layers, and `latents^2 * width` among the latents. Only one read can be streamed; a second would take
//! queries that change with every token. With one latent the read is Aaren's scan.
//!
//! State: log-sum and mean of every latent and head, `4 latents (width + heads)` bytes a sequence and layer.
//!
//! Source: Jaegle et al. 2021, arXiv:2103.03206; the answer by a query is Perceiver IO's, arXiv:2107.14795.

use super::aaren::AarenState;
use super::common::{merge_heads, split_heads};
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::init::Init;
use crate::layers::{Dense, Norm};
use crate::reset::Reset;
use aaren_kernels::{Dropout, KernelBackend, ScanCarry, attention_scan};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

mixer_options! {
    /// `policy.options.perceiver`
    "perceiver" PerceiverOptions {
        /// Latents.
        latents: usize = 8, (1..=1024).contains(latents), "1 to 1024";
        /// Whether a latent adds what it reads to itself, as published, with a feed-forward layer as wide as the model after it.
        residual: bool = true;
    }
}

/// Four dense layers of an attention.
#[derive(Module, Debug)]
struct Attention<B: Backend> {
    query: Dense<B>,
    key: Dense<B>,
    value: Dense<B>,
    output: Dense<B>,
}

impl<B: Backend> Attention<B> {
    fn new(width: usize, init: &mut Init, device: &B::Device) -> Self {
        let mut dense = || Dense::in_mixer(width, width, init, device);
        Self { query: dense(), key: dense(), value: dense(), output: dense() }
    }
}

impl<B: KernelBackend> Attention<B> {
    /// `readers` `[groups * queries, width]` attend over the `sources` `[groups * keys, width]` of their group.
    fn forward(&self, readers: Tensor<B, 2>, sources: Tensor<B, 2>, groups: usize, heads: usize) -> Tensor<B, 2> {
        let queries = split_heads(self.query.forward(readers), groups, heads); // [groups, heads, queries, head_dim]
        let keys = split_heads(self.key.forward(sources.clone()), groups, heads);
        let values = split_heads(self.value.forward(sources), groups, heads);
        let scale = 1.0 / (queries.dims()[3] as f64).sqrt();
        let weights = activation::softmax(queries.matmul(keys.swap_dims(2, 3)) * scale, 3);
        self.output.forward(merge_heads(weights.matmul(values)))
    }
}

/// The module.
#[derive(Module, Debug)]
pub struct Perceiver<B: Backend> {
    /// Queries of the latents, head by head: `[heads, head_dim, latents]`
    latents: Param<Tensor<B, 3>>,
    key: Dense<B>,
    value: Dense<B>,
    read: Dense<B>,
    /// Where latents stay themselves.
    feed_forward: Option<FeedForward<B>>,
    norm: Norm<B>,
    among: Attention<B>,
    answer: Attention<B>,
}

/// What a latent makes of what it is.
#[derive(Module, Debug)]
struct FeedForward<B: Backend> {
    norm: Norm<B>,
    inner: Dense<B>,
    outer: Dense<B>,
}

impl<B: KernelBackend> FeedForward<B> {
    fn new(width: usize, init: &mut Init, device: &B::Device) -> Self {
        let norm = Norm::new(width, init, device);
        Self { norm, inner: Dense::in_mixer(width, width, init, device), outer: Dense::in_mixer(width, width, init, device) }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        x.clone() + self.outer.forward(activation::relu(self.inner.forward(self.norm.forward(x))))
    }
}

/// As Aaren's, with a head for every latent and head.
pub type PerceiverState<B> = AarenState<B>;

impl<B: KernelBackend> Mixer<B> for Perceiver<B> {
    type State = PerceiverState<B>;
    type Options = PerceiverOptions;

    fn new(sizes: Sizes, options: &PerceiverOptions, init: &mut Init, device: &B::Device) -> Self {
        let (width, heads) = (sizes.width, sizes.heads);
        let latents = init.tokens([heads, width / heads, options.latents], device);
        let mut dense = || Dense::in_mixer(width, width, init, device);
        let (key, value, read) = (dense(), dense(), dense());
        let norm = Norm::new(width, init, device);
        Self {
            latents,
            key,
            value,
            read,
            norm,
            among: Attention::new(width, init, device),
            answer: Attention::new(width, init, device),
            // Last, so that the rest is drawn as without.
            feed_forward: options.residual.then(|| FeedForward::new(width, init, device)),
        }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> PerceiverState<B> {
        let [heads, head_dim, latents] = self.latents.dims();
        ScanCarry::empty(batch, heads * latents, head_dim, device).into()
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let [heads, head_dim, latents] = self.latents.dims();
        let rows = batch * time;
        let x = x.reshape([rows, width]);
        let keys = split_heads(self.key.forward(x.clone()), batch, heads);
        let queries = self.latents.val().unsqueeze::<4>() * (1.0 / (head_dim as f64).sqrt());
        let scores = keys.matmul(queries).swap_dims(2, 3).reshape([batch, heads * latents, time]);
        let values = split_heads(self.value.forward(x.clone()), batch, heads);
        let values = values.unsqueeze_dim::<5>(2).expand([batch, heads, latents, time, head_dim]);
        let values = values.reshape([batch, heads * latents, time, head_dim]);
        let (read, carry) = attention_scan(scores, values, reset.tensor(), state.into());

        let read = read.reshape([batch, heads, latents, time, head_dim]).permute([0, 3, 2, 1, 4]);
        let mut latent = self.read.forward(read.reshape([rows * latents, width]));
        if let Some(feed_forward) = &self.feed_forward {
            let own = self.latents.val().permute([2, 0, 1]).reshape([1, latents, width]); // head by head, as what is read
            let own = own.expand([rows, latents, width]).reshape([rows * latents, width]);
            latent = feed_forward.forward(own + latent);
        }
        let normal = self.norm.forward(latent.clone());
        let latent = latent + self.among.forward(normal.clone(), normal, rows, heads);
        let y = self.answer.forward(x, latent, rows, heads);
        (y.reshape([batch, time, width]), carry.into())
    }
}
