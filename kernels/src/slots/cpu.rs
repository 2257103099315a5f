//! Slot attention on the CPU: a task takes a head of a row through all tokens, with its slots in the cache.
//!
//! The backward pass walks time twice. Forward it makes the slots again, for what asks them at every token: gradients of queries, and of
//! the read's logits `z` and weights `p`. In reverse it carries what later tokens ask of a slot, as the scan does, joined over keys and
//! values, `[k; v]`:
//!
//! ```text
//! dp = dO . V      dz = p (dp - sum p dp)      dq = sum_m dz K / sqrt(head_dim)
//! R_t = [dz q / sqrt(head_dim); p dO] + keep_{t+1} R_{t+1}      D_t = (dz z + p dp) + keep_{t+1} D_{t+1}
//! [dk; dv] = sum_m take R_t                                     ds = take (R_t . [k; v] - D_t)
//! ```
//!
//! `D` is `R . [K; V]` summed where the slots are at hand: the slots of every token need not be kept.

use super::inputs::{SlotGradients, SlotInputs, SlotViews};
use super::ops::SlotOps;
use super::reference;
use crate::cpu::{Real, View, by_float, dot, flags, made_in_chunks, serves, tensor, vectorize, view, viewable};
use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;
use rayon::prelude::*;

/// Below this many multiply-adds one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 16;
/// Dot products that are computed side by side.
const SIDE_BY_SIDE: usize = 4;

impl SlotOps for Flex {
    fn has_backward(inputs: &SlotInputs<Self>) -> bool {
        serves(inputs.values.dtype())
    }

    fn slot_attention(inputs: SlotInputs<Self>) -> FloatTensor<Self> {
        by_float!(inputs.values.dtype(), R => slot_attention::<R>(inputs), _ => reference::slot_attention(inputs))
    }

    fn slot_attention_backward(inputs: SlotInputs<Self>, grad: FloatTensor<Self>) -> SlotGradients<Self> {
        by_float!(
            grad.dtype(),
            R => slot_attention_backward::<R>(inputs, grad),
            _ => reference::slot_attention_backward(inputs, grad),
        )
    }
}

/// Sizes of a call.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    time: usize,
    head_dim: usize,
    slots: usize,
}

impl Sizes {
    fn of<R: Real>(inputs: &SlotViews<R>) -> Self {
        let ([batch, heads, time, head_dim], slots) = (inputs.values.shape, inputs.scores.shape[3]);
        Self { batch, heads, time, head_dim, slots }
    }

    /// Numbers of a slot.
    fn wide(self) -> usize {
        2 * self.head_dim
    }

    fn outputs(self) -> usize {
        self.time * self.head_dim
    }

    fn memory(self) -> usize {
        self.slots * self.wide()
    }

    /// Numbers that a head of a row returns.
    fn packed(self) -> usize {
        self.outputs() + self.memory() + self.slots
    }

    fn is_sequential(self) -> bool {
        self.batch * self.heads * self.time * self.memory() < SEQUENTIAL_BELOW
    }
}

/// The slots of a head after a token, how they came to be, and what the token reads of them.
struct Slots<R> {
    /// Keys, and values behind them, slot by slot.
    memory: Vec<R>,
    log_sums: Vec<R>,
    keep: Vec<R>,
    take: Vec<R>,
    logits: Vec<R>,
    weights: Vec<R>,
}

/// One head of one row.
#[derive(Clone, Copy)]
struct Row<'a, R> {
    inputs: &'a SlotViews<'a, R>,
    /// Of the row.
    reset: &'a [bool],
    sizes: Sizes,
    b: usize,
    h: usize,
    /// Of logits.
    scale: R,
}

impl<'a, R: Real> Row<'a, R> {
    fn new(inputs: &'a SlotViews<'a, R>, reset: &'a [bool], index: usize) -> Self {
        let sizes = Sizes::of(inputs);
        let (b, h) = (index / sizes.heads, index % sizes.heads);
        let scale = R::one() / R::from(sizes.head_dim).expect("a float holds a small number").sqrt();
        Self { inputs, reset: &reset[b * sizes.time..(b + 1) * sizes.time], sizes, b, h, scale }
    }

