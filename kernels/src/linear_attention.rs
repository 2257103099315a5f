//! Attention whose kernel is a product of features, and so a recurrence: sums of keys' features times values.
//!
//! ```text
//! S_t = S_{t-1} + f(k_t) [v_t, 1]        [n_t, d_t] = f(q_t) S_t        o_t = n_t / d_t
//! ```
//!
//! Evaluated in chunks of tokens: inside a chunk the masked matrix of scores `f(q) . f(k)`, and `f(q) S` for what came before. These
//! are matrix products, which every backend is quick at, so plain tensor ops do, and Burn derives the gradient.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::{FeatureMap, linear_attention};
//!
//! /// One feature, 1 for every query and key: a sum over the episode so far.
//! struct Same;
//!
//! impl FeatureMap<Flex> for Same {
//!     fn queries(&self, queries: Tensor<Flex, 4>) -> Tensor<Flex, 4> {
//!         queries.sum_dim(3).ones_like()
//!     }
//!
//!     fn keys(&self, keys: Tensor<Flex, 4>) -> Tensor<Flex, 4> {
//!         keys.sum_dim(3).ones_like()
//!     }
//! }
//!
//! let values = Tensor::<Flex, 1>::from_floats([1.0, 3.0, 5.0], &Default::default()).reshape([1, 1, 3, 1]);
//! let empty = Tensor::zeros([1, 1, 1, 2], &values.device());
//! let reset = [false, false, true];
//! let (sums, _) = linear_attention(&Same, values.clone(), values.clone(), values, &reset, empty);
//! assert_eq!(sums.into_data().to_vec::<f32>().unwrap(), [1.0, 1.0, 4.0, 2.0, 5.0, 1.0]); // sums of values and of weights
//! ```
//!
//! Source: Katharopoulos et al. 2020, arXiv:2006.16236; the chunks are those of Hua et al. 2022, arXiv:2202.10447.

use burn::tensor::{Bool, Tensor, TensorData, backend::Backend};

/// Tokens of a chunk, whose scores are computed as one matrix.
const CHUNK: usize = 64;

/// Features whose products are the weights of attention.
pub trait FeatureMap<B: Backend> {
    /// `[batch, heads, time, head_dim]` to `[batch, heads, time, features]`.
    fn queries(&self, queries: Tensor<B, 4>) -> Tensor<B, 4>;

    /// The same for keys.
    fn keys(&self, keys: Tensor<B, 4>) -> Tensor<B, 4>;

    /// Products of all queries' features with all keys', where that is cheaper than the features: `[batch, heads, time, time]`.
    fn scores(&self, queries: Tensor<B, 4>, keys: Tensor<B, 4>) -> Tensor<B, 4> {
        self.queries(queries).matmul(self.keys(keys).swap_dims(2, 3))
    }
}

