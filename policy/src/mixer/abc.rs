//! Attention with bounded memory: Aaren's cells as slots, which the present token reads.
//!
//! ```text
//! s_tm = w_m . x_t + c_m                      how much a token belongs to a slot, of itself
//! K_tm, V_tm = softmax(s_1m .. s_tm) of k_1 .. k_t and v_1 .. v_t       the write: a scan a slot and head, as Aaren's
//! o_t = softmax_m(q_t . K_tm / sqrt(head_dim)) V_tm                     the read
//! ```
//!
//! Aaren's answer depends on what was seen and never on what is asked. Here it does, over a memory of so many slots: with more slots than
//! things to remember, and scores that tell these apart, the read finds one of them as attention finds a token. If all slots are equal, the
//! read is their mean whatever is asked, and its gradient is exactly 0: a saddle that only the first weights keep away from, so scores begin
//! with the deviation [`AbcOptions::score_deviation`] and not with a small one. With one slot the outputs are Aaren's.
//!
//! With `recency = "learned"` a slot's past fades, as that of [`Aaren`](super::aaren::Aaren) does. With `gate = "given"` the token says what
//! share of a slot it takes, `K_tm = (1 - b_tm) K_{t-1,m} + b_tm k_t` with `b_tm = 1 - sigmoid(s_tm)^(1 / 8)`, and nothing is counted: what
//! is written late weighs as much as what was written early.
//!
//! State: of every slot and head a key, a value and a log-sum, `8 slots width + 4 slots heads` bytes a sequence and layer.
//!
//! Source: Peng et al. 2022, arXiv:2110.02488 (ABC), by the softmax form of `naive_cumsum_abc` in flash-linear-attention; the gate is that of
//! Zhang et al. 2024, arXiv:2409.07146 (gated slot attention), without its norms.

use super::aaren::{AarenState, FIRST_RATE, Recency, fading_scan};
use super::common::{inverse_softplus, merge_heads, split_heads};
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::init::Init;
use crate::layers::Dense;
use crate::reset::Reset;
use aaren_kernels::{Activation, Dropout, KernelBackend, ScanCarry, gated_recurrence, linear, slot_attention};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// Shares that tokens take begin small: the logarithm of what is kept is a sigmoid's, over this.
const TEMPERATURE: f64 = 8.0;

/// How a slot takes a token in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// By its score among those of all tokens so far.
    #[default]
    Counted,
    /// By a share that the token gives.
    Given,
}

mixer_options! {
    /// `policy.options.abc`
    "abc" AbcOptions {
        /// Slots of every head.
        slots: usize = 16, (1..=1024).contains(slots), "1 to 1024";
        /// Standard deviation of a token's scores before training.
        score_deviation: f64 = 4.0, (score_deviation.is_finite() && *score_deviation > 0.0), "a number above 0";
        /// Whether a slot's past fades; with `gate = "counted"`.
        recency: Recency = Recency::None, (*recency == Recency::None || *gate == Gate::Counted),
            "\"none\" with options.abc.gate = \"given\", by which slots forget as it is";
        /// How a slot takes a token in: by its score among all so far, or by a share that the token gives.
        gate: Gate = Gate::Counted;
    }
}

/// The module.
#[derive(Module, Debug)]
pub struct Abc<B: Backend> {
    query: Dense<B>,
    key: Dense<B>,
    value: Dense<B>,
    output: Dense<B>,
    /// `[width, heads * slots]`
    score: Param<Tensor<B, 2>>,
    /// `[heads * slots]`
    score_offset: Param<Tensor<B, 1>>,
    /// The rate at which a slot's past fades, as the `x` of `log(1 + e^x)`: `[heads * slots]`
    rate: Option<Param<Tensor<B, 1>>>,
    heads: usize,
    #[module(skip)]
    gate: Gate,
}

/// As Aaren's, with a head for every slot and head, of values twice as wide: keys, and values behind them.
pub type AbcState<B> = AarenState<B>;

impl<B: KernelBackend> Abc<B> {
    fn slots(&self) -> usize {
        self.score_offset.dims()[0] / self.heads
    }