    /// A token's row of one of the inputs.
    #[inline(always)]
    fn token(&self, of: &View<'a, R, 4>, t: usize) -> &'a [R] {
        of.row([self.b, self.h, t, 0], of.shape[3])
    }

    /// The slots before the first token; an empty one holds nothing, whatever is in it.
    #[inline(always)]
    fn carry(&self) -> Slots<R> {
        let Sizes { slots, .. } = self.sizes;
        let (wide, zeros) = (self.sizes.wide(), || vec![R::zero(); slots]);
        let log_sums = self.inputs.carry_log_sum.row([self.b, self.h, 0], slots).to_vec();
        let mut memory = vec![R::zero(); self.sizes.memory()];
        for (m, slot) in memory.chunks_exact_mut(wide).enumerate() {
            if log_sums[m] != R::neg_infinity() {
                slot.copy_from_slice(self.inputs.carry_memory.row([self.b, self.h, m, 0], wide));
            }
        }
        Slots { memory, log_sums, keep: zeros(), take: zeros(), logits: zeros(), weights: zeros() }
    }

    /// Writes a token, and reads.
    #[inline(always)]
    fn step(&self, t: usize, of: &mut Slots<R>) {
        let Sizes { head_dim, .. } = self.sizes;
        if self.reset[t] {
            // What is not finite does not cross the border of an episode.
            of.memory.fill(R::zero());
            of.log_sums.fill(R::neg_infinity());
        }
        gates(self.token(&self.inputs.scores, t), &mut of.log_sums, &mut of.keep, &mut of.take);
        let (keys, values) = (self.token(&self.inputs.keys, t), self.token(&self.inputs.values, t));
        for (m, slot) in of.memory.chunks_exact_mut(self.sizes.wide()).enumerate() {
            let (keep, take) = (of.keep[m], of.take[m]);
            let (slot_keys, slot_values) = slot.split_at_mut(head_dim);
            for (slot, &key) in slot_keys.iter_mut().zip(keys) {
                *slot = keep * *slot + take * key;
            }
            for (slot, &value) in slot_values.iter_mut().zip(values) {
                *slot = keep * *slot + take * value;
            }
        }
        self.dots(self.token(&self.inputs.queries, t), &of.memory, 0, &mut of.logits);
        for logit in &mut of.logits {
            *logit *= self.scale;
        }
        softmax(&of.logits, &mut of.weights);
    }

    /// The products of a vector with a stretch of every slot, from `from` on.
    #[inline(always)]
    fn dots(&self, x: &[R], memory: &[R], from: usize, products: &mut [R]) {
        let wide = self.sizes.wide();
        let slot = |m: usize| &memory[m * wide + from..m * wide + from + x.len()];
        for (group, products) in products.chunks_mut(SIDE_BY_SIDE).enumerate() {
            let first = group * SIDE_BY_SIDE;
            match products.len() {
                SIDE_BY_SIDE => products.copy_from_slice(&R::dots::<SIDE_BY_SIDE>(x, std::array::from_fn(|i| slot(first + i)))),
                _ => products.iter_mut().enumerate().for_each(|(i, product)| *product = dot(x, slot(first + i))),
            }
        }
    }

    #[inline(always)]
    fn forward(&self, packed: &mut [R]) {
        let Sizes { head_dim, .. } = self.sizes;
        let (outputs, last) = packed.split_at_mut(self.sizes.outputs());
        let mut slots = self.carry();
        for (t, output) in outputs.chunks_exact_mut(head_dim).enumerate() {
            self.step(t, &mut slots);
            for (slot, &weight) in slots.memory.chunks_exact(self.sizes.wide()).zip(&slots.weights) {
                for (output, &value) in output.iter_mut().zip(&slot[head_dim..]) {
                    *output += weight * value;
                }
            }
        }
        let (memory, log_sums) = last.split_at_mut(self.sizes.memory());
        memory.copy_from_slice(&slots.memory);
        log_sums.copy_from_slice(&slots.log_sums);
    }

    /// - `upstream`: of what [`Row::forward`] wrote
    #[inline(always)]
    fn backward(&self, upstream: &[R], grads: &mut RowGradients<'_, R>) {
        let Sizes { time, head_dim, slots, .. } = self.sizes;
        let wide = self.sizes.wide();
        let (grad_outputs, last) = upstream.split_at(self.sizes.outputs());
        let (grad_memory, grad_log_sums) = last.split_at(self.sizes.memory());

        // The slots again, in order of time, and what is asked of them.
        let trace = || vec![R::zero(); time * slots];
        let (mut keeps, mut takes, mut weights, mut logits, mut asked) = (trace(), trace(), trace(), trace(), trace());
        let mut of = self.carry();
        let mut grad_weights = vec![R::zero(); slots];
        for t in 0..time {
            self.step(t, &mut of);
            let grad = &grad_outputs[t * head_dim..(t + 1) * head_dim];
            self.dots(grad, &of.memory, head_dim, &mut grad_weights);
            let mean = dot(&of.weights, &grad_weights);
            let grad_query = &mut grads.queries[t * head_dim..(t + 1) * head_dim];
            for (m, &grad_weight) in grad_weights.iter().enumerate() {
                let (weight, at) = (of.weights[m], t * slots + m);
                let grad_logit = weight * (grad_weight - mean);
                asked[at] = grad_logit * of.logits[m] + weight * grad_weight;
                logits[at] = grad_logit * self.scale;
                for (grad, &key) in grad_query.iter_mut().zip(&of.memory[m * wide..]) {
                    *grad += logits[at] * key;
                }
            }
            keeps[t * slots..][..slots].copy_from_slice(&of.keep);
            takes[t * slots..][..slots].copy_from_slice(&of.take);
            weights[t * slots..][..slots].copy_from_slice(&of.weights);
        }

        let mut downstream = grad_memory.to_vec(); // R
        let mut weighted: Vec<R> = (0..slots) // D
            .map(|m| {
                let of_slot = dot(&grad_memory[m * wide..][..wide], &of.memory[m * wide..][..wide]);
                // A log-sum of -inf is a constant.
                if of.log_sums[m] == R::neg_infinity() { of_slot } else { of_slot - grad_log_sums[m] }
            })
            .collect();
        let (mut token, mut grad_token, mut products) = (vec![R::zero(); wide], vec![R::zero(); wide], vec![R::zero(); slots]);
        for t in (0..time).rev() {
            let grad = &grad_outputs[t * head_dim..(t + 1) * head_dim];
            let query = self.token(&self.inputs.queries, t);
            token[..head_dim].copy_from_slice(self.token(&self.inputs.keys, t));
            token[head_dim..].copy_from_slice(self.token(&self.inputs.values, t));
            grad_token.fill(R::zero());
            for (m, sums) in downstream.chunks_exact_mut(wide).enumerate() {
                let at = t * slots + m;
                let (logit, weight, take) = (logits[at], weights[at], takes[at]);
                let (of_keys, of_values) = sums.split_at_mut(head_dim);
                for (sum, &query) in of_keys.iter_mut().zip(query) {
                    *sum += logit * query;
                }
                for (sum, &grad) in of_values.iter_mut().zip(grad) {
                    *sum += weight * grad;
                }
                for (grad, &sum) in grad_token.iter_mut().zip(&*sums) {
                    *grad += take * sum;
                }
                weighted[m] += asked[at];
            }
            self.dots(&token, &downstream, 0, &mut products);
            let grad_scores = &mut grads.scores[t * slots..(t + 1) * slots];
            for (m, grad) in grad_scores.iter_mut().enumerate() {
                if takes[t * slots + m] != R::zero() {
                    *grad = takes[t * slots + m] * (products[m] - weighted[m]);
                }
            }
            grads.keys[t * head_dim..(t + 1) * head_dim].copy_from_slice(&grad_token[..head_dim]);
            grads.values[t * head_dim..(t + 1) * head_dim].copy_from_slice(&grad_token[head_dim..]);
            if self.reset[t] {
                downstream.fill(R::zero());
                weighted.fill(R::zero());
                continue;
            }
            for (m, sums) in downstream.chunks_exact_mut(wide).enumerate() {
                let keep = keeps[t * slots + m];
                sums.iter_mut().for_each(|sum| *sum *= keep);
                weighted[m] *= keep;
            }
        }
        let carry = self.carry();
        for m in 0..slots {
            if carry.log_sums[m] != R::neg_infinity() {
                let sums = &downstream[m * wide..(m + 1) * wide];
                grads.carry_memory[m * wide..(m + 1) * wide].copy_from_slice(sums);
                grads.carry_log_sum[m] = dot(sums, &carry.memory[m * wide..(m + 1) * wide]) - weighted[m];
            }
        }
    }
}

/// How much of every slot stays and how much of the token comes; log-sums become those with the token. Without branches, for all slots
/// at once; a slot that has seen nothing keeps nothing.
#[inline(always)]
fn gates<R: Real>(scores: &[R], log_sums: &mut [R], keep: &mut [R], take: &mut [R]) {
    let (zero, one, empty) = (R::zero(), R::one(), R::neg_infinity());
    for (((&score, log_sum), keep), take) in scores.iter().zip(log_sums).zip(keep).zip(take) {
        let past = *log_sum;
        // Of two that are empty the difference is no number.
        let small = if score == empty || past == empty { zero } else { (-(score - past).abs()).exp_of_negative() };
        let (larger, smaller) = (one / (one + small), small / (one + small));
        let is_larger = score >= past;
        let top = if is_larger { score } else { past };
        *take = if score == empty {
            zero
        } else if is_larger {
            larger
        } else {
            smaller
        };
        *keep = if past == empty {
            zero
        } else if is_larger {
            smaller
        } else {
            larger
        };
        *log_sum = top + small.ln_1p_of_share();
    }
}

#[inline(always)]
fn softmax<R: Real>(logits: &[R], weights: &mut [R]) {
    let top = logits.iter().fold(R::neg_infinity(), |top, &logit| if logit > top { logit } else { top });
    for (weight, &logit) in weights.iter_mut().zip(logits) {
        *weight = (logit - top).exp_of_negative();
    }
    let share = R::one() / weights.iter().copied().sum();
    for weight in weights {
        *weight *= share;
    }
}

pub(super) fn slot_attention<R: Real>(inputs: SlotInputs<Flex>) -> FloatTensor<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let views = inputs.views::<R>();
    let sizes = Sizes::of(&views);
    let count = sizes.batch * sizes.heads * sizes.packed();
    let packed = made_in_chunks(count, sizes.packed(), sizes.is_sequential(), |index, packed| {
        vectorize(
            #[inline(always)]
            || Row::new(&views, &reset, index).forward(packed),
        );
    });
    tensor(packed, [sizes.batch, sizes.heads, sizes.packed()])
}

