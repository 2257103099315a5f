//! The selective scan as a node of Burn's autodiff graph. A node has one tensor: outputs and carry are packed in a row.

use super::inputs::{SelectiveGradients, SelectiveInputs};
use super::ops::SelectiveScanOps;
use super::reference;
use crate::autodiff::node;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;

impl<B: SelectiveScanOps, C: CheckpointStrategy> SelectiveScanOps for Autodiff<B, C> {
    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        let writes = &inputs.writes.primitive;
        if !B::has_backward(&B::float_device(writes), writes.shape()[2], writes.dtype()) {
            return reference::selective_scan(inputs);
        }
        let SelectiveInputs { inputs, steps, decays, writes, reads, carry, reset } = inputs;
        let inner = SelectiveInputs::<B> {
            inputs: inputs.primitive.clone(),
            steps: steps.primitive.clone(),
            decays: decays.primitive.clone(),
            writes: writes.primitive.clone(),
            reads: reads.primitive.clone(),
            carry: carry.primitive.clone(),
            reset,
        };
        let packed = B::selective_scan(inner.clone());
        let parents = [&inputs, &steps, &decays, &writes, &reads, &carry];
        node::<B, C, _, 6>(
            parents,
            packed,
            |_| inner,
            |inputs, grad, _| {
                let SelectiveGradients(gradients) = B::selective_scan_backward(inputs, grad);
                gradients.map(Some)
            },
        )
    }
}
