//! Writing tokens into a cache in place. Burn's `slice_assign` copies the whole tensor on the CPU, every time, even when nobody else
//! holds it: an environment step of a Transformer would then cost a copy of its KV cache.

use crate::{
    backend::KernelBackend,
    cpu::{Real, view, viewable, whole},
};
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// The cache with `tokens` written over its positions `at ..`. Nothing is copied but the tokens if nobody else holds the cache.
///
/// # Shapes
/// - `cache`: `[batch, heads, capacity, head_dim]`
/// - `tokens`: `[batch, heads, time, head_dim]`, `at + time <= capacity`
/// - returns: as `cache`
/// # Panics
/// If the shapes disagree or the tokens do not fit.
pub fn write_tokens<B: KernelBackend>(cache: Tensor<B, 4>, tokens: Tensor<B, 4>, at: usize) -> Tensor<B, 4> {
    let [batch, heads, capacity, head_dim] = cache.dims();
    let time = tokens.dims()[2];
    assert_eq!(tokens.dims(), [batch, heads, time, head_dim], "write_tokens: tokens do not fit the cache");
    assert!(at + time <= capacity, "write_tokens: {time} tokens at {at} do not fit a cache of {capacity}");
    let written = B::write_tokens(cache.into_primitive().tensor(), tokens.into_primitive().tensor(), at);
    Tensor::from_primitive(TensorPrimitive::Float(written))
}

pub(crate) fn reference<B: Backend>(cache: FloatTensor<B>, tokens: FloatTensor<B>, at: usize) -> FloatTensor<B> {
    let cache = Tensor::<B, 4>::from_primitive(TensorPrimitive::Float(cache));
    let tokens = Tensor::<B, 4>::from_primitive(TensorPrimitive::Float(tokens));
    let [batch, heads, time, head_dim] = tokens.dims();
    cache.slice_assign([0..batch, 0..heads, at..at + time, 0..head_dim], tokens).into_primitive().tensor()
}

pub(crate) fn on_cpu<R: Real>(cache: FloatTensor<Flex>, tokens: FloatTensor<Flex>, at: usize) -> FloatTensor<Flex> {
    let mut cache = whole(cache);
    let tokens = viewable(tokens);
    let tokens = view::<R, 4>(&tokens);
    let [batch, heads, time, head_dim] = tokens.shape;
    let capacity = cache.layout().shape()[2];
    let storage: &mut [R] = cache.storage_mut();
    for b in 0..batch {
        for h in 0..heads {
            for t in 0..time {
                let start = ((b * heads + h) * capacity + at + t) * head_dim;
                storage[start..start + head_dim].copy_from_slice(tokens.row([b, h, t, 0], head_dim));
            }
        }
    }
    cache
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_tensor;

    #[test]
    fn cpu_agrees_with_the_reference_and_leaves_clones_alone() {
        let cache = random_tensor::<Flex, 4>([2, 3, 11, 5], 1);
        let tokens = random_tensor::<Flex, 4>([2, 4, 3, 5], 2).swap_dims(1, 2);
        let before = cache.to_data();
        for at in [0, 4, 7] {
            let expected =
                reference::<Flex>(cache.clone().into_primitive().tensor(), tokens.clone().into_primitive().tensor(), at);
            let expected = Tensor::<Flex, 4>::from_primitive(TensorPrimitive::Float(expected)).into_data();
            assert_eq!(write_tokens(cache.clone(), tokens.clone(), at).into_data(), expected);
            assert_eq!(cache.to_data(), before);
            let view = Tensor::cat(vec![cache.clone(), cache.clone()], 2).slice([0..2, 0..3, 11..22, 0..5]);
            assert_eq!(write_tokens(view, tokens.clone(), at).into_data(), expected);
        }
    }

    #[test]
    fn a_cache_that_nobody_else_holds_is_not_copied() {
        let cache: FloatTensor<Flex> = random_tensor::<Flex, 4>([1, 2, 9, 5], 1).into_primitive().tensor();
        let address = cache.bytes().as_ptr();
        let tokens: FloatTensor<Flex> = random_tensor::<Flex, 4>([1, 2, 3, 5], 2).into_primitive().tensor();
        assert_eq!(on_cpu::<f32>(cache, tokens, 4).bytes().as_ptr(), address);
    }
}
