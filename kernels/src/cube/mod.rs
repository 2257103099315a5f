//! What the ops' GPU kernels share: arrays and grids to launch them with, and whether a device can be trusted with them.

pub(crate) mod failure;
mod launch;
mod launches;
mod limits;
mod rows;
mod segments;
pub(crate) mod self_check;
mod sum;
mod tensor_cores;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
pub(crate) mod testing;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod tests;

pub(crate) use launch::{Grid, array, cast_to, contiguous, elements, empty, empty_like, flag_type, innermost, vector_size};
pub use launches::LaunchLog;
pub(crate) use limits::{EMPTY, Limits};
pub(crate) use rows::{column_sums, product_over_rows};
pub(crate) use segments::Segments;
pub(crate) use sum::cube_sum;
pub(crate) use tensor_cores::multiplies;
