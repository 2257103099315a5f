//! What is asked: jobs, their keys and defaults, how they are read and checked.

mod check;
pub mod collect;
mod job;
pub(crate) mod load;
mod ppo;

pub use job::*;
pub use ppo::{Network, PpoConfig};
