//! The selective scan on the CPU: one pass over time with the states of one batch row in the cache, vectorized over channels.
//!
//! The backward pass keeps the states at every [`SPAN`]th token, makes those between again, and walks back with `P`, the gradient
//! that arrives at `h_t`:
//!
//! ```text
//! P += C_t dy_t         dC_t[n] = sum over c of h_t dy_t        dB_t[n] = sum over c of P delta_t u_t
//! Q = P exp(delta_t A) h_{t-1}        ddelta_t = sum over n of (Q A + P u_t B_t)        dA += Q delta_t
//! du_t = delta_t (sum over n of P B_t)        P <- exp(delta_t A) P, and at the end dh_0 = P
//! ```
//!
//! A reset counts as a decay to 0, and gets no gradient.

use super::inputs::{SelectiveGradients, SelectiveInputs, SelectiveViews};
use super::ops::SelectiveScanOps;
use super::reference;
use crate::cpu::{Real, by_float, dot, flags, made_in_chunks, serves, tensor, vectorize, view, viewable};
use burn::tensor::{DType, Device, ops::FloatTensor};
use burn_flex::Flex;
use rayon::prelude::*;

/// Tokens between two kept states.
const SPAN: usize = 32;
/// Below this many state updates one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 14;

impl SelectiveScanOps for Flex {
    fn has_backward(_device: &Device<Self>, _states: usize, dtype: DType) -> bool {
        serves(dtype)
    }

    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        by_float!(inputs.inputs.dtype(), R => selective_scan::<R>(inputs), _ => reference::selective_scan(inputs))
    }

    fn selective_scan_backward(inputs: SelectiveInputs<Self>, grad: FloatTensor<Self>) -> SelectiveGradients<Self> {
        by_float!(
            grad.dtype(),
            R => selective_scan_backward::<R>(inputs, grad),
            _ => reference::selective_scan_backward(inputs, grad),
        )
    }
}

impl<R: Real> SelectiveViews<'_, R> {
    /// Copies `h_0` of a batch row, `[states, channels]`.
    fn first(&self, b: usize, hidden: &mut [R]) {
        let channels = self.inputs.shape[2];
        for (n, hidden) in hidden.chunks_exact_mut(channels).enumerate() {
            hidden.copy_from_slice(self.carry.row([b, n, 0], channels));
        }
    }

    /// `h_{t-1}` to `h_t`, which forgets the past at a reset.
    #[inline(always)]
    fn update(&self, b: usize, t: usize, is_reset: bool, hidden: &mut [R]) {
        let channels = self.inputs.shape[2];
        let (u, steps) = (self.inputs.row([b, t, 0], channels), self.steps.row([b, t, 0], channels));
        for (n, hidden) in hidden.chunks_exact_mut(channels).enumerate() {
            let write = self.writes.at([b, t, n]);
            if is_reset {
                for ((hidden, &u), &step) in hidden.iter_mut().zip(u).zip(steps) {
                    *hidden = step * u * write;
                }
                continue;
            }
            let decays = self.decays.row([n, 0], channels);
            for (((hidden, &u), &step), &decay) in hidden.iter_mut().zip(u).zip(steps).zip(decays) {
                *hidden = (step * decay).exp_of_negative().mul_add(*hidden, step * u * write);
            }
        }
    }
}

pub(crate) fn selective_scan<R: Real>(inputs: SelectiveInputs<Flex>) -> FloatTensor<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let inputs = inputs.views::<R>();
    let ([batch, time, channels], [states, _]) = (inputs.inputs.shape, inputs.decays.shape);
    let row_length = (time + states) * channels;
    let row = |b: usize, packed: &mut [R]| {
        let (outputs, hidden) = packed.split_at_mut(time * channels);
        vectorize(
            #[inline(always)]
            || {
                inputs.first(b, hidden);
                for (t, output) in outputs.chunks_exact_mut(channels).enumerate() {
                    inputs.update(b, t, reset[b * time + t], hidden);
                    for (n, hidden) in hidden.chunks_exact(channels).enumerate() {
                        let read = inputs.reads.at([b, t, n]);
                        for (output, &hidden) in output.iter_mut().zip(hidden) {
                            *output = read.mul_add(hidden, *output);
                        }
                    }
                }
            },
        );
    };
    let is_sequential = batch * time * states * channels < SEQUENTIAL_BELOW;
    let packed = made_in_chunks(batch * row_length, row_length, is_sequential, row);
    tensor(packed, [batch, row_length])
}

/// Gradients of one batch row.
struct RowGradients<R> {
    inputs: Vec<R>,
    steps: Vec<R>,
    decays: Vec<R>,
    writes: Vec<R>,
    reads: Vec<R>,
    carry: Vec<R>,
}

