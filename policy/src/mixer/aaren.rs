//! Aaren: attention as a recurrent neural network.
//!
//! Softmax attention whose query is one learned token per layer, so that the outputs for all prefixes are one scan and the state
//! is a log-sum-exp and a running mean. Weights depend on what a token is, never on what the current token asks.
//!
//! Keys are never made: with the query `q` fixed, `score = q . (x W_k + b_k) / sqrt(head_dim)` is `x G + c` with one column of
//! `G` a head. State: `4 (width + heads)` bytes a sequence and layer, whatever the number of tokens.
//!
//! Two extensions leave the state constant and are off by default. With `queries = n` every layer has `n` query tokens, whose
//! outputs are joined: `4 n (width + heads)` bytes (several learned queries are a control of Peng et al. 2022, arXiv:2110.02488). With `recency = "learned"` a head's past fades, `L_t = logaddexp(L_{t-1} - d,
//! s_t)` with a rate `d >= 0` a head and query that begins near 0: the same scan over scores `s_t + d t`, since a shift of all
//! scores changes no output, with the carry's log-sum counted from the next chunk on (RWKV-4's weighted sum fades so for every channel: Peng
//! et al. 2023, arXiv:2305.13048; with a score for every channel it is the attention-free transformer of Zhai et al. 2021, arXiv:2105.14103).
//!
//! Source: Feng et al. 2024, arXiv:2405.13956. The paper gives no initialization for the query token: normal, with a deviation of 1,
//! or with `init = "published"` of 0.02.

use super::common::{inverse_softplus, like, merge_heads, softplus, split_heads};
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::error::PolicyError;
use crate::init::Init;
use crate::layers::Dense;
use crate::prepared::{Prepared, weight};
use crate::reset::Reset;
use crate::state::{MixerState, StateRecord};
use aaren_kernels::{Activation, Dropout, KernelBackend, ScanCarry, attention_scan, dropout_add};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

/// Tokens whose scores are shifted at once: shifts of more would cost digits.
const CHUNK: usize = 256;
/// The rate at which a head's past fades before training.
pub(super) const FIRST_RATE: f32 = 0.01;

/// Whether the past fades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Recency {
    /// It does not: the paper's Aaren.
    #[default]
    None,
    /// At a learned rate.
    Learned,
}

impl Display for Recency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Recency::None => "\"none\"",
            Recency::Learned => "\"learned\"",
        })
    }
}

mixer_options! {
    /// `policy.options.aaren`
    "aaren" AarenOptions {
        /// Learned query tokens.
        queries: usize = 1, (1..=256).contains(queries), "1 to 256";
        /// Whether the past fades.
        recency: Recency = Recency::None;
    }
}

/// The module. As many parameters as multi-head attention of the same width, and the query token.
#[derive(Module, Debug)]
pub struct Aaren<B: Backend> {
    /// `[queries * width]`
    query_token: Param<Tensor<B, 1>>,
    query: Dense<B>,
    key: Dense<B>,
    value: Dense<B>,
    /// `[queries * width, width]`
    output: Dense<B>,
    /// The rate at which the past fades, as the `x` of `log(1 + e^x)`: `[heads * queries]`
    rate: Option<Param<Tensor<B, 1>>>,
    heads: usize,
}

/// Log-sum-exp of the scores so far and the attention over them, for every row and head.
#[derive(Clone, Debug)]
pub struct AarenState<B: Backend> {
    /// `[batch, heads * queries]`
    log_sum: Tensor<B, 2>,
    /// `[batch, heads * queries, head_dim]`
    output: Tensor<B, 3>,
    /// Made once while a policy acts: it depends on the weights alone.
    score_map: Option<Prepared<B, ScoreMap<B>>>,
}

/// The map from a token to its scores, `x G + c`: `G [width, heads * queries]`, `c [heads * queries]`.
type ScoreMap<B> = (Tensor<B, 2>, Tensor<B, 1>);

impl<B: KernelBackend> MixerState<B> for AarenState<B> {
    fn bytes(&self) -> usize {
        4 * (self.log_sum.dims().iter().product::<usize>() + self.output.dims().iter().product::<usize>())
    }

