//! What the kernels for graphics cards share: arrays and grids to launch them with, and which of them a device can be trusted with.

mod backend;
pub(crate) mod failure;
mod launch;
mod launches;
mod sum;
#[cfg(all(test, feature = "vulkan"))]
pub(crate) mod testing;
#[cfg(all(test, feature = "vulkan"))]
mod tests;
pub(crate) mod trial;

pub use launches::LaunchLog;

pub(crate) use sum::cube_sum;

pub(crate) use launch::{
    Grid, array, cast_to, contiguous, elements, empty, empty_like, flag_type, innermost, multiprocessors, plane, vector_size,
};
