//! The dense layer in plain tensor ops.

use super::{LinearGradients, LinearSaved, Rectifier};
use burn::tensor::{Tensor, TensorPrimitive, activation::relu, backend::Backend, ops::FloatTensor};

pub(crate) fn linear<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    rectifier: Rectifier,
) -> FloatTensor<B> {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x));
    let weight = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(weight));
    let bias = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(bias));
    let y = x.matmul(weight) + bias.unsqueeze();
    let y = match rectifier {
        Rectifier::None => y,
        Rectifier::Relu => relu(y),
        Rectifier::Tanh => y.tanh(),
    };
    y.into_primitive().tensor()
}

/// By hand, as a graph's node asks for it: a matrix product each for input and weight, a sum for the bias.
pub(crate) fn linear_backward<B: Backend>(saved: LinearSaved<B>, grad: FloatTensor<B>, needs_x: bool) -> LinearGradients<B> {
    let [x, weight, y, grad] =
        [saved.x, saved.weight, saved.y, grad].map(|primitive| Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(primitive)));
    let grad = match saved.rectifier {
        Rectifier::None => grad,
        Rectifier::Relu => grad.mask_fill(y.lower_equal_elem(0.0), 0.0),
        Rectifier::Tanh => grad.clone() - grad * y.clone() * y,
    };
    LinearGradients {
        x: needs_x.then(|| grad.clone().matmul(weight.transpose()).into_primitive().tensor()),
        weight: x.transpose().matmul(grad.clone()).into_primitive().tensor(),
        bias: grad.sum_dim(0).squeeze_dim::<1>(0).into_primitive().tensor(),
    }
}
