//! What computes: backends, devices, and copying weights between them.
//!
//! ```
//! use aaren_agents::config::{Device, Precision};
//!
//! aaren_agents::device::require(Device::Cpu, Precision::F32)?;
//! println!("{}", aaren_agents::device::find(Device::Cpu)?); // 2 threads
//! # Ok::<(), anyhow::Error>(())
//! ```

mod backend;
#[cfg(any(test, feature = "cuda", feature = "vulkan"))]
mod copy;
mod cpu;
mod find;

pub(crate) use backend::on_backend;
pub use backend::{TrainBackend, Trains};
pub(crate) use cpu::Graph;
pub use cpu::{CPU, Cpu};
pub use find::{find, require};
