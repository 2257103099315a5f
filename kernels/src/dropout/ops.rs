//! The op: what a backend may implement, and the checked function.

use super::{mask::Dropout, reference};
use crate::primitive::{float, primitive};
use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};

/// Dropout of a backend, on matrices `[rows, width]`.
pub trait DropoutOps: Backend {
    /// [`dropout_add`], whether anything can be dropped or not.
    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        reference::dropout_add::<Self>(residual, branch, dropout)
    }

    /// The gradient of the branch.
    fn dropout_backward(grad: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        reference::masked::<Self>(grad, dropout)
    }
}

/// `residual + dropout(branch)`: what ends both halves of a residual block.
///
/// # Shapes
/// - `residual`, `branch`: `[rows, width]`
/// - returns: `[rows, width]`
/// # Panics
/// If the shapes differ.
pub fn dropout_add<B: DropoutOps>(residual: Tensor<B, 2>, branch: Tensor<B, 2>, dropout: Dropout) -> Tensor<B, 2> {
    assert_eq!(residual.dims(), branch.dims(), "dropout_add: the branch does not fit the residual stream");
    if !dropout.is_on() {
        return residual + branch;
    }
    float(B::dropout_add(primitive(residual), primitive(branch), dropout))
}
