//! The selective scan by the gated recurrence over all states of all channels, in plain tensor ops.

use super::inputs::{SelectiveGradients, SelectiveInputs};
use crate::autodiff::{arrived, backward, leaf, tracked};
use crate::primitive::{float, primitive};
use crate::recurrence::RecurrenceInputs;
use crate::recurrence::reference::gated_recurrence;
use burn::backend::Autodiff;
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
    let hidden = float::<B, 3>(gated_recurrence::<B>(RecurrenceInputs {
        gates: primitive(gates.reshape([batch, time, states * channels])),
        inputs: primitive(written.reshape([batch, time, states * channels])),
        reset: inputs.reset,
        carry: primitive(carry.reshape([batch, states * channels])),
    }));
    let last = hidden.clone().slice([0..batch, time - 1..time]).reshape([batch, states * channels]);
    let outputs = (hidden.reshape(all) * reads.unsqueeze_dim::<4>(3).expand(all)).sum_dim(2);
    primitive(Tensor::cat(vec![outputs.reshape([batch, time * channels]), last], 1))
}

pub(crate) fn selective_scan_backward<B: Backend>(inputs: SelectiveInputs<B>, upstream: FloatTensor<B>) -> SelectiveGradients<B> {
    let [x, steps, writes, reads, carry] =
        [inputs.inputs, inputs.steps, inputs.writes, inputs.reads, inputs.carry].map(leaf::<B, 3>);
    let decays = leaf::<B, 2>(inputs.decays);
    let packed = selective_scan::<Autodiff<B>>(SelectiveInputs {
        inputs: tracked(&x),
        steps: tracked(&steps),
        decays: tracked(&decays),
        writes: tracked(&writes),
        reads: tracked(&reads),
        carry: tracked(&carry),
        reset: inputs.reset,
    });
    let gradients = backward::<B, 2>(float(packed), upstream);
    let [x, steps, writes, reads, carry] = [x, steps, writes, reads, carry].map(|leaf| arrived(&leaf, &gradients));
    SelectiveGradients([x, steps, arrived(&decays, &gradients), writes, reads, carry])
}
