//! The recurrence as a node of Burn's autodiff graph.

use super::inputs::{RecurrenceGradients, RecurrenceInputs};
use super::ops::RecurrenceOps;
use super::reference;
use crate::autodiff::node;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;

impl<B: RecurrenceOps, C: CheckpointStrategy> RecurrenceOps for Autodiff<B, C> {
    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        let x = &inputs.inputs.primitive;
        if !B::has_backward(&B::float_device(x), x.dtype()) {
            return reference::gated_recurrence(inputs);
        }
        let RecurrenceInputs { gates, inputs, reset, carry } = inputs;
        let inner = RecurrenceInputs::<B> {
            gates: gates.primitive.clone(),
            inputs: inputs.primitive.clone(),
            reset,
            carry: carry.primitive.clone(),
        };
        let states = B::gated_recurrence(inner.clone());
        let saved = |states: &FloatTensor<B>| (inner, states.clone());
        node::<B, C, _, 3>([&gates, &inputs, &carry], states, saved, |(inputs, states), grad, _| {
            let RecurrenceGradients { gates, inputs, carry } = B::gated_recurrence_backward(inputs, states, grad);
            [gates, inputs, carry].map(Some)
        })
    }
}
