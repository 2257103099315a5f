//! The Transformer's causal self-attention, with its KV cache as the state.
//!
//! State: keys and values of every token of the episode, `8 width` bytes a token, sequence and layer, allocated for the first
//! chunk exactly and then in multiples of [`GROWTH`] tokens. Cached stepping equals one pass over the whole episode; it does not
//! equal re-encoding the last `K` timesteps (the Decision Transformer's evaluation), where deeper layers see less of the past.
//!
//! With `rotary = true` queries and keys are turned by their position in the episode, which the cache tells without holding it: keys are
//! held as they are turned.
//!
//! A trained Transformer can also act with a cache of bounded size ([`CachePolicy`]): another function, of the same weights.
//!
//! Source: Vaswani et al. 2017, arXiv:1706.03762; block and initialization as in GPT-2. Rotary positions: see `rotary.rs`.

use super::bounded_cache::{BoundedCache, CachePolicy};
use super::common::{merge_heads, split_heads};
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::error::PolicyError;
use crate::init::Init;
use crate::layers::Dense;
use crate::reset::Reset;
use crate::rotary::Turns;
use crate::state::{MixerState, StateRecord, indices};
use aaren_kernels::{Dropout, KernelBackend, causal_attention, write_tokens};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// The cache grows by this many tokens at a time, so that appending copies each token seldom.
pub const GROWTH: usize = 64;

mixer_options! {
    /// `policy.options.transformer`
    "transformer" TransformerOptions {
        /// Whether queries and keys are turned by their positions (RoPE). Default (null): as published, so in `striped-hyena` and not
        /// elsewhere.
        rotary: Option<bool> = None;
    }
}

/// The module: four dense layers.
#[derive(Module, Debug)]
pub struct Transformer<B: Backend> {
    query: Dense<B>,
    key: Dense<B>,
    value: Dense<B>,
    output: Dense<B>,
    heads: usize,
    rotary: bool,
}

/// Keys and values of the tokens so far. Rows of a batch share the time axis; each remembers where its episode begins.
#[derive(Clone, Debug)]
pub struct KeyValueCache<B: Backend> {
    /// Both `[batch, heads, capacity, head_dim]`; absent before the first token.
    tokens: Option<(Tensor<B, 4>, Tensor<B, 4>)>,
    /// Tokens held, at most the capacity; in a cache of bounded size, tokens since the first of the oldest episode.
    length: usize,
    /// For each row, the first token of its episode.
    first: Vec<usize>,
    /// In place of the tokens: the entries of a cache of bounded size.
    bounded: Option<BoundedCache>,
}

impl<B: Backend> Transformer<B> {
    /// The state of sequences that have not begun, in a cache that keeps at most as many entries as `cache` says.
    fn cache(&self, cache: CachePolicy, batch: usize) -> KeyValueCache<B> {
        let is_bounded = cache != CachePolicy::Full;
        let bounded = is_bounded.then(|| BoundedCache::new(cache, batch, self.heads, self.head_dim()));
        KeyValueCache { tokens: None, length: 0, first: vec![0; batch], bounded }
    }

    fn head_dim(&self) -> usize {
        self.query.bias.dims()[0] / self.heads
    }
}

impl<B: KernelBackend> KeyValueCache<B> {
    /// Forgets tokens that no row will look at again, given the resets of the tokens to come.
    fn drop_dead(&mut self, reset: &Reset<B>) {
        for (row, first) in self.first.iter_mut().enumerate() {
            if reset.at(row, 0) {
                *first = self.length;
            }
        }
        let dead = self.first.iter().copied().min().unwrap_or(0);
        if dead == self.length {
            self.tokens = None;
        } else if dead >= GROWTH {
            let keep = |tensor: Tensor<B, 4>| {
                let [batch, heads, _, head_dim] = tensor.dims();
                tensor.slice([0..batch, 0..heads, dead..self.length, 0..head_dim])
            };
            self.tokens = self.tokens.take().map(|(keys, values)| (keep(keys), keep(values)));
        } else {
            return;
        }
        self.length -= dead;
        self.first.iter_mut().for_each(|first| *first -= dead);
    }

    /// Appends the tokens of a chunk and returns all keys and all values, `[batch, heads, length, head_dim]`.
    fn append(&mut self, keys: Tensor<B, 4>, values: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>) {
        let [batch, heads, time, head_dim] = keys.dims();
        let length = self.length + time;
        // The first chunk is held as it is: in training there is no second one, and nothing is copied.
        let Some((held_keys, held_values)) = self.tokens.take() else {
            self.length = length;
            self.tokens = Some((keys.clone(), values.clone()));
            return (keys, values);
        };
        let append = |held: Tensor<B, 4>, new: Tensor<B, 4>| {
            let capacity = held.dims()[2];
            let held = if length <= capacity {
                held
            } else {
                let larger =
                    Tensor::zeros([batch, heads, length.next_multiple_of(GROWTH), head_dim], (&held.device(), held.dtype()));
                write_tokens(larger, held, 0)
            };
            write_tokens(held, new, self.length)
        };
        let (keys, values) = (append(held_keys, keys), append(held_values, values));
        self.length = length;
        let seen = |tensor: &Tensor<B, 4>| tensor.clone().slice([0..batch, 0..heads, 0..length, 0..head_dim]);
        let all = (seen(&keys), seen(&values));
        self.tokens = Some((keys, values));
        all
    }
}

