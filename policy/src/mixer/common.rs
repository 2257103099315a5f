//! What several mixers compute with.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData, activation, backend::Backend, s};

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

/// The parameter with other numbers from `start` on.
pub fn with_part<B: Backend>(vector: Param<Tensor<B, 1>>, start: usize, part: &[f32]) -> Param<Tensor<B, 1>> {
    vector.map(|vector| {
        let part = Tensor::from_data(TensorData::new(part.to_vec(), [part.len()]), (&vector.device(), vector.dtype()));
        vector.slice_assign(s![start..start + part.dims()[0]], part).detach().require_grad()
    })
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{init::Init, layers::Dense};
    use burn::backend::Flex;

    /// Asserts that numbers are the expected ones, up to rounding.
    pub fn near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{found:?} is not {expected:?}"));
    }

    /// A layer from one number to several: weights of 1, and the given biases.
    pub fn layer_of_ones<const N: usize>(biases: [f32; N]) -> Dense<Flex> {
        let (init, device) = (&mut Init::new(1), Default::default());
        Dense { weight: init.constant([1, N], 1.0, &device), bias: init.given(biases.to_vec(), [N], &device) }
    }

    #[test]
    fn the_inverse_of_softplus_is_its_inverse() {
        for (y, expected) in [(1e-3, -6.907_255), (1e-2, -4.600_166), (1e-1, -2.252_168_5)] {
            assert!((inverse_softplus(y) - expected).abs() < 1e-5);
        }
        let x = Tensor::<Flex, 1>::from_data([-200.0, -2.252_168_5, 0.0, 300.0], &Default::default());
        near(&softplus(x).into_data().to_vec::<f32>().unwrap(), &[0.0, 0.1, 2f32.ln(), 300.0]);
    }
}
