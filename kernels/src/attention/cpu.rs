//! Causal attention on the CPU: tiles of queries against tiles of keys, so that no more than one tile of the weights exists.
//!
//! Forward keeps a running maximum and sum per query and rescales what it has summed when the maximum grows. Backward makes the
//! weights of a tile again from the log-sums:
//!
//! ```text
//! P = exp(q k^T / sqrt(d) - L)     dP = dO v^T     dS = P (dP - dO . O)
//! dv = P^T dO        dq = dS k / sqrt(d)        dk = dS^T q / sqrt(d)
//! ```
//!
//! Tiles that no query of theirs sees are skipped: those after the diagonal and those of earlier episodes. A few queries (acting)
//! walk the keys directly. Threads: query tiles in the forward pass, (batch, head) pairs in the backward pass, where the keys'
//! gradients sum over all queries.

use super::inputs::{AttentionGradients, AttentionInputs, AttentionOutputs, AttentionViews};
use super::ops::AttentionOps;
use super::reference;
use crate::cpu::{
    Matrix, Real, View, by_float, dot, for_chunk_pairs, indices, made_in_pairs, product, serves, tensor, vectorize, view,
    viewable,
};
use crate::dropout::{Dropout, column_hash};
use burn::tensor::{DType, Device, TensorMetadata, ops::FloatTensor};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

/// Queries in a tile.
const QUERIES: usize = 64;
/// Keys in a tile: with `QUERIES` and a head of 128, what a tile needs fits a core's second-level cache.
const KEYS: usize = 256;
/// Up to this many queries, keys are walked directly in place of packed matrix products.
const FEW_QUERIES: usize = 6;
/// Below this many multiply-adds one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 20;

impl AttentionOps for Flex {
    fn has_backward(_device: &Device<Self>, _head_dim: usize, dtype: DType) -> bool {
        serves(dtype)
    }

    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        by_float!(inputs.values.dtype(), R => causal_attention::<R>(inputs), _ => reference::causal_attention(inputs))
    }

    fn causal_attention_backward(
        inputs: AttentionInputs<Self>,
        outputs: AttentionOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        by_float!(
            inputs.values.dtype(),
            R => causal_attention_backward::<R>(inputs, outputs, grad),
            _ => reference::causal_attention_backward(inputs, grad),
        )
    }
}

/// The inputs of one call as typed views.
struct Inputs<'a, R> {
    queries: View<'a, R, 4>,
    keys: View<'a, R, 4>,
    values: View<'a, R, 4>,
    first_key: &'a [usize],
    dropout: Dropout,
    scale: R,
}

impl<'a, R: Real> Inputs<'a, R> {
    fn new(inputs: &'a AttentionInputs<Flex>, first_key: &'a [usize]) -> Self {
        let AttentionViews { queries, keys, values } = inputs.views();
        let head_dim = R::from(queries.shape[3]).expect("a width is a number");
        Self { queries, keys, values, first_key, dropout: inputs.dropout, scale: R::one() / head_dim.sqrt() }
    }

    /// The run of keys that query `i` of batch row `b` sees.
    #[inline(always)]
    fn visible(&self, b: usize, i: usize) -> std::ops::Range<usize> {
        let (query_time, key_time) = (self.queries.shape[2], self.keys.shape[2]);
        self.first_key[b * query_time + i]..key_time - query_time + i + 1
    }

    /// The keys that any of some queries sees: first keys never decrease and own keys grow.
    fn visible_to_any(&self, b: usize, queries: std::ops::Range<usize>) -> std::ops::Range<usize> {
        self.visible(b, queries.start).start..self.visible(b, queries.end - 1).end
    }

    /// Row of the dropout mask that belongs to a query.
    fn dropout_row(&self, b: usize, h: usize, i: usize) -> u64 {
        let [_, heads, query_time, _] = self.queries.shape;
        ((b * heads + h) * query_time + i) as u64
    }
}

/// First keys as indices, none after its query's own key.
fn first_keys(first_key: &FlexTensor, query_time: usize, key_time: usize) -> Vec<usize> {
    let own = |position: usize| key_time - query_time + position % query_time;
    indices(first_key).iter().enumerate().map(|(position, &first)| (first.max(0) as usize).min(own(position))).collect()
}

