//! The scan as two nodes of Burn's autodiff graph that share one forward pass: outputs and log-sums.
//!
//! Burn's graph wants one tensor a node. The outputs' node has the hand-written backward pass; the log-sums' node, which only a
//! carry that is differentiated through uses, has its own.

use super::{ScanGradients, ScanInputs, ScanOutputs};
use crate::{
    backend::KernelBackend,
    log_sum_exp::{LogSumInputs, autodiff::RunningLogSumExp},
};
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};

#[derive(Debug)]
struct AttentionScan;

impl<B: KernelBackend> Backward<B, 4> for AttentionScan {
    type State = (ScanInputs<B>, ScanOutputs<B>);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let (inputs, outputs) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let ScanGradients { scores, values, carry_log_sum, carry_output } = B::attention_scan_backward(inputs, outputs, grad);
        for (parent, grad) in ops.parents.into_iter().zip([scores, values, carry_log_sum, carry_output]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

pub(crate) fn attention_scan<B: KernelBackend, C: CheckpointStrategy>(
    inputs: ScanInputs<Autodiff<B, C>>,
) -> ScanOutputs<Autodiff<B, C>> {
    let ScanInputs { scores, values, reset, carry_log_sum, carry_output } = inputs;
    let inner = ScanInputs::<B> {
        scores: scores.primitive.clone(),
        values: values.primitive.clone(),
        reset,
        carry_log_sum: carry_log_sum.primitive.clone(),
        carry_output: carry_output.primitive.clone(),
    };
    let forward = B::attention_scan(inner.clone());

    let nodes = [scores.node.clone(), values.node.clone(), carry_log_sum.node.clone(), carry_output.node.clone()];
    let outputs = match AttentionScan.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((inner.clone(), forward.clone()), forward.outputs),
        OpsKind::UnTracked(prepared) => prepared.finish(forward.outputs),
    };
    let nodes = [scores.node.clone(), carry_log_sum.node.clone()];
    let log_sums = match RunningLogSumExp.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let inputs = LogSumInputs::<B> { scores: inner.scores, reset: inner.reset, carry: inner.carry_log_sum };
            prepared.finish((inputs, forward.log_sums.clone()), forward.log_sums)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(forward.log_sums),
    };
    ScanOutputs { outputs, log_sums }
}
