//! The dense layer as a node of Burn's autodiff graph.

use super::inputs::{Activation, LinearGradients, LinearSaved};
use super::ops::LinearOps;
use crate::autodiff::node;
use crate::precision::Precision;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::tensor::ops::FloatTensor;

impl<B: LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear_activated(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let [x_inner, weight_inner, bias_inner] = [&x, &weight, &bias].map(|tensor| tensor.primitive.clone());
        let y = B::linear_activated(x_inner.clone(), weight_inner.clone(), bias_inner, activation, precision);
        let saved = |y: &_| LinearSaved::<B> { x: x_inner, weight: weight_inner, y: Clone::clone(y), activation, precision };
        node::<B, C, _, 3>([&x, &weight, &bias], y, saved, |saved, grad, [needs_x, ..]| {
            let LinearGradients { x, weight, bias } = B::linear_backward(saved, grad, needs_x);
            [x, Some(weight), Some(bias)]
        })
    }
}
