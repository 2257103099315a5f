//! The scan on a GPU.

mod backward;
mod forward;
pub(crate) mod gate;
mod join;
mod launch;
mod ops;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod tests;
