//! Tasks on sequences: data to tokens and what is due at them, outputs to scores.
//!
//! ```
//! use aaren_agents::config::{Changes, Job};
//! use aaren_agents::sequence::{Split, make, push};
//! use aaren_policy::SequenceRows;
//!
//! let Job::Sequence(job) = Job::parse(r#"{"task": {"kind": "mqar", "length": 32, "pairs": 4}}"#, &Changes::default())? else { panic!() };
//! let (task, mut rows) = (make(&job.task, job.seed)?, SequenceRows::default());
//! push(&*task, &mut rows, Split::Test, 7, 0..32, true); // the eighth example of the test split
//! assert_eq!((rows.ids.len(), rows.due.len()), (32, 4));
//! # Ok::<(), anyhow::Error>(())
//! ```

mod classify;
mod events;
mod forecast;
mod forecast_score;
mod judge;
mod mqar;
mod predict;
mod task;

use std::sync::Arc;

use anyhow::Result;

use crate::config::TaskConfig;
pub use classify::ClassifyTask;
pub use events::EventsTask;
pub use forecast::ForecastTask;
pub(crate) use judge::report;
pub use judge::{ClassScorer, scores, stream_scores};
pub use mqar::{Example, MqarTask};
pub use predict::{Answer, Prediction, Predictor};
pub use task::{Lengths, Scorer, SequenceTask, Split, push};

/// The task of a job, with its data.
///
/// - `seed`: the job's
///
/// # Errors
/// A file that cannot be read.
pub fn make(config: &TaskConfig, seed: u64) -> Result<Arc<dyn SequenceTask>> {
    Ok(match config {
        TaskConfig::Classify(config) => Arc::new(ClassifyTask::read(config, seed)?),
        TaskConfig::Events(config) => Arc::new(EventsTask::read(config, seed)?),
        TaskConfig::Forecast(config) => Arc::new(ForecastTask::read(config)?),
        TaskConfig::Mqar(config) => Arc::new(MqarTask { config: *config, seed }),
    })
}
