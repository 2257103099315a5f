//! The optimizer: AdamW, and the gradient's norm.

mod adamw;
pub mod gradient;

pub use adamw::*;
