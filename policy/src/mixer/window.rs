//! Sliding window attention: causal softmax attention over the last `window` tokens of the episode, the present one included.
//!
//! The state is the keys and values of the `window - 1` tokens before, `8 width (window - 1)` bytes a sequence and layer, and 8
//! bytes a sequence for how many of them there are. Keys and queries are rotary: they are turned by their places among the tokens at
//! hand, and held as they were before, so that a stream of any length has no large positions. With `rotary = false` the order inside
//! the window is lost; models that were stored before there was the option are so. Laws: all hold, with the window as part of the
//! function; a stack of such layers looks further back than one.
//!
//! Source: Arora et al. 2024, arXiv:2402.18668; Beltagy et al. 2020, arXiv:2004.05150.

use super::common::{like, merge_heads, split_heads};
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::error::PolicyError;
use crate::init::Init;
use crate::layers::Dense;
use crate::reset::Reset;
use crate::rotary::Turns;
use crate::state::{MixerState, StateRecord, indices};
use aaren_kernels::{Dropout, KernelBackend, causal_attention};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

mixer_options! {
    /// `policy.options.window`
    "window" WindowOptions {
        /// Tokens that a token sees, itself included.
        tokens: usize = 64, (2..=1 << 20).contains(tokens), "2 to 2^20";
        /// Whether queries and keys are turned by their positions (RoPE), as published.
        rotary: bool = true;
    }
}

/// The module: four dense layers.
#[derive(Module, Debug)]
pub struct Window<B: Backend> {
    query: Dense<B>,
    key: Dense<B>,
    value: Dense<B>,
    output: Dense<B>,
    heads: usize,
    tokens: usize,
    rotary: bool,
}

/// Keys and values of the tokens before, and how many of them are of the episode.
#[derive(Clone, Debug)]
pub struct WindowState<B: Backend> {
    /// `[batch, heads, window - 1, head_dim]`
    keys: Tensor<B, 4>,
    /// `[batch, heads, window - 1, head_dim]`
    values: Tensor<B, 4>,
    /// For each row, the first of them that is of its episode; `window - 1` if none is.
    first: Vec<usize>,
    /// Of the last tokens that were seen at once, for as many the next time.
    turns: Option<Turns<B>>,
}

impl<B: KernelBackend> Mixer<B> for Window<B> {
    type State = WindowState<B>;
    type Options = WindowOptions;

    fn new(sizes: Sizes, options: &WindowOptions, init: &mut Init, device: &B::Device) -> Self {
        let width = sizes.width;
        let mut dense = || Dense::in_mixer(width, width, init, device);
        let (query, key, value, output) = (dense(), dense(), dense(), dense());
        Self { query, key, value, output, heads: sizes.heads, tokens: options.tokens, rotary: options.rotary }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> WindowState<B> {
        let (past, head_dim) = (self.tokens - 1, self.query.bias.dims()[0] / self.heads);
        let zeros = Tensor::zeros([batch, self.heads, past, head_dim], device);
        WindowState { keys: zeros.clone(), values: zeros, first: vec![past; batch], turns: None }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, dropout: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let past = self.tokens - 1;
        let x = x.reshape([batch * time, width]);
        let [queries, keys, values] =
            [&self.query, &self.key, &self.value].map(|layer| split_heads(layer.forward(x.clone()), batch, self.heads));
        let mut first = state.first;
        // Where no row has a past, as in training, nothing is prepended.
        let held = if first.iter().enumerate().all(|(row, &first)| first == past || reset.at(row, 0)) { 0 } else { past };
        let extended = |held_tokens: Tensor<B, 4>, new: Tensor<B, 4>| {
            if held == 0 { new } else { Tensor::cat(vec![like(held_tokens, &new), new], 2) }
        };
        let (keys, values) = (extended(state.keys, keys), extended(state.values, values));
        let mut first_keys = Vec::with_capacity(batch * time);
        for (row, first) in first.iter_mut().enumerate() {
            *first = first.saturating_sub(past - held);
            for token in 0..time {
                let own = held + token;
                *first = if reset.at(row, token) { own } else { (*first).max(own.saturating_sub(past)) };
                first_keys.push(*first as i32);
            }
            // Counted from the first of the last `past` of all tokens.
            *first = (*first + past).saturating_sub(held + time);
        }
        let first_keys = Tensor::from_data(TensorData::new(first_keys, [batch, time]), &queries.device());
        let turns = self.rotary.then(|| {
            let held_turns = state.turns.filter(|turns| turns.time() == held + time);
            held_turns.unwrap_or_else(|| Turns::new(&(0..held + time).collect::<Vec<_>>(), held + time, &keys))
        });
        let (queries, turned) = match &turns {
            Some(turns) => (turns.part(held..held + time).of(queries), turns.of(keys.clone())),
            None => (queries, keys.clone()),
        };
        let outputs = causal_attention(queries, turned, values.clone(), first_keys, dropout);
        let kept = |tokens: Tensor<B, 4>| {
            let [_, heads, length, head_dim] = tokens.dims();
            if length >= past {
                return tokens.slice([0..batch, 0..heads, length - past..length]);
            }
            let missing = Tensor::zeros([batch, heads, past - length, head_dim], (&tokens.device(), tokens.dtype()));
            Tensor::cat(vec![missing, tokens], 2)
        };
        let y = self.output.forward(merge_heads(outputs));
        (y.reshape([batch, time, width]), WindowState { keys: kept(keys), values: kept(values), first, turns })
    }
}

impl<B: KernelBackend> MixerState<B> for WindowState<B> {
    fn bytes(&self) -> usize {
        2 * 4 * self.keys.dims().iter().product::<usize>() + self.first.len() * size_of::<usize>()
    }

    fn to_record(&self) -> StateRecord {
        StateRecord::new([("first", indices(&self.first)), ("keys", self.keys.to_data()), ("values", self.values.to_data())])
    }

    fn from_record(mut record: StateRecord, device: &B::Device) -> Result<Self, PolicyError> {
        let first = record.take_indices("first")?;
        let (keys, values): (Tensor<B, 4>, Tensor<B, 4>) = (record.take("keys", device)?, record.take("values", device)?);
        let [rows, _, past, _] = keys.dims();
        if keys.dims() != values.dims() || rows != first.len() || first.iter().any(|&first| first > past) {
            let found = format!("keys {:?}, values {:?}, {} rows", keys.dims(), values.dims(), first.len());
            return Err(PolicyError::State(format!("a window whose parts do not fit: {found}")));
        }
        Ok(Self { keys, values, first, turns: None })
    }

    fn detach(self) -> Self {
        Self { keys: self.keys.detach(), values: self.values.detach(), ..self }
    }

    fn to_device(self, device: &B::Device) -> Self {
        Self { keys: self.keys.to_device(device), values: self.values.to_device(device), first: self.first, turns: None }
    }
}