/// Causal attention with weights `f(q) . f(k)`, normalized, cut at episode starts.
///
/// # Shapes
/// - `queries`, `keys`: `[batch, heads, time, key_dim]`
/// - `values`: `[batch, heads, time, head_dim]`
/// - `reset`: `[batch, time]` row-major, true on the first token of an episode
/// - `carry`: sums over what came before, `[batch, heads, features, head_dim + 1]`
/// - returns: `[batch, heads, time, head_dim + 1]`, weighted sums of values and last the sum of the weights; and the next carry
/// # Panics
/// If the shapes disagree.
pub fn linear_attention<B: Backend>(
    map: &impl FeatureMap<B>,
    queries: Tensor<B, 4>,
    keys: Tensor<B, 4>,
    values: Tensor<B, 4>,
    reset: &[bool],
    carry: Tensor<B, 4>,
) -> (Tensor<B, 4>, Tensor<B, 4>) {
    let [batch, heads, time, _] = values.dims();
    assert_eq!(reset.len(), batch * time, "linear_attention: reset flags do not fit values");
    let (device, dtype) = (values.device(), values.dtype());
    let values = Tensor::cat(vec![values, Tensor::ones([batch, heads, time, 1], (&device, dtype))], 3);
    let mut carry = if carry.dtype() == dtype { carry } else { carry.cast(dtype) };
    let mut outputs = Vec::with_capacity(time.div_ceil(CHUNK));
    for start in (0..time).step_by(CHUNK) {
        let tokens = start..(start + CHUNK).min(time);
        let length = tokens.len();
        let part = |tensor: &Tensor<B, 4>| {
            if length == time { tensor.clone() } else { tensor.clone().slice([0..batch, 0..heads, tokens.clone()]) }
        };
        let (queries, keys, values) = (part(&queries), part(&keys), part(&values));
        let episodes = Episodes::new(reset, batch, time, tokens);

        let mut sums = match length {
            1 => None, // written first and read then: one product
            _ => {
                let scores = map.scores(queries.clone(), keys.clone());
                let hidden = Tensor::<B, 4, Bool>::from_data(episodes.hidden(heads), &device);
                Some(scores.mask_fill(hidden, 0.0).matmul(values.clone()))
            }
        };
        let past = episodes.cut_from_past();
        if past != Past::Cut && sums.is_some() {
            let mut read = map.queries(queries.clone()).matmul(carry.clone());
            if past == Past::CutInPart {
                let shape = read.dims();
                let cut = Tensor::<B, 4, Bool>::from_data(episodes.not_first(), &device).expand(shape);
                read = read.mask_fill(cut, 0.0);
            }
            sums = sums.map(|sums| sums + read);
        }

        let mut features = map.keys(keys);
        if past != Past::Whole {
            let (shape, ended) = (features.dims(), Tensor::<B, 4, Bool>::from_data(episodes.ended(), &device));
            features = features.mask_fill(ended.expand(shape), 0.0);
            let (shape, gone) = (carry.dims(), Tensor::<B, 4, Bool>::from_data(episodes.past_is_gone(), &device));
            carry = carry.mask_fill(gone.expand(shape), 0.0);
        }
        carry = carry + features.swap_dims(2, 3).matmul(values);
        outputs.push(sums.unwrap_or_else(|| map.queries(queries).matmul(carry.clone())));
    }
    let outputs = if outputs.len() == 1 { outputs.remove(0) } else { Tensor::cat(outputs, 2) };
    (outputs, carry)
}

/// How much of a chunk sees what came before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Past {
    /// No token begins an episode.
    Whole,
    /// Some do.
    CutInPart,
    /// Every row's first token does.
    Cut,
}

/// Which episode each token of a chunk is of, counted from 0, the one that was going on before.
struct Episodes {
    of_tokens: Vec<usize>,
    batch: usize,
    length: usize,
}

impl Episodes {
    fn new(reset: &[bool], batch: usize, time: usize, tokens: std::ops::Range<usize>) -> Self {
        let mut of_tokens = Vec::with_capacity(batch * tokens.len());
        for row in 0..batch {
            let mut episode = 0;
            for token in tokens.clone() {
                episode += usize::from(reset[row * time + token]);
                of_tokens.push(episode);
            }
        }
        Self { of_tokens, batch, length: tokens.len() }
    }

    fn rows(&self) -> impl Iterator<Item = &[usize]> {
        self.of_tokens.chunks_exact(self.length)
    }

    fn cut_from_past(&self) -> Past {
        if self.of_tokens.iter().all(|&episode| episode == 0) {
            Past::Whole
        } else if self.rows().all(|row| row[0] > 0) {
            Past::Cut
        } else {
            Past::CutInPart
        }
    }

    /// `[batch, heads, length, length]`: keys that a query must not see. The same for all heads, and written out for each: a mask that is
    /// stretched by its strides is read number by number.
    fn hidden(&self, heads: usize) -> TensorData {
        let size = self.length * self.length;
        let mut hidden = Vec::with_capacity(self.batch * heads * size);
        for row in self.rows() {
            for query in 0..self.length {
                hidden.extend((0..self.length).map(|key| key > query || row[key] != row[query]));
            }
            for _ in 1..heads {
                hidden.extend_from_within(hidden.len() - size..);
            }
        }
        TensorData::new(hidden, [self.batch, heads, self.length, self.length])
    }

    /// Tokens that do not see what came before.
    fn not_first(&self) -> TensorData {
        let flags: Vec<bool> = self.of_tokens.iter().map(|&episode| episode > 0).collect();
        TensorData::new(flags, [self.batch, 1, self.length, 1])
    }

    /// Tokens of episodes that have ended by the last token.
    fn ended(&self) -> TensorData {
        let flags: Vec<bool> = self.rows().flat_map(|row| row.iter().map(|&episode| episode != row[self.length - 1])).collect();
        TensorData::new(flags, [self.batch, 1, self.length, 1])
    }

    /// Rows of whose past nothing is left.
    fn past_is_gone(&self) -> TensorData {
        let flags: Vec<bool> = self.rows().map(|row| row[self.length - 1] > 0).collect();
        TensorData::new(flags, [self.batch, 1, 1, 1])
    }
}
