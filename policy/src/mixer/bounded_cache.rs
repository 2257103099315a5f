//! KV caches of at most `C` entries, for a Transformer that was trained without a bound: which entry is dropped when there is one too many.
//!
//! A token attends over the kept entries and itself; then entries are dropped until `C` are left. So `window:N` is attention over
//! a band of `N + 1` keys.
//!
//! | policy | drops | decided |
//! |---|---|---|
//! | `window:N` | the oldest | for all heads |
//! | `sink:I+N` | the oldest after the first `I` of the episode | for all heads |
//! | `tova:N` | the one with the smallest weight for the present token, averaged over heads; the present token may go itself | for all heads |
//! | `h2o:N` | the one with the smallest sum of weights since it came, never one of the last `N / 2` | for each head |
//!
//! Among equals the oldest is dropped. Tokens are processed one at a time, whatever the chunk, so that every chunking gives the same. This
//! is for acting only: no gradient passes, and the entries are kept and weighed on the host.
//!
//! Sources: Oren et al. 2024, arXiv:2401.06104 (TOVA, and the view of a cache as states); Zhang et al. 2023, arXiv:2306.14048 (H2O; their
//! code sums weights over the batch, here every row has its own); Xiao et al. 2023, arXiv:2309.17453 (sinks).

use crate::{
    error::PolicyError,
    reset::Reset,
    state::{StateRecord, indices},
};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Which entries a KV cache keeps. Written `full`, `window:N`, `sink:I+N`, `h2o:N` or `tova:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum CachePolicy {
    /// All of the episode.
    #[default]
    Full,
    /// The last.
    Window {
        /// Entries.
        capacity: usize,
    },
    /// The first of the episode, and the last.
    Sink {
        /// First entries.
        sinks: usize,
        /// Last entries.
        recent: usize,
    },
    /// Those that were attended to most, and the last half.
    H2o {
        /// Entries.
        capacity: usize,
    },
    /// Those that the present token attends to most.
    Tova {
        /// Entries.
        capacity: usize,
    },
}

impl CachePolicy {
    /// The most entries that can be asked for.
    pub const MOST_ENTRIES: usize = 1 << 24;

    /// Entries that are kept after a token, if there is a bound.
    pub fn capacity(self) -> Option<usize> {
        match self {
            CachePolicy::Full => None,
            CachePolicy::Window { capacity } | CachePolicy::H2o { capacity } | CachePolicy::Tova { capacity } => Some(capacity),
            CachePolicy::Sink { sinks, recent } => Some(sinks + recent),
        }
    }
}

impl fmt::Display for CachePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CachePolicy::Full => write!(f, "full"),
            CachePolicy::Window { capacity } => write!(f, "window:{capacity}"),
            CachePolicy::Sink { sinks, recent } => write!(f, "sink:{sinks}+{recent}"),
            CachePolicy::H2o { capacity } => write!(f, "h2o:{capacity}"),
            CachePolicy::Tova { capacity } => write!(f, "tova:{capacity}"),
        }
    }
}

impl From<CachePolicy> for String {
    fn from(policy: CachePolicy) -> Self {
        policy.to_string()
    }
}

impl TryFrom<String> for CachePolicy {
    type Error = PolicyError;

    fn try_from(text: String) -> Result<Self, PolicyError> {
        text.parse()
    }
}

impl FromStr for CachePolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let wrong = |problem: &str| PolicyError::Cache { text: text.into(), problem: problem.into() };
        let entries = |number: &str| match number.parse::<usize>() {
            Ok(number) if number <= CachePolicy::MOST_ENTRIES => Ok(number),
            _ => Err(wrong("expected whole numbers of entries, up to 2^24")),
        };
        let at_least = |number: usize, least: usize| {
            if number >= least { Ok(number) } else { Err(wrong(&format!("expected at least {least} entries"))) }
        };
        match text.split_once(':') {
            None if text == "full" => Ok(CachePolicy::Full),
            Some(("window", number)) => Ok(CachePolicy::Window { capacity: at_least(entries(number)?, 1)? }),
            Some(("tova", number)) => Ok(CachePolicy::Tova { capacity: at_least(entries(number)?, 1)? }),
            // One to be heavy and one to be recent.
            Some(("h2o", number)) => Ok(CachePolicy::H2o { capacity: at_least(entries(number)?, 2)? }),
            Some(("sink", numbers)) => {
                let (sinks, recent) = numbers.split_once('+').ok_or_else(|| wrong("expected sink:I+N, for example sink:4+60"))?;
                let (sinks, recent) = (entries(sinks)?, entries(recent)?);
                if recent == 0 {
                    return Err(wrong("a cache with room for its sinks alone; expected at least one recent entry after the +"));
                }
                Ok(CachePolicy::Sink { sinks, recent })
            }
            _ => Err(wrong("expected full, window:N, sink:I+N, h2o:N or tova:N")),
        }
    }
}

/// What one head of one row keeps, in the order of time.
#[derive(Clone, Debug, Default)]
struct Head {
    /// `[entries, head_dim]`
    keys: Vec<f32>,
    /// `[entries, head_dim]`
    values: Vec<f32>,
    /// Weights that each entry has received since it came; kept for H2O alone.
    received: Vec<f32>,
}

impl Head {
    /// Attends over all entries: weights, and the output into `output`.
    fn attend(&self, query: &[f32], output: &mut [f32]) -> Vec<f32> {
        let head_dim = query.len();
        let scale = 1.0 / (head_dim as f32).sqrt();
        let score = |key: &[f32]| query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>() * scale;
        let mut weights: Vec<f32> = self.keys.chunks_exact(head_dim).map(score).collect();
        let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        weights.iter_mut().for_each(|weight| *weight = (*weight - largest).exp());
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        output.fill(0.0);
        for (weight, value) in weights.iter().zip(self.values.chunks_exact(head_dim)) {
            output.iter_mut().zip(value).for_each(|(output, value)| *output += weight * value);
        }
        weights
    }

    fn drop_entry(&mut self, entry: usize, head_dim: usize) {
        self.keys.drain(entry * head_dim..(entry + 1) * head_dim);
        self.values.drain(entry * head_dim..(entry + 1) * head_dim);
        if !self.received.is_empty() {
            self.received.remove(entry);
        }
    }
}

/// The first of the smallest.
fn smallest(weights: &[f32]) -> usize {
    (1..weights.len()).fold(0, |best, i| if weights[i] < weights[best] { i } else { best })
}

/// The bounded caches of a batch.
#[derive(Clone, Debug)]
pub(crate) struct BoundedCache {
    policy: CachePolicy,
    heads: usize,
    head_dim: usize,
    /// `[batch, heads]`
    caches: Vec<Head>,
}

impl BoundedCache {
    pub fn new(policy: CachePolicy, batch: usize, heads: usize, head_dim: usize) -> Self {
        Self { policy, heads, head_dim, caches: vec![Head::default(); batch * heads] }
    }

    pub fn bytes(&self) -> usize {
        self.caches.iter().map(|head| 4 * (head.keys.len() + head.values.len() + head.received.len())).sum()
    }

    /// Attends with queries, keys and values `[batch, heads, time, head_dim]`, token by token.
    pub fn attend<B: Backend>(
        &mut self,
        queries: Tensor<B, 4>,
        keys: Tensor<B, 4>,
        values: Tensor<B, 4>,
        reset: &Reset<B>,
    ) -> Tensor<B, 4> {
        let [batch, heads, time, head_dim] = queries.dims();
        let (device, dtype) = (queries.device(), queries.dtype());
        let [queries, keys, values] =
            [queries, keys, values].map(|tensor| tensor.into_data().convert::<f32>().to_vec::<f32>().expect("floats"));
        let mut outputs = vec![0.0; queries.len()];
        for row in 0..batch {
            for token in 0..time {
                let caches = &mut self.caches[row * heads..(row + 1) * heads];
                if reset.at(row, token) {
                    caches.fill(Head::default());
                }
                let mut weights = Vec::with_capacity(heads);
                for (head, cache) in caches.iter_mut().enumerate() {
                    let start = ((row * heads + head) * time + token) * head_dim;
                    let here = start..start + head_dim;
                    cache.keys.extend(&keys[here.clone()]);
                    cache.values.extend(&values[here.clone()]);
                    weights.push(cache.attend(&queries[here.clone()], &mut outputs[here]));
                }
                drop_entries(self.policy, caches, &weights, head_dim);
            }
        }
        Tensor::from_data(TensorData::new(outputs, [batch, heads, time, head_dim]), (&device, dtype))
    }

    pub fn write(&self, record: &mut StateRecord) {
        let lengths: Vec<usize> = self.caches.iter().map(|head| head.keys.len()).collect();
        let join = |part: fn(&Head) -> &Vec<f32>| {
            TensorData::from(&self.caches.iter().flat_map(part).copied().collect::<Vec<f32>>()[..])
        };
        let policy: Vec<usize> = self.policy.to_string().bytes().map(usize::from).collect();
        record.insert("bounded_policy", indices(&policy));
        record.insert("bounded_shape", indices(&[self.heads, self.head_dim]));
        record.insert("bounded_lengths", indices(&lengths));
        record.insert("bounded_keys", join(|head| &head.keys));
        record.insert("bounded_values", join(|head| &head.values));
        record.insert("bounded_received", join(|head| &head.received));
    }

    /// What [`BoundedCache::write`] wrote.
    pub fn read(record: &mut StateRecord) -> Result<Self, PolicyError> {
        let policy = record.take_indices("bounded_policy")?;
        let policy: CachePolicy = policy.iter().map(|&letter| char::from(letter as u8)).collect::<String>().parse()?;
        let shape = record.take_indices("bounded_shape")?;
        let lengths = record.take_indices("bounded_lengths")?;
        let mut parts = [vec![], vec![], vec![]];
        for (part, name) in parts.iter_mut().zip(["bounded_keys", "bounded_values", "bounded_received"]) {
            *part = record.take_numbers(name)?;
        }
        let wrong = || PolicyError::State("a bounded KV cache whose parts do not fit".into());
        let (heads, head_dim) = match shape[..] {
            [heads, head_dim] if heads > 0 && head_dim > 0 => (heads, head_dim),
            _ => return Err(wrong()),
        };
        let mut take = |part: usize, count: usize| {
            if parts[part].len() < count { Err(wrong()) } else { Ok(parts[part].drain(..count).collect::<Vec<f32>>()) }
        };
        let is_h2o = matches!(policy, CachePolicy::H2o { .. });
        let mut caches = Vec::with_capacity(lengths.len());
        for length in lengths {
            let received = if is_h2o { length / head_dim } else { 0 };
            caches.push(Head { keys: take(0, length)?, values: take(1, length)?, received: take(2, received)? });
        }
        if caches.len() % heads != 0 || parts.iter().any(|part| !part.is_empty()) {
            return Err(wrong());
        }
        Ok(Self { policy, heads, head_dim, caches })
    }
}

/// Drops what is over the bound after a token whose weights over the entries are given, a list a head.
fn drop_entries(policy: CachePolicy, caches: &mut [Head], weights: &[Vec<f32>], head_dim: usize) {
    if let CachePolicy::H2o { capacity } = policy {
        for (cache, weights) in caches.iter_mut().zip(weights) {
            cache.received.push(0.0);
            cache.received.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
            if weights.len() > capacity {
                let candidates = weights.len() - (capacity / 2).max(1);
                cache.drop_entry(smallest(&cache.received[..candidates]), head_dim);
            }
        }
        return;
    }
    let entries = weights[0].len();
    if policy.capacity().is_none_or(|capacity| entries <= capacity) {
        return;
    }
    let entry = match policy {
        CachePolicy::Sink { sinks, .. } => sinks,
        CachePolicy::Tova { .. } => {
            let mean: Vec<f32> = (0..entries).map(|entry| weights.iter().map(|weights| weights[entry]).sum()).collect();
            smallest(&mean)
        }
        _ => 0,
    };
    caches.iter_mut().for_each(|cache| cache.drop_entry(entry, head_dim));
}

#[cfg(test)]
#[allow(clippy::excessive_precision, reason = "numbers as worked out in double precision")]
mod tests {
    use super::*;
    use burn::backend::Flex;

    const KEYS: [f32; 6] = [2.0, 0.0, 1.0, -1.0, 3.0, 0.5];

    /// Outputs, and the values that are left, of the worked example: one head of width 1, queries of 1, values 1 to 6.
    fn run(policy: &str) -> (Vec<f32>, Vec<f32>) {
        let mut cache = BoundedCache::new(policy.parse().unwrap(), 1, 1, 1);
        let tensor = |numbers: &[f32]| Tensor::<Flex, 1>::from_data(numbers, &Default::default()).reshape([1, 1, 6, 1]);
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let reset = Reset::none(1, 6, &Default::default());
        let outputs = cache.attend(tensor(&[1.0; 6]), tensor(&KEYS), tensor(&values), &reset);
        (outputs.into_data().to_vec().unwrap(), cache.caches[0].values.clone())
    }

    #[test]
    fn worked_example() {
        let first = [1.0, 1.119_202_9, 1.579_487_5, 1.657_085_8];
        for (policy, last, kept) in [
            ("window:3", [4.635_754, 4.832_568_4], vec![4.0, 5.0, 6.0]),
            ("sink:1+2", [3.842_938_7, 4.041_226_2], vec![1.0, 5.0, 6.0]),
            ("tova:3", [3.782_004_3, 3.952_814_2], vec![1.0, 3.0, 5.0]),
            ("h2o:3", [3.842_938_7, 3.952_814_2], vec![1.0, 5.0, 6.0]),
            ("window:6", [3.784_545_3, 3.894_534], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ] {
            let (outputs, left) = run(policy);
            for (found, expected) in outputs.iter().zip(first.iter().chain(&last)) {
                assert!((found - expected).abs() < 1e-6, "{policy}: {found} is not {expected}");
            }
            assert_eq!(left, kept, "{policy}");
        }
    }

    #[test]
    fn tova_averages_over_heads() {
        let heads = |values: Vec<f32>| Head { keys: vec![0.0; 4], values, received: vec![] };
        let mut caches = [heads(vec![1.0, 2.0, 3.0, 4.0]), heads(vec![5.0, 6.0, 7.0, 8.0])];
        let weights = [vec![0.1, 0.2, 0.3, 0.4], vec![0.4, 0.05, 0.25, 0.3]];
        drop_entries(CachePolicy::Tova { capacity: 3 }, &mut caches, &weights, 1);
        assert_eq!(caches[0].values, [1.0, 3.0, 4.0]);
        assert_eq!(caches[1].values, [5.0, 7.0, 8.0]);
    }

    #[test]
    fn policies_are_read_as_they_are_written() {
        for text in ["full", "window:1", "sink:0+1", "sink:4+60", "h2o:2", "tova:64"] {
            assert_eq!(text.parse::<CachePolicy>().unwrap().to_string(), text);
        }
        for (text, word) in [
            ("windw:3", "sink:I+N"),
            ("window", "expected full"),
            ("window:0", "at least 1"),
            ("window:-1", "whole numbers"),
            ("h2o:1", "at least 2"),
            ("sink:4", "sink:4+60"),
            ("sink:4+0", "room for its sinks"),
        ] {
            let error = text.parse::<CachePolicy>().unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(text), "{error}");
        }
    }
}