    fn to_record(&self) -> StateRecord {
        StateRecord::new([("log_sum", self.log_sum.to_data()), ("output", self.output.to_data())])
    }

    fn from_record(mut record: StateRecord, device: &B::Device) -> Result<Self, PolicyError> {
        Ok(Self { log_sum: record.take("log_sum", device)?, output: record.take("output", device)?, score_map: None })
    }

    fn detach(self) -> Self {
        Self { log_sum: self.log_sum.detach(), output: self.output.detach(), score_map: None }
    }

    fn to_device(self, device: &B::Device) -> Self {
        Self { log_sum: self.log_sum.to_device(device), output: self.output.to_device(device), score_map: None }
    }
}

impl<B: Backend> From<ScanCarry<B>> for AarenState<B> {
    fn from(carry: ScanCarry<B>) -> Self {
        Self { log_sum: carry.log_sum, output: carry.output, score_map: None }
    }
}

impl<B: Backend> From<AarenState<B>> for ScanCarry<B> {
    fn from(state: AarenState<B>) -> Self {
        Self { log_sum: state.log_sum, output: state.output }
    }
}

impl<B: KernelBackend> Aaren<B> {
    fn width(&self) -> usize {
        self.value.bias.dims()[0]
    }

    /// The weights that scores are made with.
    fn score_weights(&self) -> Vec<B::FloatTensorPrimitive> {
        let (query, key) = (&self.query, &self.key);
        let [query_bias, key_bias] = [query, key].map(|dense| weight(dense.bias.val()));
        let [query, key] = [query, key].map(|dense| weight(dense.weight.val()));
        vec![weight(self.query_token.val()), query, query_bias, key, key_bias]
    }

    /// Query tokens.
    fn queries(&self) -> usize {
        self.query_token.dims()[0] / self.width()
    }

    /// The map from a token to its scores.
    fn score_map(&self) -> ScoreMap<B> {
        let (width, queries) = (self.width(), self.queries());
        let (heads, head_dim) = (self.heads, width / self.heads);
        let scale = 1.0 / (head_dim as f64).sqrt();
        let query = self.query.forward(self.query_token.val().reshape([queries, width])) * scale;
        let query = query.reshape([queries, heads, head_dim]).permute([1, 2, 0]); // [heads, head_dim, queries]
        let key = self.key.weight.val().reshape([width, heads, head_dim]).swap_dims(0, 1); // [heads, width, head_dim]
        let bias = self.key.bias.val().reshape([heads, 1, head_dim]);
        let map = key.matmul(query.clone()); // [heads, width, queries]
        (map.swap_dims(0, 1).reshape([width, heads * queries]), bias.matmul(query).reshape([heads * queries]))
    }
}

/// Drops weights of tokens, head by head, by dropping their values: 0, or what keeps the expectation. Sums of weights stay, as attention
/// drops weights after their softmax.
///
/// # Shapes
/// - `values`, and what is returned: `[batch * time, width]`
fn drop_weights<B: KernelBackend>(values: Tensor<B, 2>, heads: usize, dropout: Dropout) -> Tensor<B, 2> {
    let [rows, width] = values.dims();
    let none = Tensor::<B, 2>::zeros([rows, heads], (&values.device(), values.dtype()));
    let kept = dropout_add(none.clone(), none + 1.0, dropout);
    (values.reshape([rows, heads, width / heads]) * kept.reshape([rows, heads, 1])).reshape([rows, width])
}

/// A chunk's share of a scan with a past that fades: scores of the chunk, its tokens, their flags, and the carry.
pub(super) type ScanChunk<'a, B> =
    dyn FnMut(Tensor<B, 3>, Range<usize>, Tensor<B, 2, Bool>, ScanCarry<B>) -> (Tensor<B, 4>, ScanCarry<B>) + 'a;

