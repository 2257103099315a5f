//! Learning online: proximal policy optimization.
//!
//! Clipped surrogate, generalized advantage estimation, actor threads, everything on the CPU. The policy is a pair of MLPs, or a
//! backbone of any mixer: then the state that each environment's policy held when the rollout began is kept, and the update
//! replays the rollout in parallel through the `forward` that acted, with its resets. Minibatches shuffle environments, never time.
//!
//! Source: Schulman et al. 2017, arXiv:1707.06347; `docs/src/ppo.md` lists the details.

pub mod gae;
pub mod learner;
pub mod normalize;
pub mod targets;
mod train;
mod training;
pub mod transitions;

pub use train::train;
pub use training::describe;
