//! Jobs: train a policy on trajectories or online, evaluate it with actor threads, collect datasets, compare runs.
//!
//! Arrows of the rooms: `config <- run <- device <- play <- session <- offline, ppo <- collect, inspect, jobs`, `play <- export`,
//! `compare <- run`, `run <- exchange <- session`, and `table <- jobs, compare`.
//!
//! ```
//! use aaren_agents::config::{Changes, Job};
//!
//! let job = Job::load(&[], &Changes { env: Some("CartPole-v1".into()), ..Changes::default() })?;
//! assert_eq!(job.env().expect("it has one").make()?.spec().observation_space.width(), 4);
//! # Ok::<(), anyhow::Error>(())
//! ```

#![warn(unreachable_pub)]

pub mod collect;
pub mod compare;
pub mod config;
pub mod device;
pub mod exchange;
pub mod export;
pub mod inspect;
pub mod jobs;
pub mod offline;
pub mod optim;
pub mod play;
pub mod ppo;
pub mod run;
mod seeds;
pub mod sequence;
pub mod session;
pub mod table;

#[cfg(test)]
#[path = "../tests/internal/together.rs"]
mod together_tests;
