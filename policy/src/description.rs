//! The description of a decision policy, which makes its numbers mean something.

use crate::{action::ActionSpec, config::PolicyConfig, config::Tokens, error::PolicyError, normalizer::Normalizer};
use serde::{Deserialize, Serialize};

/// Everything besides weights that acting needs. Stored as `policy.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Version of this description.
    pub format: u32,
    /// Sizes and parts.
    pub config: PolicyConfig,
    /// Observation normalization; its width is the observation's.
    pub normalizer: Normalizer,
    /// The actions.
    pub action: ActionSpec,
    /// The task it was trained for, in the words of whoever trained it.
    pub environment: serde_json::Value,
}

impl Description {
    /// The version that this crate writes and reads.
    pub const FORMAT: u32 = 1;

    /// # Errors
    /// [`PolicyError::Size`] or [`PolicyError::ActionSpace`] for sizes that no network can have.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.config.check()?;
        self.normalizer.check()?;
        self.action.check()
    }

    /// At least so many numbers are in a network of this description, which checks.
    pub(crate) fn least_numbers(&self) -> u128 {
        let Self { config, normalizer, action, .. } = self;
        let times = if config.tokens == Tokens::Observation { 0 } else { config.max_timesteps };
        let rows = normalizer.width() as u128 + action.width() as u128 + times as u128;
        let blocks = config.least_numbers_of_blocks().unwrap_or(0);
        blocks.saturating_add(rows * config.width as u128)
    }
}
