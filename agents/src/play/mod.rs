//! A policy acts in environments.

pub mod agent;
pub mod cache_sweep;
pub mod decision_agent;
pub mod env_groups;
pub mod episodes;
pub mod evaluate;
pub mod latency;
pub mod rollout;
pub mod spaces;
pub mod video;
