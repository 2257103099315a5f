//! The dense layer in plain tensor ops.

use super::Rectifier;
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
