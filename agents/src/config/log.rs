//! What is logged.

use serde::{Deserialize, Serialize};

/// What is logged beside the lines that every run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Whether the run folder also has `metrics.csv`, a table of what `metrics.jsonl` says.
    pub csv: bool,
}

impl LogConfig {
    /// Whether nothing more is asked for; then a stored job does not mention it.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
