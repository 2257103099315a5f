//! Causal attention on a GPU.

mod backward;
mod forward;
mod launch;
mod ops;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod tests;
mod tile;
