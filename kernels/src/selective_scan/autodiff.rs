//! The selective scan as a node of Burn's autodiff graph. A node has one tensor: outputs and carry are packed in a row.

use super::inputs::SelectiveInputs;
use super::ops::SelectiveScanOps;
use super::reference;
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;

impl<B: SelectiveScanOps, C: CheckpointStrategy> SelectiveScanOps for Autodiff<B, C> {
    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        let writes = &inputs.writes.primitive;
        if !B::has_backward(&B::float_device(writes), writes.shape()[2], writes.dtype()) {
            return reference::selective_scan(inputs);
        }
        let inner = inputs.clone().map(|tensor| tensor.primitive);
        let packed = B::selective_scan(inner.clone());
        node::<B, C, _, 6>(
            inputs.floats().each_ref(),
            packed,
            |_| inner,
            |inputs, grad, _| B::selective_scan_backward(inputs, grad).floats().map(Some),
        )
    }
}