pub(crate) fn selective_scan_backward<R: Real>(
    inputs: SelectiveInputs<Flex>,
    grad: FloatTensor<Flex>,
) -> SelectiveGradients<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let inputs = inputs.views::<R>();
    let grad = viewable(grad);
    let grad = view::<R, 2>(&grad);
    let ([batch, time, channels], [states, _]) = (inputs.inputs.shape, inputs.decays.shape);
    let rows: Vec<RowGradients<R>> = (0..batch)
        .into_par_iter()
        .map(|b| {
            vectorize(
                #[inline(always)]
                || backward_row(&inputs, &reset[b * time..], b, grad.row([b, 0], (time + states) * channels)),
            )
        })
        .collect();
    let mut decays = vec![R::zero(); states * channels];
    for row in &rows {
        for (sum, &grad) in decays.iter_mut().zip(&row.decays) {
            *sum += grad;
        }
    }
    let join = |part: fn(&RowGradients<R>) -> &Vec<R>| rows.iter().flat_map(part).copied().collect::<Vec<R>>();
    SelectiveGradients {
        inputs: tensor(join(|row| &row.inputs), [batch, time, channels]),
        steps: tensor(join(|row| &row.steps), [batch, time, channels]),
        decays: tensor(decays, [states, channels]),
        writes: tensor(join(|row| &row.writes), [batch, time, states]),
        reads: tensor(join(|row| &row.reads), [batch, time, states]),
        carry: tensor(join(|row| &row.carry), [batch, states, channels]),
    }
}

#[inline(always)]
fn backward_row<R: Real>(inputs: &SelectiveViews<R>, reset: &[bool], b: usize, grad: &[R]) -> RowGradients<R> {
    let ([_, time, channels], [states, _]) = (inputs.inputs.shape, inputs.decays.shape);
    let size = states * channels;
    let (grad_outputs, grad_last) = grad.split_at(time * channels);
    let mut found = RowGradients {
        inputs: vec![R::zero(); time * channels],
        steps: vec![R::zero(); time * channels],
        decays: vec![R::zero(); size],
        writes: vec![R::zero(); time * states],
        reads: vec![R::zero(); time * states],
        carry: grad_last.to_vec(), // P
    };
    // The state before every span.
    let spans = time.div_ceil(SPAN);
    let mut kept = vec![R::zero(); spans * size];
    inputs.first(b, &mut kept[..size]);
    for span in 1..spans {
        let (before, after) = kept.split_at_mut(span * size);
        let hidden = &mut after[..size];
        hidden.copy_from_slice(&before[(span - 1) * size..]);
        ((span - 1) * SPAN..span * SPAN).for_each(|t| inputs.update(b, t, reset[t], hidden));
    }
    // The states of one span, from the one before it on.
    let mut hidden = vec![R::zero(); (SPAN + 1) * size];
    let mut written = vec![R::zero(); channels]; // delta u
    for span in (0..spans).rev() {
        let tokens = span * SPAN..((span + 1) * SPAN).min(time);
        hidden[..size].copy_from_slice(&kept[span * size..][..size]);
        for (index, t) in tokens.clone().enumerate() {
            let (before, after) = hidden.split_at_mut((index + 1) * size);
            after[..size].copy_from_slice(&before[index * size..]);
            inputs.update(b, t, reset[t], &mut after[..size]);
        }
        for (index, t) in tokens.enumerate().rev() {
            let (u, steps) = (inputs.inputs.row([b, t, 0], channels), inputs.steps.row([b, t, 0], channels));
            let grad = &grad_outputs[t * channels..][..channels];
            let grad_inputs = &mut found.inputs[t * channels..][..channels];
            let grad_steps = &mut found.steps[t * channels..][..channels];
            for ((written, &u), &step) in written.iter_mut().zip(u).zip(steps) {
                *written = u * step;
            }
            for n in 0..states {
                let here = n * channels..(n + 1) * channels;
                let arrived = &mut found.carry[here.clone()];
                let (read, write) = (inputs.reads.at([b, t, n]), inputs.writes.at([b, t, n]));
                for (arrived, &grad) in arrived.iter_mut().zip(grad) {
                    *arrived = read.mul_add(grad, *arrived);
                }
                found.reads[t * states + n] = dot(&hidden[(index + 1) * size + here.start..][..channels], grad);
                found.writes[t * states + n] = dot(arrived, &written);
                let decays = inputs.decays.row([n, 0], channels);
                let past = &hidden[index * size + here.start..][..channels];
                let grad_decays = &mut found.decays[here];
                for c in 0..channels {
                    grad_inputs[c] += arrived[c] * write * steps[c];
                    grad_steps[c] += arrived[c] * write * u[c];
                }
                if reset[t] {
                    arrived.fill(R::zero());
                    continue;
                }
                for c in 0..channels {
                    let kept = arrived[c] * (steps[c] * decays[c]).exp_of_negative();
                    let through = kept * past[c]; // Q
                    grad_steps[c] += through * decays[c];
                    grad_decays[c] += through * steps[c];
                    arrived[c] = kept;
                }
            }
        }
    }
    found
}
