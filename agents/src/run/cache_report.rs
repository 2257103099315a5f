//! What a Transformer reached with bounded KV caches.

use std::fmt::{self, Display, Formatter};

use aaren_policy::mixer::CachePolicy;
use serde::{Deserialize, Serialize};

use super::report::{TargetReport, align_right, bytes, mean_std, microseconds, table};

/// Where the results are, in the run folder; `aaren compare` shows them.
pub(crate) const FILE: &str = "evaluation-caches.json";

/// What a run's weights reached with caches of several kinds and sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheReport {
    /// The version of the format that it is written in.
    pub format: u32,
    /// The run folder's name.
    pub run: String,
    /// Optimizer steps behind the weights that acted.
    pub checkpoint_step: u64,
    /// Root of the episodes' seeds.
    #[serde(with = "super::encoding::seed")]
    pub seed: u64,
    /// The cache without a bound first, then by size.
    pub(crate) evaluations: Vec<CacheEvaluation>,
}

/// Results with one cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CacheEvaluation {
    /// As `aaren evaluate --cache` takes it.
    pub cache: CachePolicy,
    /// Entries that it keeps in each layer; None without a bound.
    pub entries: Option<usize>,
    /// One for each target return.
    pub targets: Vec<TargetReport>,
    /// Bytes of one environment's state at the last step.
    pub state_bytes: usize,
    /// Microseconds that acting took at the last steps.
    #[serde(deserialize_with = "super::encoding::null_is_nan")]
    pub microseconds: f64,
}

/// What a cache is called whatever its size.
pub(crate) fn kind(cache: CachePolicy) -> &'static str {
    match cache {
        CachePolicy::Full => "full",
        CachePolicy::Window { .. } => "window",
        CachePolicy::Sink { .. } => "sink",
        CachePolicy::H2o { .. } => "h2o",
        CachePolicy::Tova { .. } => "tova",
    }
}

/// The headline results, a row a cache.
impl Display for CacheReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = table(&["cache", "entries", "return (mean ± std)", "score", "a step, last", "state, last"]);
        for one in &self.evaluations {
            let Some(target) = one.targets.first() else { continue };
            table.add_row([
                one.cache.to_string(),
                one.entries.map_or("all".into(), |entries| entries.to_string()),
                mean_std(target.return_mean, target.return_std),
                target.normalised_score.map_or("-".into(), |score| format!("{score:.1}")),
                microseconds(one.microseconds),
                bytes(one.state_bytes),
            ]);
        }
        align_right(&mut table, 1);
        write!(f, "{}: step {}, seed {}\n{table}", self.run, self.checkpoint_step, self.seed)
    }
}
