//! Learning online.

pub mod gae;
pub mod learner;
pub mod normalize;
pub mod targets;
mod train;

pub use train::*;
