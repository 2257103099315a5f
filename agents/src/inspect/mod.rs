//! The dry run: what a training would be, in numbers, before it is begun. It computes, and does not play.
//!
//! ```
//! use aaren_agents::{config::OfflineJob, inspect, offline::trajectories};
//!
//! let job = OfflineJob::quickstart(&["data.scripted.episodes=20".into(), "env.options.corridor=5".into()])?;
//! let plan = inspect::offline(&job, trajectories(&job)?)?;
//! assert_eq!((plan.budget.updates, plan.evaluation.between), (500, 4));
//! # Ok::<(), anyhow::Error>(())
//! ```

mod offline;
mod online;
mod plan;
mod sequences;

pub use offline::offline;
pub use online::online;
pub use plan::{Budget, Data, EvaluationPlan, Iterations, Memory, Plan, Schedule, Time};
pub use sequences::sequences;
