//! The selective scan by the gated recurrence over all states of all channels, in plain tensor ops.

use super::inputs::SelectiveInputs;
use crate::primitive::{float, primitive};
use crate::recurrence::RecurrenceInputs;
use crate::recurrence::reference::gated_recurrence;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

/// Outputs and last carry in a row: `[batch, time * channels + states * channels]`.
pub(crate) fn selective_scan<B: Backend>(inputs: SelectiveInputs<B>) -> FloatTensor<B> {
    let [u, steps, writes, reads, carry] =
        [inputs.inputs, inputs.steps, inputs.writes, inputs.reads, inputs.carry].map(float::<B, 3>);
    let decays = float::<B, 2>(inputs.decays);
    let ([batch, time, channels], [states, _]) = (u.dims(), decays.dims());
    let all = [batch, time, states, channels];
    let gates = (steps.clone().unsqueeze_dim::<4>(2) * decays.reshape([1, 1, states, channels])).exp();
    let written = (steps * u).unsqueeze_dim::<4>(2).expand(all) * writes.unsqueeze_dim::<4>(3).expand(all);
    let hidden = float::<B, 3>(gated_recurrence::<B>(RecurrenceInputs::new(
        gates.reshape([batch, time, states * channels]),
        written.reshape([batch, time, states * channels]),
        carry.reshape([batch, states * channels]),
        inputs.reset,
    )));
    let last = hidden.clone().slice([0..batch, time - 1..time]).reshape([batch, states * channels]);
    let outputs = (hidden.reshape(all) * reads.unsqueeze_dim::<4>(3).expand(all)).sum_dim(2);
    primitive(Tensor::cat(vec![outputs.reshape([batch, time * channels]), last], 1))
}
