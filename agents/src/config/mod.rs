//! What is asked: jobs, their keys and defaults, how they are read and checked.
//!
//! Every key has its default and its description here; files state what differs. A job that came out of [`Job::load`] has been
//! checked and cannot be wrong in a way that a look at it alone can tell.
//!
//! ```
//! use aaren_agents::config::{Changes, Job};
//!
//! let changes = Changes { mixer: Some("transformer".into()), set: vec!["train.steps=1e3".into()], ..Changes::default() };
//! let job = Job::load(&[], &changes)?.offline()?; // without a file, the quickstart
//! assert_eq!((&*job.policy.mixer, job.train.steps), ("transformer", 1000));
//! assert!(Job::load(&[], &Changes { mixer: Some("transfromer".into()), ..changes }).is_err());
//! # Ok::<(), anyhow::Error>(())
//! ```

mod caution;
mod check;
mod check_sequence;
mod collect;
mod defaults;
mod due;
mod env;
mod evaluation;
mod events;
mod forecast;
mod job;
mod json;
pub(crate) mod keys;
mod load;
mod log;
pub mod memory;
pub(crate) mod mistakes;
mod offline;
mod ppo;
mod precision;
mod review;
mod schedule;
mod schema;
mod seed_list;
mod sequence;
mod stored;
mod target_return;
pub(crate) mod text;

pub(crate) use caution::caution;
pub(crate) use collect::Part;
pub use collect::{CollectConfig, CollectJob, DatasetKind, Formats};
pub use due::Due;
pub use env::{Device, EnvConfig};
pub use evaluation::{EvaluationConfig, Execution, StopConfig, StopMetric};
pub use events::{Clock, EventFiles, EventFiling, Events, Hawkes, HeldOut, TimeUnit};
pub use forecast::{Anchor, Channels, Forecast, MissingRows, SplitConfig};
pub use job::Job;
pub use keys::merge;
pub use load::Changes;
pub(crate) use load::known;
pub use log::LogConfig;
pub(crate) use offline::each_once;
pub use offline::{
    ActionUnits, Collector, ContextLength, CutSegments, DataConfig, Incomplete, OfflineJob, ScriptedConfig, Sources, TrainConfig,
};
pub use ppo::{Network, PpoConfig, PpoJob};
pub use precision::Precision;
pub(crate) use review::endless;
pub use schedule::LearningRateSchedule;
pub use schema::{TaskKey, TaskKind, keys_page, schema, task_kinds};
pub use seed_list::parse_seeds;
pub use sequence::{Classify, JudgeConfig, MissingNumbers, Mqar, SequenceJob, TaskConfig};
pub use target_return::TargetReturn;
pub(crate) use text::value;

fn default_seed() -> u64 {
    1
}

/// Asserts that a message is one line with all of the words in it.
#[cfg(test)]
pub(crate) fn assert_says(message: &str, words: &[&str], about: impl std::fmt::Debug) {
    for word in words {
        assert!(message.contains(word), "{about:?}: {message:?} lacks {word:?}");
    }
    assert!(!message.contains('\n'), "{message}");
}
