//! The running log-sum-exp in plain tensor ops: that of the attention scan's reference, with nothing to attend to.

use super::LogSumInputs;
use crate::scan::{self, ScanInputs};
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

pub(crate) fn running_log_sum_exp<B: Backend>(inputs: LogSumInputs<B>) -> FloatTensor<B> {
    let scores = Tensor::<B, 3>::from_primitive(TensorPrimitive::Float(inputs.scores));
    let [batch, heads, time] = scores.dims();
    let options = (&scores.device(), scores.dtype());
    let outputs = scan::reference::attention_scan::<B>(ScanInputs {
        values: Tensor::<B, 4>::zeros([batch, heads, time, 1], options).into_primitive().tensor(),
        carry_output: Tensor::<B, 3>::zeros([batch, heads, 1], options).into_primitive().tensor(),
        scores: scores.into_primitive().tensor(),
        reset: inputs.reset,
        carry_log_sum: inputs.carry,
    });
    outputs.log_sums
}