/// A scan with a past that fades, in chunks.
///
/// - `rate`: as the `x` of `log(1 + e^x)`, `[heads]`
/// - `scores`: `[batch, heads, time]`
/// - `scan`: of a chunk; its outputs have their tokens on axis 2
pub(super) fn fading_scan<B: KernelBackend>(
    rate: Tensor<B, 1>,
    scores: Tensor<B, 3>,
    reset: &Reset<B>,
    carry: ScanCarry<B>,
    scan: &mut ScanChunk<'_, B>,
) -> (Tensor<B, 4>, ScanCarry<B>) {
    let [batch, heads, time] = scores.dims();
    let (device, dtype) = (scores.device(), scores.dtype());
    let rate = softplus(rate);
    let mut carry = ScanCarry { log_sum: like(carry.log_sum, &scores), output: like(carry.output, &scores) };
    let mut pieces = Vec::with_capacity(time.div_ceil(CHUNK));
    for start in (0..time).step_by(CHUNK) {
        let tokens = start..(start + CHUNK).min(time);
        let length = tokens.len();
        let ages = Tensor::<B, 1>::from_data(
            burn::tensor::TensorData::new((0..length).map(|token| token as f64).collect(), [length]),
            (&device, dtype),
        );
        let shifts = rate.clone().reshape([1, heads, 1]) * ages.reshape([1, 1, length]);
        let scores = scores.clone().slice([0..batch, 0..heads, tokens.clone()]) + shifts;
        let flags = if length == time { reset.tensor() } else { reset.tensor().slice([0..batch, tokens.clone()]) };
        let (outputs, next) = scan(scores, tokens, flags, carry);
        carry = ScanCarry { log_sum: next.log_sum - rate.clone().reshape([1, heads]) * length as f64, ..next };
        pieces.push(outputs);
    }
    (if pieces.len() == 1 { pieces.remove(0) } else { Tensor::cat(pieces, 2) }, carry)
}

impl<B: KernelBackend> Mixer<B> for Aaren<B> {
    type State = AarenState<B>;
    type Options = AarenOptions;

    fn new(sizes: Sizes, options: &AarenOptions, init: &mut Init, device: &B::Device) -> Self {
        let (width, queries) = (sizes.width, options.queries);
        let mut dense = |inputs| Dense::in_mixer(inputs, width, init, device);
        let (query, key, value, output) = (dense(width), dense(width), dense(width), dense(queries * width));
        let query_token = init.tokens([queries * width], device);
        let first_rate = inverse_softplus(FIRST_RATE);
        let rate = (options.recency == Recency::Learned).then(|| init.constant([sizes.heads * queries], first_rate, device));
        Self { query_token, query, key, value, output, rate, heads: sizes.heads }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> AarenState<B> {
        ScanCarry::empty(batch, self.heads * self.queries(), self.width() / self.heads, device).into()
    }

    fn forward(
        &self,
        x: Tensor<B, 3>,
        reset: &Reset<B>,
        mut state: Self::State,
        dropout: Dropout,
    ) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let (heads, queries) = (self.heads, self.queries());
        let x = x.reshape([batch * time, width]);
        let prepared = Prepared::of(state.score_map.take(), self.score_weights(), || self.score_map());
        let (map, offset) = prepared.made();
        let scores = aaren_kernels::linear(x.clone(), map, offset, Activation::Identity); // [batch * time, heads * queries]
        let scores = scores.reshape([batch, time, heads * queries]).swap_dims(1, 2);
        let values = self.value.forward(x);
        let values = if dropout.is_on() { drop_weights(values, heads, dropout) } else { values };
        let mut values = split_heads(values, batch, heads);
        if queries > 1 {
            let head_dim = width / heads;
            let repeated = values.unsqueeze_dim::<5>(2).expand([batch, heads, queries, time, head_dim]);
            values = repeated.reshape([batch, heads * queries, time, head_dim]);
        }
        let (outputs, carry) = match &self.rate {
            None => attention_scan(scores, values, reset.tensor(), state.into()),
            Some(rate) => fading_scan(rate.val(), scores, reset, state.into(), &mut |scores, tokens, flags, carry| {
                let [batch, heads, _, head_dim] = values.dims();
                attention_scan(scores, values.clone().slice([0..batch, 0..heads, tokens, 0..head_dim]), flags, carry)
            }),
        };
        let y = self.output.forward(merge_heads(outputs));
        (y.reshape([batch, time, width]), AarenState { score_map: Some(prepared), ..carry.into() })
    }
}
