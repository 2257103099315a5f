//! Slot attention on a GPU.

mod backward;
mod forward;
mod launch;
mod ops;
mod parts;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod tests;