/// Where the gradients of one head of one row go.
struct RowGradients<'a, R> {
    scores: &'a mut [R],
    queries: &'a mut [R],
    keys: &'a mut [R],
    values: &'a mut [R],
    carry_log_sum: &'a mut [R],
    carry_memory: &'a mut [R],
}

pub(super) fn slot_attention_backward<R: Real>(inputs: SlotInputs<Flex>, grad: FloatTensor<Flex>) -> SlotGradients<Flex> {
    let (inputs, grad) = (inputs.viewable(), viewable(grad));
    let reset = flags(&inputs.reset);
    let (views, grad) = (inputs.views::<R>(), view::<R, 3>(&grad));
    let sizes = Sizes::of(&views);
    let Sizes { batch, heads, time, head_dim, slots } = sizes;
    let rows = batch * heads;
    let zeros = |length: usize| vec![R::zero(); rows * length];
    let [mut queries, mut keys, mut values] = [(); 3].map(|()| zeros(sizes.outputs()));
    let (mut scores, mut carry_log_sum, mut carry_memory) = (zeros(time * slots), zeros(slots), zeros(sizes.memory()));
    let of_rows = (scores.par_chunks_mut((time * slots).max(1)))
        .zip(queries.par_chunks_mut(sizes.outputs().max(1)))
        .zip(keys.par_chunks_mut(sizes.outputs().max(1)))
        .zip(values.par_chunks_mut(sizes.outputs().max(1)))
        .zip(carry_log_sum.par_chunks_mut(slots.max(1)))
        .zip(carry_memory.par_chunks_mut(sizes.memory().max(1)));
    of_rows.enumerate().for_each(|(index, (((((scores, queries), keys), values), carry_log_sum), carry_memory))| {
        let mut grads = RowGradients { scores, queries, keys, values, carry_log_sum, carry_memory };
        vectorize(
            #[inline(always)]
            || {
                let row = Row::new(&views, &reset, index);
                row.backward(grad.row([row.b, row.h, 0], sizes.packed()), &mut grads);
            },
        );
    });
    let of_tokens = |data: Vec<R>| tensor(data, [batch, heads, time, head_dim]);
    SlotGradients {
        scores: tensor(scores, [batch, heads, time, slots]),
        queries: of_tokens(queries),
        keys: of_tokens(keys),
        values: of_tokens(values),
        carry_log_sum: tensor(carry_log_sum, [batch, heads, slots]),
        carry_memory: tensor(carry_memory, [batch, heads, slots, sizes.wide()]),
    }
}
