//! The running log-sum-exp on a GPU.

mod backward;
mod forward;
pub(crate) mod launch;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod tests;
