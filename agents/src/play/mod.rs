//! A policy acts in environments.

pub mod cache_sweep;
pub mod episodes;
pub mod evaluate;
pub mod rollout;
pub mod spaces;
pub mod video;
