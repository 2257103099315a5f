//! Dropout as a node of Burn's autodiff graph.

use super::{mask::Dropout, ops::DropoutOps};
use crate::autodiff::{Autodiff, CheckpointStrategy, node};
use burn::tensor::ops::FloatTensor;

impl<B: DropoutOps, C: CheckpointStrategy> DropoutOps for Autodiff<B, C> {
    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let output = B::dropout_add(residual.primitive.clone(), branch.primitive.clone(), dropout);
        node::<B, C, _, 2>(
            [&residual, &branch],
            output,
            |_| dropout,
            |dropout, grad, [of_residual, of_branch]| {
                let residual = of_residual.then(|| grad.clone());
                [residual, of_branch.then(|| B::dropout_backward(grad, dropout))]
            },
        )
    }
}
