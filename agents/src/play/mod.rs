//! A policy acts in environments.
//!
//! ```
//! // The episodes of an evaluation, in an environment that is not registered anywhere.
//! use aaren_agents::{config::OfflineJob, device::{CPU, Cpu}, offline::data, play::evaluate::Evaluation};
//! use aaren_policy::{AnyPolicy, DecisionNetwork, DecisionPolicy};
//!
//! let job = OfflineJob::quickstart(&["env.options.corridor=3".into(), "evaluation.final_episodes=4".into()])?;
//! let description = data::describe(&job.env, &job.policy, &data::trajectories(&job)?)?;
//! let network = DecisionNetwork::<Cpu>::new(&description, 1, &CPU)?;
//! let policy = AnyPolicy::from(DecisionPolicy { network, description });
//! let evaluation = Evaluation::offline(&job);
//! let make = || aaren_envs::make("TMaze-v0", &job.env.options); // or an environment of one's own
//! let episodes = evaluation.play(&policy, &make, |episode| println!("{}", episode.episode_return))?;
//! assert_eq!(episodes.len(), 4);
//! # Ok::<(), anyhow::Error>(())
//! ```

pub mod agent;
pub mod cache_sweep;
pub(crate) mod decision_agent;
pub(crate) mod env_groups;
pub mod episodes;
pub mod evaluate;
pub(crate) mod latency;
pub(crate) mod policy_agent;
pub mod rollout;
pub mod spaces;
pub mod video;
