//! What several mixers compute with.

use crate::reset::Reset;
use burn::tensor::{Tensor, activation, backend::Backend};

/// A tensor in another's float type: initial states are made before the inputs' type is known.
pub fn like<B: Backend, const D: usize, const E: usize>(state: Tensor<B, D>, x: &Tensor<B, E>) -> Tensor<B, D> {
    if state.dtype() == x.dtype() { state } else { state.cast(x.dtype()) }
}

/// `log(1 + e^x)` without overflow.
pub fn softplus<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    activation::relu(x.clone()) + x.abs().neg().exp().log1p()
}

/// The `x` of which [`softplus`] is `y`.
pub fn inverse_softplus(y: f32) -> f32 {
    y + (-(-y).exp_m1()).ln()
}

/// Replaces the rows of `state` whose episode begins at `token` by those of `fresh`. Nothing is computed where none does.
pub fn restart_rows<B: Backend>(state: Tensor<B, 2>, fresh: &Tensor<B, 2>, reset: &Reset<B>, token: usize) -> Tensor<B, 2> {
    let batch = reset.batch();
    match (0..batch).filter(|&row| reset.at(row, token)).count() {
        0 => state,
        rows if rows == batch => fresh.clone(),
        _ => {
            let shape = state.dims();
            state.mask_where(reset.tensor().slice([0..batch, token..token + 1]).expand(shape), fresh.clone())
        }
    }
}

/// `[batch * time, width]` to `[batch, heads, time, head_dim]`.
pub fn split_heads<B: Backend>(x: Tensor<B, 2>, batch: usize, heads: usize) -> Tensor<B, 4> {
    let [rows, width] = x.dims();
    let (time, head_dim) = (rows / batch, width / heads);
    if heads == 1 {
        // The same memory without the axes being swapped, which a later reshape would have to undo by a copy.
        return x.reshape([batch, 1, time, head_dim]);
    }
    x.reshape([batch, time, heads, head_dim]).swap_dims(1, 2)
}

/// `[batch, heads, time, head_dim]` to `[batch * time, width]`.
pub fn merge_heads<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 2> {
    let [batch, heads, time, head_dim] = x.dims();
    let x = if heads == 1 { x } else { x.swap_dims(1, 2) };
    x.reshape([batch * time, heads * head_dim])
}
