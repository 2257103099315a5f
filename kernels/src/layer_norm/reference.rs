//! Layer normalization in plain tensor ops.

use super::inputs::{EPSILON, LayerNormGradients};
use crate::autodiff::{arrived, backward, leaf};
use crate::primitive::{float, primitive};
use burn::backend::Autodiff;
use burn::tensor::{TensorMetadata, backend::Backend, ops::FloatTensor};

pub(crate) fn layer_norm<B: Backend>(x: FloatTensor<B>, gain: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    let (x, gain, bias) = (float::<B, 2>(x), float::<B, 1>(gain), float::<B, 1>(bias));
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    primitive(centred / (variance + EPSILON).sqrt() * gain.unsqueeze() + bias.unsqueeze())
}

pub(crate) fn layer_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    gain: FloatTensor<B>,
    upstream: FloatTensor<B>,
) -> LayerNormGradients<B> {
    let zeros = B::float_zeros(gain.shape(), &B::float_device(&gain), gain.dtype().into());
    let [x, gain, bias] = [x, gain, zeros].map(leaf::<B>); // the bias's value has no part in any gradient
    let y = layer_norm::<Autodiff<B>>(x.clone(), gain.clone(), bias.clone());
    let gradients = backward::<B>(y, upstream);
    let [x, gain, bias] = [x, gain, bias].map(|leaf| arrived::<B>(&leaf, &gradients));
    LayerNormGradients { x, gain, bias }
}
