//! The op: what a backend may implement, and the checked function.

use super::inputs::{SelectiveGradients, SelectiveInputs, SelectiveScan};
use super::reference;
use crate::primitive::float;
use burn::tensor::{Bool, DType, Device, Tensor, backend::Backend, ops::FloatTensor};

/// Selective scans of a backend.
pub trait SelectiveScanOps: Backend {
    /// Whether the backend has a backward pass of its own for so many states and numbers of this type; else `Autodiff` records the
    /// reference.
    fn has_backward(device: &Device<Self>, states: usize, dtype: DType) -> bool {
        let _ = (device, states, dtype);
        false
    }

    /// [`selective_scan`], outputs and last carry packed in a row: `[batch, (time + states) * channels]`.
    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        reference::selective_scan(inputs)
    }

    /// Gradients of a selective scan, given that of the packed row.
    fn selective_scan_backward(inputs: SelectiveInputs<Self>, grad: FloatTensor<Self>) -> SelectiveGradients<Self> {
        inputs.derive(reference::selective_scan, grad)
    }
}

/// The selective scan from `carry`, cut at episode starts.
///
/// # Shapes
/// - `scan`: see its fields
/// - `reset`: `[batch, time]`, true on the first token of an episode
/// - `carry`: `[batch, states, channels]`
/// - returns: `[batch, time, channels]`, and the carry after the last token
/// # Panics
/// If the shapes disagree or `time` is 0.
pub fn selective_scan<B: SelectiveScanOps>(
    scan: SelectiveScan<B>,
    reset: Tensor<B, 2, Bool>,
    carry: Tensor<B, 3>,
) -> (Tensor<B, 3>, Tensor<B, 3>) {
    let [batch, time, channels] = scan.inputs.dims();
    let [states, _] = scan.decays.dims();
    assert!(time > 0, "selective_scan: needs at least one token");
    assert_eq!(scan.steps.dims(), [batch, time, channels], "selective_scan: steps do not fit inputs");
    assert_eq!(scan.decays.dims(), [states, channels], "selective_scan: decays do not fit inputs");
    assert_eq!(scan.writes.dims(), [batch, time, states], "selective_scan: writes do not fit inputs and decays");
    assert_eq!(scan.reads.dims(), [batch, time, states], "selective_scan: reads do not fit inputs and decays");
    assert_eq!(carry.dims(), [batch, states, channels], "selective_scan: the carry does not fit inputs and decays");
    assert_eq!(reset.dims(), [batch, time], "selective_scan: reset flags do not fit inputs");
    let carry = if carry.dtype() == scan.inputs.dtype() { carry } else { carry.cast(scan.inputs.dtype()) };
    let SelectiveScan { inputs, steps, decays, writes, reads } = scan;
    let inputs = SelectiveInputs::new(inputs, steps, decays, writes, reads, carry, reset.into_primitive());
    let packed = float::<B, 2>(B::selective_scan(inputs));
    let outputs = time * channels;
    (
        packed.clone().slice([0..batch, 0..outputs]).reshape([batch, time, channels]),
        packed.slice([0..batch, outputs..outputs + states * channels]).reshape([batch, states, channels]),
    )
}
