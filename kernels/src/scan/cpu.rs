//! The scan on the CPU: one pass over time, forward and backward, a thread for every batch row and head.
//!
//! Memory: outputs and log-sums, nothing else of their size. Work per token: one exponential, and `head_dim` multiply-adds
//! that vectorize. The backward pass recomputes the gates from scores and log-sums and walks time once, in reverse:
//!
//! ```text
//! R_t = dO_t + keep_{t+1} R_{t+1}        D_t = dO_t . o_t + keep_{t+1} D_{t+1}
//! dv_t = take_t R_t                      ds_t = take_t (R_t . v_t - D_t)
//! do_0 = keep_1 R_1                      dL_0 = keep_1 (R_1 . o_0 - D_1)
//! ```

use super::gate::gate;
use super::inputs::{LogSumGradients, LogSumInputs, ScanGradients, ScanInputs, ScanOutputs, ScanViews};
use super::log_sums::cpu::{running_log_sum_exp, running_log_sum_exp_backward};
use super::ops::ScanOps;
use super::reference;
use crate::cpu::{Real, by_float, dot, flags, made_in_pairs, serves, tensor, vectorize, view, viewable};
use burn::tensor::{DType, Device, ops::FloatTensor};
use burn_flex::Flex;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Below this many elements one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 15;

impl ScanOps for Flex {
    fn has_backward(_device: &Device<Self>, _head_dim: usize, dtype: DType) -> bool {
        serves(dtype)
    }

    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        by_float!(inputs.values.dtype(), R => attention_scan::<R>(inputs), _ => reference::attention_scan(inputs))
    }

    fn attention_scan_backward(
        inputs: ScanInputs<Self>,
        outputs: ScanOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> ScanGradients<Self> {
        by_float!(
            inputs.values.dtype(),
            R => attention_scan_backward::<R>(inputs, outputs, grad),
            _ => reference::attention_scan_backward(inputs, grad),
        )
    }

    fn has_log_sum_backward(_device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype)
    }

    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        by_float!(
            inputs.scores.dtype(),
            R => running_log_sum_exp::<R>(inputs),
            _ => reference::running_log_sum_exp(inputs),
        )
    }

    fn running_log_sum_exp_backward(
        inputs: LogSumInputs<Self>,
        log_sums: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> LogSumGradients<Self> {
        by_float!(
            grad.dtype(),
            R => running_log_sum_exp_backward::<R>(inputs, log_sums, grad),
            _ => reference::running_log_sum_exp_backward(inputs, grad),
        )
    }
}

impl<R: Real> ScanViews<'_, R> {
    /// The carry's log-sum and output; an empty carry holds nothing, whatever its output says.
    fn carry(&self, b: usize, h: usize) -> (R, Option<&[R]>) {
        let log_sum = self.carry_log_sum.at([b, h]);
        let output = self.carry_output.row([b, h, 0], self.values.shape[3]);
        (log_sum, (log_sum != R::neg_infinity()).then_some(output))
    }
}

pub(crate) fn attention_scan<R: Real>(inputs: ScanInputs<Flex>) -> ScanOutputs<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let inputs = inputs.views::<R>();
    let [batch, heads, time, head_dim] = inputs.values.shape;

    let scan = |row: usize, outputs: &mut [R], log_sums: &mut [R]| {
        vectorize(
            #[inline(always)]
            || scan_row(&inputs, &reset, row / heads, row % heads, outputs, log_sums),
        );
    };
    let counts = [batch * heads * time * head_dim, batch * heads * time];
    let (outputs, log_sums) = made_in_pairs(counts, [time * head_dim, time], counts[0] < SEQUENTIAL_BELOW, scan);
    ScanOutputs { outputs: tensor(outputs, [batch, heads, time, head_dim]), log_sums: tensor(log_sums, [batch, heads, time]) }
}