fn causal_attention<R: Real>(inputs: AttentionInputs<Flex>) -> AttentionOutputs<Flex> {
    let inputs = inputs.viewable();
    let [batch, heads, query_time, head_dim] = inputs.queries.shape().dims();
    let key_time = inputs.keys.shape()[2];
    let first_key = first_keys(&inputs.first_key, query_time, key_time);
    let inputs = Inputs::<R>::new(&inputs, &first_key);
    let is_sequential = batch * heads * query_time * key_time * head_dim < SEQUENTIAL_BELOW;
    let head = |row: usize, outputs: &mut [R], log_sums: &mut [R]| {
        let (b, h) = (row / heads, row % heads);
        if query_time <= FEW_QUERIES {
            return vectorize(
                #[inline(always)]
                || few_queries(&inputs, b, h, outputs, log_sums),
            );
        }
        for_chunk_pairs([outputs, log_sums], [QUERIES * head_dim, QUERIES], is_sequential, |tile, outputs, log_sums| {
            forward_tile(&inputs, b, h, tile * QUERIES, outputs, log_sums);
        });
    };
    let lengths = [query_time * head_dim, query_time];
    let (outputs, log_sums) = made_in_pairs(lengths.map(|length| batch * heads * length), lengths, is_sequential, head);
    AttentionOutputs {
        outputs: tensor(outputs, [batch, heads, query_time, head_dim]),
        log_sums: tensor(log_sums, [batch, heads, query_time]),
    }
}

/// All queries of one head, key by key, so that every key and value is read once.
#[inline(always)]
fn few_queries<R: Real>(inputs: &Inputs<R>, b: usize, h: usize, outputs: &mut [R], log_sums: &mut [R]) {
    let [_, _, query_time, head_dim] = inputs.queries.shape;
    let all = inputs.visible_to_any(b, 0..query_time);
    let mut scores = vec![R::zero(); query_time * all.len()];
    let key = |column: usize| inputs.keys.row([b, h, all.start + column, 0], head_dim);
    let query = |i: usize| inputs.queries.row([b, h, i, 0], head_dim);
    let whole = all.len() - all.len() % 4;
    for column in (0..whole).step_by(4) {
        let keys = [0, 1, 2, 3].map(|i| key(column + i));
        for i in 0..query_time {
            let products = R::dots(query(i), keys);
            scores[i * all.len() + column..][..4].copy_from_slice(&products);
        }
    }
    for column in whole..all.len() {
        for i in 0..query_time {
            scores[i * all.len() + column] = dot(query(i), key(column));
        }
    }
    for (i, scores) in scores.chunks_exact_mut(all.len()).enumerate() {
        let seen = clip(inputs.visible(b, i), all.start, all.len());
        scores[..seen.start].fill(R::neg_infinity());
        scores[seen.end..].fill(R::neg_infinity());
        scores[seen].iter_mut().for_each(|score| *score *= inputs.scale);
        let max = scores.iter().fold(R::neg_infinity(), |max, &score| if score > max { score } else { max });
        // Two loops: the sum has an order, and would keep the exponentials from vectorizing.
        scores.iter_mut().for_each(|score| *score = (*score - max).exp_of_negative());
        let sum: R = scores.iter().copied().sum();
        let inverse = R::one() / sum;
        scores.iter_mut().for_each(|weight| *weight *= inverse);
        log_sums[i] = max + sum.ln();
        if inputs.dropout.is_on() {
            mask_row(inputs.dropout, inputs.dropout_row(b, h, i), all.start, scores);
        }
    }
    // Four values at a time: the outputs are loaded and stored a quarter as often.
    for column in (0..whole).step_by(4) {
        let [v0, v1, v2, v3] = [0, 1, 2, 3].map(|i| inputs.values.row([b, h, all.start + column + i, 0], head_dim));
        for (i, output) in outputs.chunks_exact_mut(head_dim).enumerate() {
            let weights = &scores[i * all.len() + column..][..4];
            for ((((output, &v0), &v1), &v2), &v3) in output.iter_mut().zip(v0).zip(v1).zip(v2).zip(v3) {
                *output = v3.mul_add(weights[3], v2.mul_add(weights[2], v1.mul_add(weights[1], v0.mul_add(weights[0], *output))));
            }
        }
    }
    for column in whole..all.len() {
        let value = inputs.values.row([b, h, all.start + column, 0], head_dim);
        for (i, output) in outputs.chunks_exact_mut(head_dim).enumerate() {
            let weight = scores[i * all.len() + column];
            for (output, &value) in output.iter_mut().zip(value) {
                *output = value.mul_add(weight, *output);
            }
        }
    }
}

