//! The op: what a backend may implement, and the checked function.

use super::inputs::{Activation, LinearGradients, LinearSaved};
use super::reference;
use crate::precision::{Precision, current};
use crate::primitive::{float, primitive};
use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};

/// Dense layers of a backend.
pub trait LinearOps: Backend {
    /// [`linear`], with the factors of its product rounded as `precision` says.
    fn linear_activated(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> FloatTensor<Self> {
        reference::linear::<Self>(x, weight, bias, activation, precision)
    }

    /// Gradients of a dense layer.
    fn linear_backward(saved: LinearSaved<Self>, grad: FloatTensor<Self>, needs_x: bool) -> LinearGradients<Self> {
        reference::linear_backward(saved, grad, needs_x)
    }
}

/// `y = activation(x weight + bias)`.
///
/// The product has this thread's precision ([`crate::precision`]), forward and backward.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - `weight`: `[inputs, outputs]` (Burn's layout, the transpose of PyTorch's)
/// - `bias`: `[outputs]`
/// - returns: `[rows, outputs]`
/// # Panics
/// If the shapes disagree.
pub fn linear<B: LinearOps>(x: Tensor<B, 2>, weight: Tensor<B, 2>, bias: Tensor<B, 1>, activation: Activation) -> Tensor<B, 2> {
    let [inputs, outputs] = weight.dims();
    assert_eq!(x.dims()[1], inputs, "linear: x does not fit a weight of [{inputs}, {outputs}]");
    assert_eq!(bias.dims(), [outputs], "linear: bias does not fit a weight of [{inputs}, {outputs}]");
    float(B::linear_activated(primitive(x), primitive(weight), primitive(bias), activation, current()))
}
