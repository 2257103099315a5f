//! Dropout with its mask made on the host, element by element.

use super::{Dropout, column_hash};
use burn::tensor::{Tensor, TensorData, TensorPrimitive, backend::Backend, ops::FloatTensor};

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
    let residual = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(residual));
    let branch = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(branch));
    let mask = mask_tensor(&branch, dropout);
    (residual + branch * mask).into_primitive().tensor()
}

/// The gradient of the branch: the mask again.
pub(crate) fn masked<B: Backend>(grad: FloatTensor<B>, dropout: Dropout) -> FloatTensor<B> {
    let grad = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(grad));
    let mask = mask_tensor(&grad, dropout);
    (grad * mask).into_primitive().tensor()
}
