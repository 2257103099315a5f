//! Dropout on the CPU: one pass over residual and branch, the mask recomputed wherever it is needed.

use super::mask::{Dropout, column_hash};
use super::ops::DropoutOps;
use super::reference;
use crate::cpu::{Real, by_float, made_in_chunks, tensor, vectorize, view, viewable};
use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;

/// Rows that one task takes.
const ROWS: usize = 64;

impl DropoutOps for Flex {
    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        by_float!(
            branch.dtype(),
            R => dropout_add::<R>(Some(residual), branch, dropout),
            _ => reference::dropout_add::<Self>(residual, branch, dropout),
        )
    }

    fn dropout_backward(grad: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        by_float!(grad.dtype(), R => dropout_add::<R>(None, grad, dropout), _ => reference::masked::<Self>(grad, dropout))
    }
}

fn dropout_add<R: Real>(residual: Option<FloatTensor<Flex>>, branch: FloatTensor<Flex>, dropout: Dropout) -> FloatTensor<Flex> {
    let (residual, branch) = (residual.map(viewable), viewable(branch));
    let residual = residual.as_ref().map(view::<R, 2>);
    let branch = view::<R, 2>(&branch);
    let [rows, width] = branch.shape;
    let (threshold, scale) = (dropout.threshold(), R::from(dropout.scale()).expect("1 / (1 - p) is a number"));
    let output = made_in_chunks(rows * width, ROWS * width, false, |chunk, output: &mut [R]| {
        vectorize(
            #[inline(always)]
            || {
                for (i, output) in output.chunks_exact_mut(width).enumerate() {
                    let row = chunk * ROWS + i;
                    let key = dropout.row_key(row as u64);
                    for (column, (output, &branch)) in output.iter_mut().zip(branch.row([row, 0], width)).enumerate() {
                        let dropped = column_hash(key, column as u32) < threshold;
                        *output = if dropped { R::zero() } else { branch * scale };
                    }
                    if let Some(residual) = &residual {
                        for (output, &residual) in output.iter_mut().zip(residual.row([row, 0], width)) {
                            *output += residual;
                        }
                    }
                }
            },
        );
    });
    tensor(output, [rows, width])
}