/// One tile of queries over all keys they see.
fn forward_tile<R: Real>(inputs: &Inputs<R>, b: usize, h: usize, start: usize, outputs: &mut [R], log_sums: &mut [R]) {
    let head_dim = inputs.queries.shape[3];
    let count = log_sums.len();
    let queries = Matrix::of_view(&inputs.queries, b, h, start, count);
    let mut scores = vec![R::zero(); count * KEYS];
    let mut max = vec![R::neg_infinity(); count];
    let mut sums = vec![R::zero(); count];
    let all = inputs.visible_to_any(b, start..start + count);
    for first in all.clone().step_by(KEYS) {
        let keys = KEYS.min(all.end - first);
        product(&mut scores, KEYS, queries, Matrix::of_view(&inputs.keys, b, h, first, keys).transposed(), inputs.scale, false);
        vectorize(
            #[inline(always)]
            || {
                for i in 0..count {
                    let scores = &mut scores[i * KEYS..i * KEYS + keys];
                    let seen = clip(inputs.visible(b, start + i), first, keys);
                    scores[..seen.start].fill(R::zero());
                    scores[seen.end..].fill(R::zero());
                    let seen_scores = &mut scores[seen.clone()];
                    if seen_scores.is_empty() {
                        continue;
                    }
                    let tile_max =
                        seen_scores.iter().fold(R::neg_infinity(), |max, &score| if score > max { score } else { max });
                    let new_max = max[i].max(tile_max);
                    let rescale = (max[i] - new_max).exp();
                    let mut sum = [R::zero(); 16];
                    let lanes = seen_scores.chunks_exact_mut(16);
                    for scores in lanes {
                        for lane in 0..16 {
                            scores[lane] = (scores[lane] - new_max).exp_of_negative();
                            sum[lane] += scores[lane];
                        }
                    }
                    let tail = seen_scores.len() - seen_scores.len() % 16;
                    for score in &mut seen_scores[tail..] {
                        *score = (*score - new_max).exp_of_negative();
                        sum[0] += *score;
                    }
                    sums[i] = sums[i] * rescale + sum.into_iter().sum();
                    max[i] = new_max;
                    if rescale != R::one() {
                        for output in &mut outputs[i * head_dim..(i + 1) * head_dim] {
                            *output *= rescale;
                        }
                    }
                    if inputs.dropout.is_on() {
                        mask_row(inputs.dropout, inputs.dropout_row(b, h, start + i), first + seen.start, seen_scores);
                    }
                }
            },
        );
        let values = Matrix::of_view(&inputs.values, b, h, first, keys);
        product(outputs, head_dim, Matrix::new(&scores, count, keys, KEYS), values, R::one(), true);
    }
    for i in 0..count {
        let inverse = R::one() / sums[i];
        outputs[i * head_dim..(i + 1) * head_dim].iter_mut().for_each(|output| *output *= inverse);
        log_sums[i] = max[i] + sums[i].ln();
    }
}

/// A run of keys as positions within the tile of `keys` keys that begins at `first`.
#[inline(always)]
fn clip(run: std::ops::Range<usize>, first: usize, keys: usize) -> std::ops::Range<usize> {
    let start = run.start.clamp(first, first + keys) - first;
    start..(run.end.clamp(first, first + keys) - first).max(start)
}

/// Drops and rescales the weights of a row whose first column is key `first`.
#[inline(always)]
fn mask_row<R: Real>(dropout: Dropout, row: u64, first: usize, weights: &mut [R]) {
    let (key, threshold) = (dropout.row_key(row), dropout.threshold());
    let scale = R::from(dropout.scale()).expect("1 / (1 - p) is a number");
    for (column, weight) in weights.iter_mut().enumerate() {
        let is_dropped = column_hash(key, (first + column) as u32) < threshold;
        *weight = if is_dropped { R::zero() } else { *weight * scale };
    }
}

