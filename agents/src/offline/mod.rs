//! Learning from trajectories.

pub mod batch;
pub mod convert;
pub mod data;
pub mod learner;
pub mod segments;
pub mod train;
