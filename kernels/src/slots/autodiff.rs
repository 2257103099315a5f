//! Slot attention as a node of Burn's autodiff graph. A node has one tensor: outputs and the last state are packed in rows.

use super::inputs::SlotInputs;
use super::ops::SlotOps;
use super::reference;
use crate::autodiff::node;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::tensor::ops::FloatTensor;

impl<B: SlotOps, C: CheckpointStrategy> SlotOps for Autodiff<B, C> {
    fn slot_attention(inputs: SlotInputs<Self>) -> FloatTensor<Self> {
        let inner = inputs.clone().map(|tensor| tensor.primitive);
        if !<B as SlotOps>::has_backward(&inner) {
            return reference::slot_attention(inputs);
        }
        let packed = B::slot_attention(inner.clone());
        node::<B, C, _, 6>(
            inputs.floats().each_ref(),
            packed,
            |_| inner,
            |inputs, grad, _| B::slot_attention_backward(inputs, grad).floats().map(Some),
        )
    }
}
