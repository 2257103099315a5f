//! Dropout with its mask made on the host, element by element.

use super::mask::{Dropout, column_hash};
use crate::primitive::{float, primitive};
use burn::tensor::{Tensor, TensorData, backend::Backend, ops::FloatTensor};

/// 0 where an element is dropped, `1 / (1 - probability)` where it is kept; row-major `[rows, columns]`.
pub(crate) fn mask(rows: usize, columns: usize, dropout: Dropout) -> Vec<f32> {
    let (threshold, scale) = (dropout.threshold(), dropout.scale() as f32);
    let mut mask = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let key = dropout.row_key(row as u64);
        mask.extend((0..columns).map(|column| if column_hash(key, column as u32) < threshold { 0.0 } else { scale }));
    }
    mask
}

fn mask_tensor<B: Backend>(like: &Tensor<B, 2>, dropout: Dropout) -> Tensor<B, 2> {
    let [rows, columns] = like.dims();
    Tensor::from_data(
        TensorData::new(mask(rows, columns, dropout), [rows, columns]).convert_dtype(like.dtype()),
        (&like.device(), like.dtype()),
    )
}

pub(crate) fn dropout_add<B: Backend>(residual: FloatTensor<B>, branch: FloatTensor<B>, dropout: Dropout) -> FloatTensor<B> {
    let (residual, branch) = (float::<B, 2>(residual), float::<B, 2>(branch));
    let mask = mask_tensor(&branch, dropout);
    primitive(residual + branch * mask)
}

/// The gradient of the branch: the mask again.
pub(crate) fn masked<B: Backend>(grad: FloatTensor<B>, dropout: Dropout) -> FloatTensor<B> {
    let grad = float::<B, 2>(grad);
    let mask = mask_tensor(&grad, dropout);
    primitive(grad * mask)
}
