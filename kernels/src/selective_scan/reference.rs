//! The selective scan by the gated recurrence over all states of all channels, in plain tensor ops.

use super::SelectiveInputs;
use crate::recurrence::{self, RecurrenceInputs};
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

/// Outputs and last carry in a row: `[batch, time * channels + states * channels]`.
pub(crate) fn selective_scan<B: Backend>(inputs: SelectiveInputs<B>) -> FloatTensor<B> {
    let [u, steps, writes, reads, carry] = [inputs.inputs, inputs.steps, inputs.writes, inputs.reads, inputs.carry]
        .map(|primitive| Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(primitive)));
    let decays = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(inputs.decays));
    let ([batch, time, channels], [states, _]) = (u.dims(), decays.dims());
    let all = [batch, time, states, channels];
    let gates = (steps.clone().unsqueeze_dim::<4>(2) * decays.reshape([1, 1, states, channels])).exp();
    let written = (steps * u).unsqueeze_dim::<4>(2).expand(all) * writes.unsqueeze_dim::<4>(3).expand(all);
    let hidden = recurrence::reference::gated_recurrence::<B>(RecurrenceInputs {
        gates: gates.reshape([batch, time, states * channels]).into_primitive().tensor(),
        inputs: written.reshape([batch, time, states * channels]).into_primitive().tensor(),
        reset: inputs.reset,
        carry: carry.reshape([batch, states * channels]).into_primitive().tensor(),
    });
    let hidden = Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(hidden));
    let last = hidden.clone().slice([0..batch, time - 1..time]).reshape([batch, states * channels]);
    let outputs = (hidden.reshape(all) * reads.unsqueeze_dim::<4>(3).expand(all)).sum_dim(2);
    Tensor::cat(vec![outputs.reshape([batch, time * channels]), last], 1).into_primitive().tensor()
}
