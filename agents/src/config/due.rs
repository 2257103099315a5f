//! When something is due of a sequence that is learnt.

use serde::{Deserialize, Serialize};

/// When something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Due {
    /// At a sequence's end.
    End,
    /// After every token.
    Every,
}
