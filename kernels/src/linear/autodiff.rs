//! The dense layer as a node of Burn's autodiff graph.

use super::inputs::{Activation, LinearGradients, LinearSaved};
use super::ops::LinearOps;
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::ops::FloatTensor;

impl<B: LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear_activated(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let y = B::linear_activated(x.primitive.clone(), weight.primitive.clone(), bias.primitive.clone(), activation);
        let saved =
            |y: &_| LinearSaved::<B> { x: x.primitive.clone(), weight: weight.primitive.clone(), y: Clone::clone(y), activation };
        node::<B, C, _, 3>([&x, &weight, &bias], y, saved, |saved, grad, [needs_x, ..]| {
            let LinearGradients { x, weight, bias } = B::linear_backward(saved, grad, needs_x);
            [x, Some(weight), Some(bias)]
        })
    }
}
