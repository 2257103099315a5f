//! A gated cell as a node of Burn's autodiff graph. A node has one tensor: outputs and the last state are packed in a row.

use super::inputs::{CellInputs, CellOutputs};
use super::ops::GatedCellOps;
use super::reference;
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::TensorMetadata;

impl<B: GatedCellOps, C: CheckpointStrategy> GatedCellOps for Autodiff<B, C> {
    fn gated_cell(inputs: CellInputs<Self>) -> CellOutputs<Self> {
        let x = &inputs.inputs.primitive;
        if !B::has_backward(&B::float_device(x), x.dtype()) {
            return CellOutputs { packed: reference::gated_cell(inputs), trace: None };
        }
        let inner = inputs.clone().map(|tensor| tensor.primitive);
        let outputs = B::gated_cell(inner.clone());
        let saved = |_: &_| (inner, outputs.clone());
        let packed =
            node::<B, C, _, 5>(inputs.floats().each_ref(), outputs.packed.clone(), saved, |(inputs, outputs), grad, _| {
                B::gated_cell_backward(inputs, outputs, grad).floats().map(Some)
            });
        CellOutputs { packed, trace: None }
    }
}
