//! The convolution tap by tap in plain tensor ops, differentiable by Burn.

use super::inputs::ConvolutionInputs;
use crate::primitive::{float, primitive};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Int, Tensor};

pub(crate) fn causal_convolution<B: Backend>(inputs: ConvolutionInputs<B>) -> FloatTensor<B> {
    let taps = float::<B, 2>(inputs.taps);
    let first = Tensor::<B, 2, Int>::from_primitive(inputs.first);
    let inputs = float::<B, 3>(inputs.inputs);
    let [batch, input_time, channels] = inputs.dims();
    let [_, output_time] = first.dims();
    let device = inputs.device();
    let history = input_time - output_time;
    let own = Tensor::<B, 1, Int>::arange(history as i64..input_time as i64, &device).reshape([1, output_time]);
    let past = own.expand([batch, output_time]) - first; // tokens before its own that each output sees
    let mut sum = Tensor::zeros([batch, output_time, channels], (&device, inputs.dtype()));
    for lag in 0..taps.dims()[0].min(input_time) {
        // Outputs before `lag` see nothing so far back; where the history is too short, zeros stand for it.
        let missing = lag.saturating_sub(history);
        let seen = inputs.clone().slice([0..batch, history + missing - lag..input_time - lag, 0..channels]);
        let seen = match missing {
            0 => seen,
            _ => Tensor::cat(vec![Tensor::zeros([batch, missing, channels], (&device, inputs.dtype())), seen], 1),
        };
        let hidden = past.clone().lower_elem(lag as i64).unsqueeze_dim::<3>(2).expand([batch, output_time, channels]);
        let tap = taps.clone().slice([lag..lag + 1, 0..channels]).unsqueeze::<3>();
        sum = sum + (seen * tap).mask_fill(hidden, 0.0);
    }
    primitive(sum)
}