impl<B: KernelBackend> Mixer<B> for Transformer<B> {
    type State = KeyValueCache<B>;
    type Options = TransformerOptions;

    fn new(sizes: Sizes, options: &TransformerOptions, init: &mut Init, device: &B::Device) -> Self {
        let width = sizes.width;
        let mut dense = || Dense::in_mixer(width, width, init, device);
        let (query, key, value, output) = (dense(), dense(), dense(), dense());
        Self { query, key, value, output, heads: sizes.heads, rotary: options.rotary.unwrap_or(false) }
    }

    fn initial_state(&self, batch: usize, _device: &B::Device) -> KeyValueCache<B> {
        self.cache(CachePolicy::Full, batch)
    }

    fn bounded_state(&self, cache: CachePolicy, batch: usize) -> Option<KeyValueCache<B>> {
        Some(self.cache(cache, batch))
    }

    fn forward(
        &self,
        x: Tensor<B, 3>,
        reset: &Reset<B>,
        mut cache: Self::State,
        dropout: Dropout,
    ) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let x = x.reshape([batch * time, width]);
        let [queries, keys, values] =
            [&self.query, &self.key, &self.value].map(|layer| split_heads(layer.forward(x.clone()), batch, self.heads));
        if cache.bounded.is_none() {
            cache.drop_dead(reset);
        }
        // The first key that each query sees; episodes that begin inside the chunk are noted.
        let first_keys = reset.firsts(cache.length, &mut cache.first);
        let (queries, keys) = if self.rotary {
            let places = first_keys.iter().enumerate();
            let positions: Vec<usize> = places.map(|(i, &first)| cache.length + i % time - first as usize).collect();
            let turns = Turns::new(&positions, time, &queries);
            (turns.of(queries), turns.of(keys))
        } else {
            (queries, keys)
        };
        if let Some(bounded) = &mut cache.bounded {
            let y = self.output.forward(merge_heads(bounded.attend(queries, keys, values, reset)));
            let gone = cache.first.iter().copied().min().unwrap_or(0);
            cache.length = cache.length + time - gone;
            cache.first.iter_mut().for_each(|first| *first -= gone);
            return (y.reshape([batch, time, width]), cache);
        }
        let first_keys = Tensor::from_data(TensorData::new(first_keys, [batch, time]), &queries.device());
        let (keys, values) = cache.append(keys, values);
        let outputs = causal_attention(queries, keys, values, first_keys, dropout);
        let y = self.output.forward(merge_heads(outputs));
        (y.reshape([batch, time, width]), cache)
    }
}

impl<B: KernelBackend> MixerState<B> for KeyValueCache<B> {
    fn bytes(&self) -> usize {
        if let Some(bounded) = &self.bounded {
            return bounded.bytes();
        }
        let tokens = self.tokens.as_ref().map_or(0, |(keys, _)| 2 * 4 * keys.dims().iter().product::<usize>());
        tokens + self.first.len() * size_of::<usize>()
    }

    fn to_record(&self) -> StateRecord {
        let mut record = StateRecord::new([("first", indices(&self.first))]);
        if let Some(bounded) = &self.bounded {
            bounded.write(&mut record);
            record.insert("bounded_length", indices(&[self.length]));
        }
        if let Some((keys, values)) = &self.tokens {
            let [batch, heads, _, head_dim] = keys.dims();
            let held =
                |tensor: &Tensor<B, 4>| tensor.clone().slice([0..batch, 0..heads, 0..self.length, 0..head_dim]).into_data();
            record.insert("keys", held(keys));
            record.insert("values", held(values));
        }
        record
    }

    fn from_record(mut record: StateRecord, device: &B::Device) -> Result<Self, PolicyError> {
        let first: Vec<usize> = record.take_indices("first")?;
        let bounded = if record.has("bounded_policy") { Some(BoundedCache::read(&mut record)?) } else { None };
        if !record.has("keys") {
            // Only a bounded cache counts tokens that it does not hold, and only since there are rotary positions.
            let length = if record.has("bounded_length") { record.take_indices("bounded_length")? } else { vec![0] };
            if length.len() != 1 || first.iter().any(|&first| first > length[0]) {
                return Err(PolicyError::State("a KV cache without keys that holds tokens".into()));
            }
            return Ok(Self { tokens: None, length: length[0], first, bounded });
        }
        let (keys, values): (Tensor<B, 4>, Tensor<B, 4>) = (record.take("keys", device)?, record.take("values", device)?);
        let length = keys.dims()[2];
        if keys.dims() != values.dims() || keys.dims()[0] != first.len() || first.iter().any(|&first| first > length) {
            let found = format!("keys {:?}, values {:?}, {} rows", keys.dims(), values.dims(), first.len());
            return Err(PolicyError::State(format!("a KV cache whose parts do not fit: {found}")));
        }
        Ok(Self { tokens: Some((keys, values)), length, first, bounded: None })
    }

    fn detach(mut self) -> Self {
        self.tokens = self.tokens.map(|(keys, values)| (keys.detach(), values.detach()));
        self
    }

    fn to_device(mut self, device: &B::Device) -> Self {
        self.tokens = self.tokens.map(|(keys, values)| (keys.to_device(device), values.to_device(device)));
        self
    }
}
