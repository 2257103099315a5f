//! The op: what a backend may implement, and the checked function.

use super::inputs::{Cell, CellGradients, CellInputs, CellOutputs};
use super::reference;
use crate::primitive::float;
use burn::tensor::{Bool, DType, Device, Tensor, backend::Backend, ops::FloatTensor};

/// Gated cells of a backend.
pub trait GatedCellOps: Backend {
    /// Whether the backend has a backward pass of its own for numbers of this type; else `Autodiff` records the reference.
    fn has_backward(device: &Device<Self>, dtype: DType) -> bool {
        let _ = (device, dtype);
        false
    }

    /// [`gated_cell`].
    fn gated_cell(inputs: CellInputs<Self>) -> CellOutputs<Self> {
        CellOutputs { packed: reference::gated_cell(inputs), trace: None }
    }

    /// Gradients of a gated cell, given what it computed and the gradient of the packed row.
    fn gated_cell_backward(inputs: CellInputs<Self>, outputs: CellOutputs<Self>, grad: FloatTensor<Self>) -> CellGradients<Self> {
        let _ = outputs;
        inputs.derive(reference::gated_cell, grad)
    }
}

/// LSTM or GRU over a sequence from `carry`, from `fresh` at episode starts.
///
/// # Shapes
/// - `inputs`: what the input adds to the gates, `[batch, time, gates * width]`, see [`Cell`] for their order
/// - `weight`, `bias`: of the state, `[width, gates * width]` and `[gates * width]`
/// - `fresh`: `[parts, width]`
/// - `reset`: `[batch, time]`, true on the first token of an episode
/// - `carry`: `[batch, parts, width]`
/// - returns: every `h_t`, `[batch, time, width]`, and the state after the last token
/// # Panics
/// If the shapes disagree or `time` is 0.
pub fn gated_cell<B: GatedCellOps>(
    cell: Cell,
    inputs: Tensor<B, 3>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 1>,
    fresh: Tensor<B, 2>,
    reset: Tensor<B, 2, Bool>,
    carry: Tensor<B, 3>,
) -> (Tensor<B, 3>, Tensor<B, 3>) {
    let ([batch, time, gates], [width, _], parts) = (inputs.dims(), weight.dims(), cell.parts());
    assert!(time > 0, "gated_cell: needs at least one token");
    assert_eq!(gates, cell.gates() * width, "gated_cell: inputs do not fit the weight");
    assert_eq!(weight.dims(), [width, gates], "gated_cell: the weight has another number of gates");
    assert_eq!(bias.dims(), [gates], "gated_cell: the bias does not fit the weight");
    assert_eq!(fresh.dims(), [parts, width], "gated_cell: the fresh state does not fit the weight");
    assert_eq!(reset.dims(), [batch, time], "gated_cell: reset flags do not fit inputs");
    assert_eq!(carry.dims(), [batch, parts, width], "gated_cell: the carry does not fit inputs");
    // A first carry is made before the inputs' float type is known.
    let carry = if carry.dtype() == inputs.dtype() { carry } else { carry.cast(inputs.dtype()) };
    let inputs = CellInputs::new(inputs, weight, bias, fresh, carry, reset.into_primitive(), cell);
    let packed = float::<B, 2>(B::gated_cell(inputs).packed);
    (
        packed.clone().slice([0..batch, 0..time * width]).reshape([batch, time, width]),
        packed.slice([0..batch, time * width..(time + parts) * width]).reshape([batch, parts, width]),
    )
}
