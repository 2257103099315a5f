//! What computes: backends, devices, and copying weights between them.

mod backend;
#[cfg(any(test, feature = "cuda", feature = "vulkan"))]
mod copy;
mod find;

pub use backend::*;
pub use find::*;
