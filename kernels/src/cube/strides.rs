//! Where the elements of a tensor lie whose last axis is contiguous, or is time.

use burn_cubecl::{CubeRuntime, cubecl, tensor::CubeTensor};
use cubecl::prelude::*;

/// Of `[batch, time, ..]`.
#[derive(CubeLaunch, CubeType)]
pub(crate) struct TokenStrides {
    pub batch: usize,
    pub time: usize,
}

/// Of `[batch, heads, time, ..]`.
#[derive(CubeLaunch, CubeType)]
pub(crate) struct HeadStrides {
    pub batch: usize,
    pub head: usize,
    pub time: usize,
}

#[cube]
impl HeadStrides {
    /// Where a head of a batch row begins.
    pub fn base(&self, batch: usize, head: usize) -> usize {
        batch * self.batch + head * self.head
    }
}

/// A tensor's, in vectors of so many elements.
pub(crate) fn token_strides<R: CubeRuntime>(tensor: &CubeTensor<R>, vector: usize) -> TokenStridesLaunch<R> {
    let [batch, time] = [0, 1].map(|axis| tensor.meta.strides()[axis] / vector);
    TokenStridesLaunch::new(batch, time)
}

/// A tensor's, in vectors of so many elements.
pub(crate) fn head_strides<R: CubeRuntime>(tensor: &CubeTensor<R>, vector: usize) -> HeadStridesLaunch<R> {
    let [batch, head, time] = [0, 1, 2].map(|axis| tensor.meta.strides()[axis] / vector);
    HeadStridesLaunch::new(batch, head, time)
}
