//! The recurrence as a node of Burn's autodiff graph.

use super::inputs::RecurrenceInputs;
use super::ops::RecurrenceOps;
use super::reference;
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;

impl<B: RecurrenceOps, C: CheckpointStrategy> RecurrenceOps for Autodiff<B, C> {
    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        let x = &inputs.inputs.primitive;
        if !B::has_backward(&B::float_device(x), x.dtype()) {
            return reference::gated_recurrence(inputs);
        }
        let inner = inputs.clone().map(|tensor| tensor.primitive);
        let states = B::gated_recurrence(inner.clone());
        let saved = |states: &FloatTensor<B>| (inner, states.clone());
        node::<B, C, _, 3>(inputs.floats().each_ref(), states, saved, |(inputs, states), grad, _| {
            B::gated_recurrence_backward(inputs, states, grad).floats().map(Some)
        })
    }
}
