//! The op: what a backend may implement, and the checked function.

use super::{inputs::LayerNormGradients, reference};
use crate::primitive::{float, primitive};
use burn::tensor::{DType, Device, Tensor, backend::Backend, ops::FloatTensor};

/// Layer normalization of a backend.
pub trait LayerNormOps: Backend {
    /// Whether the backend has a backward pass of its own for numbers of this type; else `Autodiff` records the reference.
    fn has_backward(device: &Device<Self>, dtype: DType) -> bool {
        let _ = (device, dtype);
        false
    }

    /// [`layer_norm`].
    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        reference::layer_norm::<Self>(x, gain, bias)
    }

    /// Gradients of layer normalization.
    fn layer_norm_backward(x: FloatTensor<Self>, gain: FloatTensor<Self>, grad: FloatTensor<Self>) -> LayerNormGradients<Self> {
        reference::layer_norm_backward(x, gain, grad)
    }
}

/// Every row brought to mean 0 and variance 1 (population), then scaled by `gain` and shifted by `bias`.
///
/// # Shapes
/// - `x`: `[rows, width]`
/// - `gain`, `bias`: `[width]`
/// - returns: `[rows, width]`
/// # Panics
/// If the shapes disagree.
pub fn layer_norm<B: LayerNormOps>(x: Tensor<B, 2>, gain: Tensor<B, 1>, bias: Tensor<B, 1>) -> Tensor<B, 2> {
    let [_, width] = x.dims();
    assert_eq!(gain.dims(), [width], "layer_norm: gain does not fit a width of {width}");
    assert_eq!(bias.dims(), [width], "layer_norm: bias does not fit a width of {width}");
    float(B::layer_norm_rows(primitive(x), primitive(gain), primitive(bias)))
}
