//! Layer normalisation in plain tensor ops.

use super::EPSILON;
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

pub(crate) fn layer_norm<B: Backend>(x: FloatTensor<B>, gain: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    let x = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(x));
    let gain = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(gain));
    let bias = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(bias));
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let y = centred / (variance + EPSILON).sqrt() * gain.unsqueeze() + bias.unsqueeze();
    y.into_primitive().tensor()
}
