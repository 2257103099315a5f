//! What computes: backends, devices, and copying weights between them.

mod backend;
#[cfg(any(test, feature = "cuda", feature = "vulkan"))]
mod copy;
mod cpu;
mod find;

pub use backend::TrainBackend;
pub use cpu::{CPU, Cpu, Graph};
pub use find::*;
