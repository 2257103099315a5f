//! Layer normalization in plain tensor ops.

use super::inputs::{EPSILON, LayerNormGradients};
use crate::autodiff::{arrived, backward, leaf, tracked};
use crate::primitive::{float, primitive};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

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
    let (x, gain) = (leaf::<B, 2>(x), leaf::<B, 1>(gain));
    let bias = leaf::<B, 1>(primitive(gain.clone().inner().zeros_like())); // its value has no part in any gradient
    let y = layer_norm::<Autodiff<B>>(tracked(&x), tracked(&gain), tracked(&bias));
    let gradients = backward::<B, 2>(float(y), upstream);
    LayerNormGradients { x: arrived(&x, &gradients), gain: arrived(&gain, &gradients), bias: arrived(&bias, &gradients) }
}
