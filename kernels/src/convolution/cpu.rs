//! The convolution on the CPU: tap by tap over blocks of channels that fit in registers. Backward, with `i` the input that output
//! `t` is at:
//!
//! ```text
//! du_s = sum over outputs t that see s of h_{i-s} dy_t        dh_n = sum over outputs t that see i - n of dy_t u_{i-n}
//! ```
//!
//! Backward tasks are blocks of channels, over all batch rows in order, so that no sum depends on the number of threads.

use super::inputs::{ConvolutionGradients, ConvolutionInputs};
use super::ops::ConvolutionOps;
use super::reference;
use crate::cpu::{Real, by_float, indices, made_in_chunks, serves, tensor, vectorize, view, viewable};
use burn::tensor::{DType, Device, TensorMetadata, ops::FloatTensor};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

/// Channels in a block.
const CHANNELS: usize = 32;
/// Below this many multiply-adds one thread is quicker than waking another.
const SEQUENTIAL_BELOW: usize = 1 << 17;

impl ConvolutionOps for Flex {
    fn has_backward(_device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype)
    }

    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        by_float!(
            inputs.inputs.dtype(),
            R => causal_convolution::<R>(inputs),
            _ => reference::causal_convolution(inputs),
        )
    }

    fn causal_convolution_backward(inputs: ConvolutionInputs<Self>, grad: FloatTensor<Self>) -> ConvolutionGradients<Self> {
        by_float!(
            grad.dtype(),
            R => causal_convolution_backward::<R>(inputs, grad),
            _ => reference::causal_convolution_backward(inputs, grad),
        )
    }
}

/// How many inputs before its own every output sees, never before the first input nor beyond the taps; and how many outputs there are.
fn past(first: &FlexTensor, input_time: usize, taps: usize) -> (Vec<usize>, usize) {
    let output_time = first.shape()[1];
    let own = |position: usize| input_time - output_time + position % output_time;
    let past = |(position, &first): (usize, &i64)| own(position).saturating_sub(first.max(0) as usize).min(taps - 1);
    (indices(first).iter().enumerate().map(past).collect(), output_time)
}

pub(crate) fn causal_convolution<R: Real>(inputs: ConvolutionInputs<Flex>) -> FloatTensor<Flex> {
    let inputs = inputs.viewable();
    let (past, time) = past(&inputs.first, inputs.inputs.shape()[1], inputs.taps.shape()[0]);
    let inputs = inputs.views::<R>();
    let [batch, input_time, channels] = inputs.inputs.shape;
    let row = |b: usize, outputs: &mut [R]| {
        vectorize(
            #[inline(always)]
            || {
                for start in (0..channels).step_by(CHANNELS) {
                    let block = CHANNELS.min(channels - start);
                    for t in 0..time {
                        let own = input_time - time + t;
                        let mut sums = [R::zero(); CHANNELS];
                        for lag in 0..=past[b * time + t] {
                            let tap = inputs.taps.row([lag, start], block);
                            let input = inputs.inputs.row([b, own - lag, start], block);
                            for ((sum, &tap), &input) in sums.iter_mut().zip(tap).zip(input) {
                                *sum = tap.mul_add(input, *sum);
                            }
                        }
                        outputs[t * channels + start..][..block].copy_from_slice(&sums[..block]);
                    }
                }
            },
        );
    };
    let is_sequential = work(&past, channels) < SEQUENTIAL_BELOW;
    let outputs = made_in_chunks(batch * time * channels, time * channels, is_sequential, row);
    tensor(outputs, [batch, time, channels])
}

/// Multiply-adds of one pass.
fn work(past: &[usize], channels: usize) -> usize {
    past.iter().map(|past| past + 1).sum::<usize>() * channels
}

pub(crate) fn causal_convolution_backward<R: Real>(
    inputs: ConvolutionInputs<Flex>,
    grad: FloatTensor<Flex>,
) -> ConvolutionGradients<Flex> {
    let inputs = inputs.viewable();
    let (past, time) = past(&inputs.first, inputs.inputs.shape()[1], inputs.taps.shape()[0]);
    let inputs = inputs.views::<R>();
    let grad = viewable(grad);
    let grad = view::<R, 3>(&grad);
    let [batch, input_time, channels] = inputs.inputs.shape;
    let [taps, _] = inputs.taps.shape;
    let in_sight = past.iter().max().map_or(0, |past| past + 1);

    // One block of channels: gradients of its inputs, [batch, input_time, block], and of its taps in sight, [in_sight, block].
    let block = |index: usize| {
        let start = index * CHANNELS;
        let block = CHANNELS.min(channels - start);
        let mut grad_inputs = vec![R::zero(); batch * input_time * block];
        let mut grad_taps = vec![R::zero(); in_sight * block];
        vectorize(
            #[inline(always)]
            || {
                for b in 0..batch {
                    for t in 0..time {
                        let own = input_time - time + t;
                        let grad = grad.row([b, t, start], block);
                        for lag in 0..=past[b * time + t] {
                            let tap = inputs.taps.row([lag, start], block);
                            let input = inputs.inputs.row([b, own - lag, start], block);
                            let grad_input = &mut grad_inputs[(b * input_time + own - lag) * block..][..block];
                            for ((sum, &tap), &grad) in grad_input.iter_mut().zip(tap).zip(grad) {
                                *sum = tap.mul_add(grad, *sum);
                            }
                            let grad_tap = &mut grad_taps[lag * block..][..block];
                            for ((sum, &input), &grad) in grad_tap.iter_mut().zip(input).zip(grad) {
                                *sum = input.mul_add(grad, *sum);
                            }
                        }
                    }
                }
            },
        );
        (grad_inputs, grad_taps)
    };
    let blocks = 0..channels.div_ceil(CHANNELS);
    let blocks: Vec<(Vec<R>, Vec<R>)> = if work(&past, channels) < SEQUENTIAL_BELOW {
        blocks.map(block).collect()
    } else {
        blocks.into_par_iter().map(block).collect()
    };

    let mut grad_inputs = vec![R::zero(); batch * input_time * channels];
    let mut grad_taps = vec![R::zero(); taps * channels];
    for (index, (of_inputs, of_taps)) in blocks.iter().enumerate() {
        let (start, block) = (index * CHANNELS, CHANNELS.min(channels - index * CHANNELS));
        for (all, part) in [(&mut grad_inputs, of_inputs), (&mut grad_taps, of_taps)] {
            for (all, part) in all.chunks_exact_mut(channels).zip(part.chunks_exact(block)) {
                all[start..start + block].copy_from_slice(part);
            }
        }
    }
    ConvolutionGradients { inputs: tensor(grad_inputs, [batch, input_time, channels]), taps: tensor(grad_taps, [taps, channels]) }
}