#[inline(always)]
fn scan_row<R: Real>(inputs: &ScanViews<R>, reset: &[bool], b: usize, h: usize, outputs: &mut [R], log_sums: &mut [R]) {
    let head_dim = inputs.values.shape[3];
    let (mut log_sum, carry_output) = inputs.carry(b, h);
    let time = log_sums.len();
    for t in 0..time {
        let gate = gate(inputs.scores.at([b, h, t]), log_sum, reset[b * time + t]);
        log_sum = gate.log_sum;
        log_sums[t] = log_sum;
        let value = inputs.values.row([b, h, t, 0], head_dim);
        let (done, rest) = outputs.split_at_mut(t * head_dim);
        let output = &mut rest[..head_dim];
        let past = if t == 0 { carry_output } else { Some(&done[(t - 1) * head_dim..]) };
        match past {
            // `keep = 0` is a branch, not a product: a non-finite past must not reach the next episode.
            Some(past) if gate.keep != R::zero() => {
                for ((output, &past), &value) in output.iter_mut().zip(past).zip(value) {
                    *output = gate.keep * past + gate.take * value;
                }
            }
            _ if gate.take != R::zero() => output.copy_from_slice(value),
            _ => {} // nothing seen yet: zero
        }
    }
}

pub(crate) fn attention_scan_backward<R: Real>(
    inputs: ScanInputs<Flex>,
    outputs: ScanOutputs<Flex>,
    grad_outputs: FloatTensor<Flex>,
) -> ScanGradients<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let inputs = inputs.views::<R>();
    let (forward_outputs, log_sums, grad_outputs) =
        (viewable(outputs.outputs), viewable(outputs.log_sums), viewable(grad_outputs));
    let (forward_outputs, log_sums, grad_outputs) =
        (view::<R, 4>(&forward_outputs), view::<R, 3>(&log_sums), view::<R, 4>(&grad_outputs));
    let [batch, heads, time, head_dim] = inputs.values.shape;

    let mut scores = vec![R::zero(); batch * heads * time];
    let mut values = vec![R::zero(); batch * heads * time * head_dim];
    let mut carry_log_sum = vec![R::zero(); batch * heads];
    let mut carry_output = vec![R::zero(); batch * heads * head_dim];

    let run = |row: usize, scores: &mut [R], values: &mut [R], carry_log_sum: &mut R, carry_output: &mut [R]| {
        let (b, h) = (row / heads, row % heads);
        vectorize(
            #[inline(always)]
            || {
                let mut downstream = vec![R::zero(); head_dim]; // R
                let mut weighted = R::zero(); // D
                for t in (0..time).rev() {
                    let output = forward_outputs.row([b, h, t, 0], head_dim);
                    let value = inputs.values.row([b, h, t, 0], head_dim);
                    let grad = grad_outputs.row([b, h, t, 0], head_dim);
                    for (sum, &grad) in downstream.iter_mut().zip(grad) {
                        *sum += grad;
                    }
                    weighted += dot(grad, output);
                    let past = if t == 0 { inputs.carry_log_sum.at([b, h]) } else { log_sums.at([b, h, t - 1]) };
                    let gate = gate(inputs.scores.at([b, h, t]), past, reset[b * time + t]);
                    if gate.take != R::zero() {
                        scores[t] = gate.take * (dot(&downstream, value) - weighted);
                        for (grad, &sum) in values[t * head_dim..].iter_mut().zip(&downstream) {
                            *grad = gate.take * sum;
                        }
                    }
                    for sum in &mut downstream {
                        *sum *= gate.keep;
                    }
                    weighted *= gate.keep;
                }
                if let (_, Some(output)) = inputs.carry(b, h) {
                    *carry_log_sum = dot(&downstream, output) - weighted;
                    carry_output.copy_from_slice(&downstream);
                }
            },
        );
    };
    let row_length = (time * head_dim).max(1);
    let rows = scores
        .par_chunks_mut(time)
        .zip(values.par_chunks_mut(row_length))
        .zip(carry_log_sum.par_chunks_mut(1).zip(carry_output.par_chunks_mut(head_dim.max(1))));
    rows.enumerate().for_each(|(row, ((s, v), (l, o)))| run(row, s, v, &mut l[0], o));

    ScanGradients {
        scores: tensor(scores, [batch, heads, time]),
        values: tensor(values, [batch, heads, time, head_dim]),
        carry_log_sum: tensor(carry_log_sum, [batch, heads]),
        carry_output: tensor(carry_output, [batch, heads, head_dim]),
    }
}