fn causal_attention_backward<R: Real>(
    inputs: AttentionInputs<Flex>,
    outputs: AttentionOutputs<Flex>,
    grad_outputs: FloatTensor<Flex>,
) -> AttentionGradients<Flex> {
    let inputs = inputs.viewable();
    let [batch, heads, query_time, head_dim] = inputs.queries.shape().dims();
    let key_time = inputs.keys.shape()[2];
    let first_key = first_keys(&inputs.first_key, query_time, key_time);
    let inputs = Inputs::<R>::new(&inputs, &first_key);
    let (forward, log_sums, grad_outputs) = (viewable(outputs.outputs), viewable(outputs.log_sums), viewable(grad_outputs));
    let (forward, log_sums, grad_outputs) = (view::<R, 4>(&forward), view::<R, 3>(&log_sums), view::<R, 4>(&grad_outputs));

    let mut queries = vec![R::zero(); batch * heads * query_time * head_dim];
    let mut keys = vec![R::zero(); batch * heads * key_time * head_dim];
    let mut values = vec![R::zero(); batch * heads * key_time * head_dim];
    let rows = queries
        .par_chunks_mut(query_time * head_dim)
        .zip(keys.par_chunks_mut(key_time * head_dim).zip(values.par_chunks_mut(key_time * head_dim)));
    rows.enumerate().for_each(|(row, (queries, (keys, values)))| {
        backward_head(&inputs, &forward, &log_sums, &grad_outputs, row / heads, row % heads, queries, keys, values);
    });
    AttentionGradients {
        queries: tensor(queries, [batch, heads, query_time, head_dim]),
        keys: tensor(keys, [batch, heads, key_time, head_dim]),
        values: tensor(values, [batch, heads, key_time, head_dim]),
    }
}

fn backward_head<R: Real>(
    inputs: &Inputs<R>,
    forward: &View<R, 4>,
    log_sums: &View<R, 3>,
    grad_outputs: &View<R, 4>,
    b: usize,
    h: usize,
    grad_queries: &mut [R],
    grad_keys: &mut [R],
    grad_values: &mut [R],
) {
    let [_, _, query_time, head_dim] = inputs.queries.shape;
    let weighted: Vec<R> = vectorize(
        #[inline(always)]
        || (0..query_time).map(|i| dot(forward.row([b, h, i, 0], head_dim), grad_outputs.row([b, h, i, 0], head_dim))).collect(),
    ); // dO . O
    let tile_rows = QUERIES.min(query_time);
    let mut weights = vec![R::zero(); tile_rows * KEYS]; // P, dropped
    let mut scores = vec![R::zero(); tile_rows * KEYS]; // dP, then dS
    for start in (0..query_time).step_by(QUERIES) {
        let count = QUERIES.min(query_time - start);
        let queries = Matrix::of_view(&inputs.queries, b, h, start, count);
        let grads = Matrix::of_view(grad_outputs, b, h, start, count);
        let all = inputs.visible_to_any(b, start..start + count);
        for first in all.clone().step_by(KEYS) {
            let keys = KEYS.min(all.end - first);
            let key_tile = Matrix::of_view(&inputs.keys, b, h, first, keys);
            let value_tile = Matrix::of_view(&inputs.values, b, h, first, keys);
            product(&mut weights, KEYS, queries, key_tile.transposed(), inputs.scale, false);
            product(&mut scores, KEYS, grads, value_tile.transposed(), R::one(), false);
            vectorize(
                #[inline(always)]
                || {
                    for i in 0..count {
                        let weights = &mut weights[i * KEYS..i * KEYS + keys];
                        let scores = &mut scores[i * KEYS..i * KEYS + keys];
                        let seen = clip(inputs.visible(b, start + i), first, keys);
                        for row in [&mut *weights, &mut *scores] {
                            row[..seen.start].fill(R::zero());
                            row[seen.end..].fill(R::zero());
                        }
                        let (weights, scores) = (&mut weights[seen.clone()], &mut scores[seen.clone()]);
                        let (log_sum, weighted) = (log_sums.at([b, h, start + i]), weighted[start + i]);
                        if inputs.dropout.is_on() {
                            mask_row(inputs.dropout, inputs.dropout_row(b, h, start + i), first + seen.start, scores);
                        }
                        for (weight, score) in weights.iter_mut().zip(scores.iter_mut()) {
                            // Rounding can leave a score above its log-sum by an ulp.
                            let exponent = *weight - log_sum;
                            *weight = (if exponent < R::zero() { exponent } else { R::zero() }).exp_of_negative();
                            *score = *weight * (*score - weighted);
                        }
                        if inputs.dropout.is_on() {
                            mask_row(inputs.dropout, inputs.dropout_row(b, h, start + i), first + seen.start, weights);
                        }
                    }
                },
            );
            let tile = first * head_dim..(first + keys) * head_dim;
            let (weights, scores) = (Matrix::new(&weights, count, keys, KEYS), Matrix::new(&scores, count, keys, KEYS));
            product(&mut grad_values[tile.clone()], head_dim, weights.transposed(), grads, R::one(), true);
            product(&mut grad_keys[tile], head_dim, scores.transposed(), queries, inputs.scale, true);
            let rows = start * head_dim..(start + count) * head_dim;
            product(&mut grad_queries[rows], head_dim, scores, key_tile, inputs.scale, true);
        }
    }
}