    /// What every token reads of slots that are written to by scores among those of all tokens so far.
    ///
    /// # Shapes
    /// - `scores`: `[batch, time, heads, slots]`
    /// - `tokens`: queries, keys and values, `[batch, heads, time, head_dim]` each; and what is returned
    fn counted(
        &self,
        scores: Tensor<B, 4>,
        tokens: [Tensor<B, 4>; 3],
        reset: &Reset<B>,
        state: AbcState<B>,
    ) -> (Tensor<B, 4>, AbcState<B>) {
        let [batch, time, heads, slots] = scores.dims();
        let (outputs, carry) = match &self.rate {
            None => {
                let [queries, keys, values] = tokens;
                slot_attention(scores.swap_dims(1, 2), queries, keys, values, reset.tensor(), state.into())
            }
            Some(rate) => {
                let scores = scores.reshape([batch, time, heads * slots]).swap_dims(1, 2);
                fading_scan(rate.val(), scores, reset, state.into(), &mut |scores, range, flags, carry| {
                    let scores = scores.reshape([batch, heads, slots, range.len()]).swap_dims(2, 3);
                    let part = |tokens: &Tensor<B, 4>| tokens.clone().slice([0..batch, 0..heads, range.clone()]);
                    let [queries, keys, values] = tokens.each_ref().map(part);
                    slot_attention(scores, queries, keys, values, flags, carry)
                })
            }
        };
        (outputs, carry.into())
    }

    /// The same of slots that are written to by shares that tokens give.
    fn given(
        &self,
        scores: Tensor<B, 4>,
        [queries, keys, values]: [Tensor<B, 4>; 3],
        reset: &Reset<B>,
        state: AbcState<B>,
    ) -> (Tensor<B, 4>, AbcState<B>) {
        let ([batch, time, heads, slots], head_dim) = (scores.dims(), values.dims()[3]);
        let (rows, wide) = (heads * slots, 2 * head_dim);
        // ln of what is kept: of a sigmoid, over the temperature.
        let kept = (activation::log_sigmoid(scores) / TEMPERATURE).exp().unsqueeze_dim::<5>(4); // [batch, time, heads, slots, 1]
        let tokens = Tensor::cat(vec![keys, values], 3).swap_dims(1, 2).unsqueeze_dim::<5>(3); // [batch, time, heads, 1, wide]
        let added = tokens * (kept.clone().neg() + 1.0);
        let kept = kept.expand([batch, time, heads, slots, wide]).reshape([batch, time, rows * wide]);
        let carry: ScanCarry<B> = state.into();
        let begun = carry.output.reshape([batch, rows * wide]);
        let memory = gated_recurrence(kept, added.reshape([batch, time, rows * wide]), reset.tensor(), begun);
        let last = memory.clone().slice([0..batch, time - 1..time]).reshape([batch, rows, wide]);

        let memory = memory.reshape([batch * time, heads, slots, wide]);
        let half = |from: usize| memory.clone().slice([0..batch * time, 0..heads, 0..slots, from..from + head_dim]);
        let queries = queries.swap_dims(1, 2).reshape([batch * time, heads, 1, head_dim]);
        let asked = (half(0) * queries).sum_dim(3) * (1.0 / (head_dim as f64).sqrt()); // [batch * time, heads, slots, 1]
        let read = (half(head_dim) * activation::softmax(asked, 2)).sum_dim(2); // [batch * time, heads, 1, head_dim]
        let read = read.reshape([batch, time, heads, head_dim]).swap_dims(1, 2);
        (read, ScanCarry { log_sum: carry.log_sum, output: last }.into())
    }
}

impl<B: KernelBackend> Mixer<B> for Abc<B> {
    type State = AbcState<B>;
    type Options = AbcOptions;

    fn new(sizes: Sizes, options: &AbcOptions, init: &mut Init, device: &B::Device) -> Self {
        let (Sizes { width, heads, .. }, slots) = (sizes, options.slots);
        let mut dense = || Dense::uniform(width, width, init, device);
        let (query, key, value, output) = (dense(), dense(), dense(), dense());
        // Of tokens with a deviation of 1, as norms make them.
        let deviation = options.score_deviation / (width as f64).sqrt();
        let rate = inverse_softplus(FIRST_RATE);
        Self {
            query,
            key,
            value,
            output,
            score: init.normal([width, heads * slots], deviation as f32, device),
            score_offset: init.constant([heads * slots], 0.0, device),
            rate: (options.recency == Recency::Learned).then(|| init.constant([heads * slots], rate, device)),
            heads,
            gate: options.gate,
        }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> AbcState<B> {
        let wide = 2 * self.value.bias.dims()[0] / self.heads;
        ScanCarry::empty(batch, self.heads * self.slots(), wide, device).into()
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let (heads, slots) = (self.heads, self.slots());
        let x = x.reshape([batch * time, width]);
        let scores = linear(x.clone(), self.score.val(), self.score_offset.val(), Activation::Identity);
        let scores = scores.reshape([batch, time, heads, slots]);
        let tokens = [&self.query, &self.key, &self.value].map(|map| split_heads(map.forward(x.clone()), batch, heads));
        let (read, state) = match self.gate {
            Gate::Counted => self.counted(scores, tokens, reset, state),
            Gate::Given => self.given(scores, tokens, reset, state),
        };
        let y = self.output.forward(merge_heads(read));
        (y.reshape([batch, time, width]), state)
    }
}
