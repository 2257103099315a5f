//! Layer normalization as a node of Burn's autodiff graph.

use super::{inputs::LayerNormGradients, ops::LayerNormOps, reference};
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::TensorMetadata;
use burn::tensor::ops::FloatTensor;

impl<B: LayerNormOps, C: CheckpointStrategy> LayerNormOps for Autodiff<B, C> {
    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        if !B::has_backward(&B::float_device(&x.primitive), x.primitive.dtype()) {
            return reference::layer_norm::<Self>(x, gain, bias);
        }
        let y = B::layer_norm_rows(x.primitive.clone(), gain.primitive.clone(), bias.primitive.clone());
        let saved = |_: &_| [x.primitive.clone(), gain.primitive.clone()];
        node::<B, C, _, 3>([&x, &gain, &bias], y, saved, |[x, gain], grad, _| {
            let LayerNormGradients { x, gain, bias } = B::layer_norm_backward(x, gain, grad);
            [x, gain, bias].map(Some)
        })
    }
}
