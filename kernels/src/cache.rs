//! Writing tokens into a cache in place. Burn's `slice_assign` copies the whole tensor on the CPU, every time, even when it has one
//! owner: an environment step of a Transformer would then cost a copy of its KV cache.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::write_tokens;
//!
//! let device = Default::default();
//! let cache = Tensor::<Flex, 4>::zeros([1, 1, 3, 2], &device);
//! let cache = write_tokens(cache, Tensor::ones([1, 1, 1, 2], &device), 1);
//! assert_eq!(cache.into_data().to_vec::<f32>().unwrap(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
//! ```

use crate::cpu::{Real, by_float, view, viewable, whole};
use crate::primitive::{float, primitive};
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;

/// Caches of a backend.
pub trait CacheOps: Backend {
    /// [`write_tokens`].
    fn write_tokens(cache: FloatTensor<Self>, tokens: FloatTensor<Self>, at: usize) -> FloatTensor<Self> {
        reference::<Self>(cache, tokens, at)
    }

    /// Whether two tensors are one: the same numbers in the same memory. A backend that does not know says no.
    fn is_same(_one: &FloatTensor<Self>, _other: &FloatTensor<Self>) -> bool {
        false
    }
}

impl CacheOps for Flex {
    fn write_tokens(cache: FloatTensor<Self>, tokens: FloatTensor<Self>, at: usize) -> FloatTensor<Self> {
        by_float!(cache.dtype(), R => on_cpu::<R>(cache, tokens, at), _ => reference::<Self>(cache, tokens, at))
    }

    // While both have an owner their memory cannot be another's, and nobody writes into memory that is shared.
    fn is_same(one: &FloatTensor<Self>, other: &FloatTensor<Self>) -> bool {
        let memory = |tensor: &FloatTensor<Self>| tensor.bytes().as_ptr_range();
        (memory(one), one.layout(), one.dtype()) == (memory(other), other.layout(), other.dtype())
    }
}

impl<B: CacheOps, C: CheckpointStrategy> CacheOps for Autodiff<B, C> {}

#[cfg(feature = "cube")]
impl<R, F, I, BT> CacheOps for burn_cubecl::CubeBackend<R, F, I, BT>
where
    R: burn_cubecl::CubeRuntime,
    F: burn_cubecl::FloatElement,
    I: burn_cubecl::IntElement,
    BT: burn_cubecl::BoolElement,
{
}

/// The cache with `tokens` written over its positions `at ..`. Nothing but the tokens is copied if the cache has no other owner.
///
/// # Shapes
/// - `cache`: `[batch, heads, capacity, head_dim]`
/// - `tokens`: `[batch, heads, time, head_dim]`, `at + time <= capacity`
/// - returns: as `cache`
/// # Panics
/// If the shapes disagree or the tokens do not fit.
pub fn write_tokens<B: CacheOps>(cache: Tensor<B, 4>, tokens: Tensor<B, 4>, at: usize) -> Tensor<B, 4> {
    let [batch, heads, capacity, head_dim] = cache.dims();
    let time = tokens.dims()[2];
    assert_eq!(tokens.dims(), [batch, heads, time, head_dim], "write_tokens: tokens do not fit the cache");
    assert!(at + time <= capacity, "write_tokens: {time} tokens at {at} do not fit a cache of {capacity}");
    float(B::write_tokens(primitive(cache), primitive(tokens), at))
}

fn reference<B: Backend>(cache: FloatTensor<B>, tokens: FloatTensor<B>, at: usize) -> FloatTensor<B> {
    let (cache, tokens) = (float::<B, 4>(cache), float::<B, 4>(tokens));
    let [batch, heads, time, head_dim] = tokens.dims();
    primitive(cache.slice_assign([0..batch, 0..heads, at..at + time, 0..head_dim], tokens))
}

fn on_cpu<R: Real>(cache: FloatTensor<Flex>, tokens: FloatTensor<Flex>, at: usize) -> FloatTensor<Flex> {
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
            let expected = reference::<Flex>(primitive(cache.clone()), primitive(tokens.clone()), at);
            let expected = float::<Flex, 4>(expected).into_data();
            assert_eq!(write_tokens(cache.clone(), tokens.clone(), at).into_data(), expected);
            assert_eq!(cache.to_data(), before);
            let view = Tensor::cat(vec![cache.clone(), cache.clone()], 2).slice([0..2, 0..3, 11..22, 0..5]);
            assert_eq!(write_tokens(view, tokens.clone(), at).into_data(), expected);
        }
    }

    #[test]
    fn a_tensor_is_known_again_until_it_is_written_to() {
        let one = random_tensor::<Flex, 2>([3, 5], 1);
        let is_same = |other: &Tensor<Flex, 2>| Flex::is_same(&primitive(one.clone()), &primitive(other.clone()));
        assert!(is_same(&one));
        assert!(!is_same(&random_tensor([3, 5], 1)), "equal numbers elsewhere");
        assert!(!is_same(&one.clone().slice([0..3, 0..4])), "a part");
        assert!(!is_same(&one.clone().reshape([5, 3])), "another shape");
        assert!(!is_same(&(one.clone() + 0.0)), "what was written");
    }

    #[test]
    fn a_cache_without_another_owner_is_not_copied() {
        let cache = primitive(random_tensor::<Flex, 4>([1, 2, 9, 5], 1));
        let address = cache.bytes().as_ptr();
        let tokens = primitive(random_tensor::<Flex, 4>([1, 2, 3, 5], 2));
        assert_eq!(on_cpu::<f32>(cache, tokens, 4).bytes().as_ptr(), address);
    }
}
