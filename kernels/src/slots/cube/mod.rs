//! Slot attention on a GPU.

mod kernels;
mod launch;
mod ops;
#[cfg(all(test, feature = "vulkan"))]
mod tests;
