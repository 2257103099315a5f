//! Learning online: proximal policy optimization.
//!
//! Clipped surrogate, generalized advantage estimation, actor threads, everything on the CPU. The policy is a pair of MLPs, or a
//! backbone of any mixer: then the state that each environment's policy held when the rollout began is kept, and the update
//! replays the rollout in parallel through the `forward` that acted, with its resets. Minibatches shuffle environments, never time.
//!
//! Source: Schulman et al. 2017, arXiv:1707.06347; `docs/src/ppo.md` lists the details.
//!
//! ```
//! use aaren_agents::{config::{Changes, Job}, ppo, run::RunDir, session::NoObserver};
//!
//! let text = r#"{"env": {"id": "CartPole-v1"}, "ppo": {"env_steps": 64, "envs": 2, "rollout_len": 32, "minibatches": 2}, "evaluation": {}}"#;
//! let job = Job::parse(text, &Changes::default())?.ppo()?;
//! let folder = std::env::temp_dir().join(format!("aaren-ppo-{}", std::process::id()));
//! let run = RunDir::create(&folder, &job, 1)?;
//! let (trained, _) = ppo::train(&job, &run, false, &mut NoObserver)?;
//! assert_eq!(trained.timesteps, 64);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod begin;
mod gae;
mod learner;
mod minibatch;
mod normalize;
mod targets;
mod train;
mod training;
mod transitions;
pub(crate) mod trial;

pub use begin::begin_from;
pub use train::{train, train_together};
pub use training::describe;
