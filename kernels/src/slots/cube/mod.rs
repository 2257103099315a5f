//! Slot attention on a GPU.

mod backward;
mod forward;
mod launch;
mod ops;
mod parts;
#[cfg(all(test, feature = "vulkan"))]
mod tests;
