//! The dense layer in plain tensor ops.

use super::inputs::{Activation, LinearGradients, LinearSaved};
use crate::precision::{Precision, rounded};
use crate::primitive::{float, primitive};
use burn::tensor::{Tensor, activation::relu, backend::Backend, ops::FloatTensor};

pub(crate) fn linear<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    activation: Activation,
    precision: Precision,
) -> FloatTensor<B> {
    let [x, weight] = [x, weight].map(|factor| rounded::<B>(factor, precision));
    let y = float::<B, 2>(x).matmul(float::<B, 2>(weight)) + float::<B, 1>(bias).unsqueeze();
    primitive(activated(y, activation))
}

pub(crate) fn activated<B: Backend>(y: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    match activation {
        Activation::Identity => y,
        Activation::Relu => relu(y),
        Activation::Tanh => y.tanh(),
    }
}

/// By hand, without the gradient of `x` where it is not needed: a matrix product each for input and weight, a sum for the bias.
pub(crate) fn linear_backward<B: Backend>(saved: LinearSaved<B>, grad: FloatTensor<B>, needs_x: bool) -> LinearGradients<B> {
    let [x, weight, y, grad] = [saved.x, saved.weight, saved.y, grad].map(float::<B, 2>);
    let grad = before_activation(grad, y, saved.activation);
    let factor = |tensor| float::<B, 2>(rounded::<B>(primitive(tensor), saved.precision));
    let (x, weight, factors) = (factor(x), factor(weight), factor(grad.clone()));
    LinearGradients {
        x: needs_x.then(|| primitive(factors.clone().matmul(weight.transpose()))),
        weight: primitive(x.transpose().matmul(factors)),
        bias: primitive(grad.sum_dim(0).squeeze_dim::<1>(0)),
    }
}

/// The gradient of what an activation made `y` of.
pub(crate) fn before_activation<B: Backend>(grad: Tensor<B, 2>, y: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    match activation {
        Activation::Identity => grad,
        Activation::Relu => grad.mask_fill(y.lower_equal_elem(0.0), 0.0),
        Activation::Tanh => grad.clone() - grad * y.clone() * y,
    }
}
