//! Jobs: train a policy on trajectories or online, evaluate it with actor threads, collect datasets, compare runs.
//!
//! Arrows of the rooms: `config <- run <- device <- play <- session <- offline, ppo <- collect`, and `compare <- run`.

pub mod collect;
pub mod compare;
pub mod config;
pub mod device;
pub mod offline;
pub mod optim;
pub mod play;
pub mod ppo;
pub mod run;
pub mod seeds;
pub mod session;
