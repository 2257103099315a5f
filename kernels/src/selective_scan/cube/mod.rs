//! The selective scan on a GPU.

mod kernels;
mod launch;
mod ops;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod tests;
