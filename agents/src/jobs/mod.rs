//! Whole jobs, as the program and the Python package run them: everything that belongs to one command, from its arguments to its
//! results.
//!
//! ```no_run
//! use aaren_agents::jobs::{EvaluateRequest, TrainRequest};
//!
//! let trained = TrainRequest { run: Some("runs/maze".into()), ..TrainRequest::default() }.train()?; // the quickstart
//! println!("{}", trained.evaluation);
//! let prepared = EvaluateRequest { episodes: Some(1000), ..EvaluateRequest::of("runs/maze") }.prepare()?;
//! println!("{}", prepared.evaluate()?);
//! # Ok::<(), anyhow::Error>(())
//! ```

mod checkpoint;
mod evaluate;
mod finished;
mod train;

pub use checkpoint::Checkpoint;
pub use evaluate::{EvaluateRequest, Prepared, PreparedSequences};
pub use finished::{is_finished, other_keys};
pub use train::{TrainRequest, Trained};
