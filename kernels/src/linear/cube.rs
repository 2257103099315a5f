//! The dense layer on a GPU: Burn's matrix products, and gradients that are summed over rows in parts.

use super::inputs::{LinearGradients, LinearSaved};
use super::ops::LinearOps;
use super::reference::before_activation;
use crate::cube::{column_sums, product_over_rows};
use crate::primitive::{float, primitive};
use burn::tensor::ops::FloatTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> LinearOps for CubeBackend<R, F, I, BT> {
    fn linear_backward(saved: LinearSaved<Self>, grad: FloatTensor<Self>, needs_x: bool) -> LinearGradients<Self> {
        let [x, weight, y, grad] = [saved.x, saved.weight, saved.y, grad].map(float::<Self, 2>);
        let grad = before_activation(grad, y, saved.activation);
        LinearGradients {
            x: needs_x.then(|| primitive(grad.clone().matmul(weight.transpose()))),
            weight: primitive(product_over_rows(x, grad.clone())),
            bias: primitive(column_sums(grad)),
        }
    }
}
