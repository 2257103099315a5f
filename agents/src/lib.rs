//! Jobs: train a policy on trajectories, evaluate it with actor threads, compare runs. The `aaren` binary is a thin shell around this.

pub mod actor;
pub mod backend;
pub mod bench;
pub mod cli;
pub mod collect;
pub mod compare;
pub mod config;
pub mod copy;
pub mod data;
pub mod dataset_command;
pub mod devices;
pub mod envs_command;
pub mod evaluate;
pub mod gradient;
pub mod inspect;
pub mod interrupt;
pub mod learner;
pub mod log;
pub mod mqar;
pub mod optimizer;
pub mod ppo;
pub mod report;
pub mod run;
pub mod segment;
pub mod train;
pub mod video;
