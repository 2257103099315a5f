//! The running log-sum-exp as a node of Burn's autodiff graph.

use super::{LogSumGradients, LogSumInputs};
use crate::backend::KernelBackend;
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::ops::FloatTensor;

/// Also the attention scan's, for its log-sums.
#[derive(Debug)]
pub(crate) struct RunningLogSumExp;

impl<B: KernelBackend> Backward<B, 2> for RunningLogSumExp {
    type State = (LogSumInputs<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (inputs, log_sums) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let LogSumGradients { scores, carry } = B::running_log_sum_exp_backward(inputs, log_sums, grad);
        for (parent, grad) in ops.parents.into_iter().zip([scores, carry]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

pub(crate) fn running_log_sum_exp<B: KernelBackend, C: CheckpointStrategy>(
    inputs: LogSumInputs<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    let LogSumInputs { scores, reset, carry } = inputs;
    let inner = LogSumInputs::<B> { scores: scores.primitive.clone(), reset, carry: carry.primitive.clone() };
    let log_sums = B::running_log_sum_exp(inner.clone());
    match RunningLogSumExp.prepare::<C>([scores.node, carry.node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((inner, log_sums.clone()), log_sums),
        OpsKind::UnTracked(prepared) => prepared.finish(log_sums),
    }
}
