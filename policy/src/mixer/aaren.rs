//! Aaren: attention as a recurrent neural network.
//!
//! Softmax attention whose query is one learned token per layer, so that the outputs for all prefixes are one scan and the state
//! is a log-sum-exp and a running mean. Weights depend on what a token is, never on what the current token asks.
//!
//! Keys are never made: with the query `q` fixed, `score = q . (x W_k + b_k) / sqrt(head_dim)` is `x G + c` with one column of
//! `G` a head. State: `4 (width + heads)` bytes a sequence and layer, whatever the number of tokens.
//!
//! Source: Feng et al. 2024, arXiv:2405.13956. The paper gives no initialisation for the query token: normal, deviation 0.02.

use super::{Mixer, merge_heads, split_heads};
use crate::{
    config::PolicyConfig,
    error::PolicyError,
    init::Init,
    layers::Dense,
    reset::Reset,
    state::{MixerState, StateRecord},
};
use burn::{
    module::{Module, Param},
    tensor::{Tensor, backend::Backend},
};
use kernels::{Dropout, KernelBackend, Rectifier, ScanCarry, attention_scan};

/// The module. As many parameters as multi-head attention of the same width, and the query token.
#[derive(Module, Debug)]
pub struct Aaren<B: Backend> {
    query_token: Param<Tensor<B, 1>>,
    query: Dense<B>,
    key: Dense<B>,
    value: Dense<B>,
    output: Dense<B>,
    heads: usize,
}

/// Log-sum-exp of the scores so far and the attention over them, for every row and head.
#[derive(Clone, Debug)]
pub struct AarenState<B: Backend>(ScanCarry<B>);

impl<B: KernelBackend> Aaren<B> {
    /// The map from a token to its scores, `x G + c`: `G [width, heads]`, `c [heads]`.
    fn score_map(&self) -> (Tensor<B, 2>, Tensor<B, 1>) {
        let [width] = self.query_token.dims();
        let (heads, head_dim) = (self.heads, width / self.heads);
        let scale = 1.0 / (head_dim as f64).sqrt();
        let query = self.query.forward(self.query_token.val().reshape([1, width])).reshape([heads, head_dim, 1]) * scale;
        let key = self.key.weight.val().reshape([width, heads, head_dim]).swap_dims(0, 1); // [heads, width, head_dim]
        let bias = self.key.bias.val().reshape([heads, 1, head_dim]);
        let map = key.matmul(query.clone()).reshape([heads, width]).transpose();
        (map, bias.matmul(query).reshape([heads]))
    }
}

impl<B: KernelBackend> Mixer<B> for Aaren<B> {
    type State = AarenState<B>;

    fn new(config: &PolicyConfig, init: &mut Init, device: &B::Device) -> Self {
        let width = config.width;
        let mut dense = || Dense::in_block(width, width, init, device);
        let (query, key, value, output) = (dense(), dense(), dense(), dense());
        Self { query_token: init.normal([width], 0.02, device), query, key, value, output, heads: config.heads }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> AarenState<B> {
        let [width] = self.query_token.dims();
        AarenState(ScanCarry::empty(batch, self.heads, width / self.heads, device))
    }

    fn forward(
        &self,
        x: Tensor<B, 3>,
        reset: &Reset<B>,
        state: AarenState<B>,
        _dropout: Dropout,
    ) -> (Tensor<B, 3>, AarenState<B>) {
        let [batch, time, width] = x.dims();
        let x = x.reshape([batch * time, width]);
        let (map, offset) = self.score_map();
        let scores = kernels::linear(x.clone(), map, offset, Rectifier::None); // [batch * time, heads]
        let scores = scores.reshape([batch, time, self.heads]).swap_dims(1, 2); // [batch, heads, time]
        let values = split_heads(self.value.forward(x), batch, self.heads);
        let (outputs, carry) = attention_scan(scores, values, reset.tensor(), state.0);
        let y = self.output.forward(merge_heads(outputs));
        (y.reshape([batch, time, width]), AarenState(carry))
    }
}

impl<B: KernelBackend> MixerState<B> for AarenState<B> {
    fn bytes(&self) -> usize {
        let [batch, heads, head_dim] = self.0.output.dims();
        4 * batch * heads * (head_dim + 1)
    }

    fn to_record(&self) -> StateRecord {
        StateRecord::new([("log_sum", self.0.log_sum.to_data()), ("output", self.0.output.to_data())])
    }

    fn from_record(mut record: StateRecord, device: &B::Device) -> Result<Self, PolicyError> {
        Ok(Self(ScanCarry { log_sum: record.take("log_sum", device)?, output: record.take("output", device)? }))
    }

    fn detach(self) -> Self {
        Self(ScanCarry { log_sum: self.0.log_sum.detach(), output: self.0.output.detach() })
    }

    fn to_device(self, device: &B::Device) -> Self {
        Self(ScanCarry { log_sum: self.0.log_sum.to_device(device), output: self.0.output.to_device(device) })
    }
}
