//! How well a policy does on episodes that it did not learn from.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::run::encoding;
use crate::run::words::number;

/// How well a policy does what was done in episodes that it was not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// The training's loss on them: mean over timesteps.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub loss: f64,
    /// Episodes.
    pub episodes: usize,
    /// Timesteps of all of them.
    pub timesteps: usize,
}

/// `0.123 on 12 held-out episodes (480 timesteps)`.
impl Display for ValidationReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { loss, episodes, timesteps } = self;
        let plural = if *episodes == 1 { "" } else { "s" };
        write!(f, "{} on {episodes} held-out episode{plural} ({timesteps} timesteps)", number(*loss))
    }
}
