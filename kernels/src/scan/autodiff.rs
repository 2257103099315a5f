//! The scan as two nodes of Burn's autodiff graph that share one forward pass: outputs and log-sums.
//!
//! Burn's graph wants one tensor a node. The outputs' node has the scan's backward pass; the log-sums' node, which only a carry that
//! is differentiated through uses, has that of the running log-sum-exp.

use super::inputs::{LogSumInputs, ScanInputs, ScanOutputs};
use super::ops::ScanOps;
use super::reference;
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;

impl<B: ScanOps, C: CheckpointStrategy> ScanOps for Autodiff<B, C> {
    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        let x = &inputs.values.primitive;
        if !B::has_backward(&B::float_device(x), x.shape()[3], x.dtype()) {
            return reference::attention_scan(inputs);
        }
        let inner = inputs.clone().map(|tensor| tensor.primitive);
        let forward = B::attention_scan(inner.clone());
        let log_sum_inputs =
            LogSumInputs::<B> { scores: inner.scores.clone(), reset: inner.reset.clone(), carry: inner.carry_log_sum.clone() };
        let saved = |_: &_| (inner, forward.clone());
        let outputs =
            node::<B, C, _, 4>(inputs.floats().each_ref(), forward.outputs.clone(), saved, |(inputs, outputs), grad, _| {
                B::attention_scan_backward(inputs, outputs, grad).floats().map(Some)
            });
        let log_sums = log_sum_node::<B, C>([&inputs.scores, &inputs.carry_log_sum], log_sum_inputs, forward.log_sums);
        ScanOutputs { outputs, log_sums }
    }

    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        let x = &inputs.scores.primitive;
        if !B::has_log_sum_backward(&B::float_device(x), x.dtype()) {
            return reference::running_log_sum_exp(inputs);
        }
        let inner = inputs.clone().map(|tensor| tensor.primitive);
        let log_sums = B::running_log_sum_exp(inner.clone());
        log_sum_node::<B, C>(inputs.floats().each_ref(), inner, log_sums)
    }
}

/// Log-sums as a node whose parents are the scores and the carry.
fn log_sum_node<B: ScanOps, C: CheckpointStrategy>(
    parents: [&FloatTensor<Autodiff<B, C>>; 2],
    inputs: LogSumInputs<B>,
    log_sums: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    node::<B, C, _, 2>(
        parents,
        log_sums,
        |log_sums| (inputs, log_sums.clone()),
        |(inputs, log_sums), grad, _| B::running_log_sum_exp_backward(inputs, log_sums, grad).floats().map(Some),
    )
}
