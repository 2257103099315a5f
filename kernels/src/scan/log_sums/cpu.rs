//! The running log-sum-exp on the CPU: one pass over time, forward and backward, a task for every batch row and head.
//!
//! ```text
//! H_t = dL_t + keep_{t+1} H_{t+1}        ds_t = take_t H_t        dL_0 = keep_1 H_1
//! ```
//!
//! `keep` and `take` are the attention scan's gates: derivatives of `L_t` by `L_{t-1}` and by `s_t`.

use crate::cpu::{Real, flags, tensor, view, viewable};
use crate::scan::gate::gate;
use crate::scan::inputs::{LogSumGradients, LogSumInputs, LogSumViews};
use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

pub(crate) fn running_log_sum_exp<R: Real>(inputs: LogSumInputs<Flex>) -> FloatTensor<Flex> {
    let inputs = inputs.viewable();
    let reset = flags(&inputs.reset);
    let LogSumViews { scores, carry } = inputs.views::<R>();
    let [batch, heads, time] = scores.shape;
    let mut log_sums = vec![R::zero(); batch * heads * time];
    log_sums.par_chunks_mut(time.max(1)).enumerate().for_each(|(row, log_sums)| {
        let (b, h) = (row / heads, row % heads);
        let mut past = carry.at([b, h]);
        let tokens = scores.row([b, h, 0], time).iter().zip(&reset[b * time..]);
        for (log_sum, (&score, &reset)) in log_sums.iter_mut().zip(tokens) {
            past = gate(score, past, reset).log_sum;
            *log_sum = past;
        }
    });
    tensor(log_sums, [batch, heads, time])
}

pub(crate) fn running_log_sum_exp_backward<R: Real>(
    inputs: LogSumInputs<Flex>,
    log_sums: FloatTensor<Flex>,
    grad: FloatTensor<Flex>,
) -> LogSumGradients<Flex> {
    let inputs = inputs.viewable();
    let [log_sums, grad] = [log_sums, grad].map(viewable);
    let reset = flags(&inputs.reset);
    let LogSumViews { scores, carry } = inputs.views::<R>();
    let (log_sums, grad) = (view::<R, 3>(&log_sums), view::<R, 3>(&grad));
    let [batch, heads, time] = scores.shape;
    let mut score_grads = vec![R::zero(); batch * heads * time];
    let mut carry_grads = vec![R::zero(); batch * heads];
    let rows = score_grads.par_chunks_mut(time.max(1)).zip(carry_grads.par_chunks_mut(1));
    rows.enumerate().for_each(|(row, (score_grads, carry_grad))| {
        let (b, h) = (row / heads, row % heads);
        let mut downstream = R::zero();
        for t in (0..time).rev() {
            let past = if t == 0 { carry.at([b, h]) } else { log_sums.at([b, h, t - 1]) };
            let gate = gate(scores.at([b, h, t]), past, reset[b * time + t]);
            // A log-sum of -inf is a constant: no gradient passes through it.
            if gate.log_sum != R::neg_infinity() {
                downstream += grad.at([b, h, t]);
            }
            score_grads[t] = gate.take * downstream;
            // A branch, not a product: what is not finite must not reach the episode before.
            downstream = if gate.keep == R::zero() { R::zero() } else { gate.keep * downstream };
        }
        carry_grad[0] = if carry.at([b, h]) == R::neg_infinity() { R::zero() } else { downstream };
    });
    LogSumGradients { scores: tensor(score_grads, [batch, heads, time]), carry: tensor(carry_grads, [batch, heads]) }
}
