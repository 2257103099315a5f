//! Jobs: train a policy on trajectories, evaluate it with actor threads, compare runs. The `aaren` binary is a thin shell around this.

pub mod compare;
pub mod config;
pub mod log;
pub mod report;
pub mod run;
