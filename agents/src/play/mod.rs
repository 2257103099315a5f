//! A policy acts in environments.
//!
//! ```
//! // The episodes of an evaluation, in an environment that is not registered anywhere.
//! use aaren_agents::{config::OfflineJob, device::{CPU, Cpu}, offline, play::Evaluation};
//! use aaren_policy::{AnyPolicy, DecisionNetwork, DecisionPolicy};
//!
//! let settings = ["env.options.corridor=3", "evaluation.final_episodes=4", "evaluation.target_returns=[1]"];
//! let job = OfflineJob::quickstart(&settings.map(String::from))?;
//! let description = offline::describe(&job.env, &job.policy, &offline::trajectories(&job)?)?;
//! let network = DecisionNetwork::<Cpu>::new(&description, 1, &CPU)?;
//! let policy = AnyPolicy::from(DecisionPolicy { network, description });
//! let evaluation = Evaluation::try_from(&job)?;
//! let make = || aaren_envs::make("TMaze-v0", &job.task().unwrap().options); // or an environment of one's own
//! let episodes = evaluation.play(&policy, &make, |episode| println!("{}", episode.result.episode_return))?;
//! assert_eq!(episodes.len(), 4);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod acting;
#[cfg(test)]
#[path = "../../tests/internal/actors.rs"]
mod actors_tests;
pub(crate) mod agent;
mod animated_png;
mod cache_sweep;
pub(crate) mod decision_agent;
pub(crate) mod env_groups;
pub(crate) mod episodes;
pub(crate) mod evaluate;
pub(crate) mod group_rollout;
mod latency;
mod policy_agent;
pub(crate) mod rollout;
pub(crate) mod saved;
pub(crate) mod spaces;
mod video;

pub use acting::Acting;
pub use agent::Actions;
pub use cache_sweep::{bounded_caches, evaluate_caches};
pub use episodes::{EpisodeResult, PlayedEpisode};
pub use evaluate::{Evaluation, evaluate, evaluate_and_keep};
pub use policy_agent::ExecutionMode;
pub use saved::SavedPolicy;
pub use spaces::{action_spec, check_spaces};
pub use video::{Video, VideoOptions};
