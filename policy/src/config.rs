//! What a policy is built from: the sizes and the names of its parts.

use crate::error::PolicyError;
use serde::{Deserialize, Serialize};

/// How the three parts of a timestep become tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tokens {
    /// Three tokens a timestep: previous action, return-to-go, observation.
    #[default]
    Separate,
    /// One token a timestep: the sum of the three embeddings.
    Merged,
    /// One token a timestep: the observation alone. No previous action, no return-to-go and no timestep embedding either, which
    /// would be a clock: the policy imitates what it sees (behaviour cloning), and looks back only through its mixer.
    Observation,
}

impl Tokens {
    /// Tokens that one timestep takes.
    pub fn per_timestep(self) -> usize {
        match self {
            Tokens::Separate => 3,
            Tokens::Merged | Tokens::Observation => 1,
        }
    }

    /// Whether the policy is told which return to reach.
    pub fn has_return_to_go(self) -> bool {
        self != Tokens::Observation
    }
}

/// The non-linearity of the feed-forward half of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(x, 0)`, as the Decision Transformer's locomotion runs use.
    #[default]
    Relu,
    /// Exact GELU.
    Gelu,
}

/// Sizes and parts of a policy. Defaults are the Decision Transformer's for locomotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Name of the sequence mixer; `aaren mixers` lists them.
    pub mixer: String,
    /// Residual blocks.
    pub layers: usize,
    /// Width of the residual stream (`d_model`), a multiple of `heads`.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub feed_forward: usize,
    /// Non-linearity of the feed-forward layer.
    pub activation: Activation,
    /// Probability of dropping an element of a residual branch's output, or an attention weight, while training; in `[0, 1)`.
    pub dropout: f64,
    /// Three tokens a timestep, or one, or the observation alone.
    pub tokens: Tokens,
    /// Entries of the learned timestep embedding; later timesteps share the last entry. 0 leaves the embedding out,
    /// as [`Tokens::Observation`] does.
    pub max_timesteps: usize,
    /// Returns-to-go are divided by this before they are embedded, in units of reward.
    pub return_scale: f64,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            mixer: "aaren".into(),
            layers: 3,
            width: 128,
            heads: 1,
            feed_forward: 512,
            activation: Activation::Relu,
            dropout: 0.1,
            tokens: Tokens::Separate,
            max_timesteps: 1000,
            return_scale: 1000.0,
        }
    }
}

impl PolicyConfig {
    /// # Errors
    /// [`PolicyError::Size`] for sizes that no network can have.
    pub fn check(&self) -> Result<(), PolicyError> {
        let PolicyConfig { layers, width, heads, feed_forward, dropout, return_scale, .. } = *self;
        let wrong = |key, problem: String| Err(PolicyError::Size { key, problem });
        if layers == 0 {
            return wrong("layers", "0, expected at least 1".into());
        }
        if width == 0 || heads == 0 || !width.is_multiple_of(heads) {
            return wrong("heads", format!("{heads} heads do not divide a width of {width}"));
        }
        if feed_forward == 0 {
            return wrong("feed_forward", "0, expected at least 1".into());
        }
        if !(0.0..1.0).contains(&dropout) {
            return wrong("dropout", format!("{dropout}, expected a probability in [0, 1)"));
        }
        if !(return_scale.is_finite() && return_scale > 0.0) {
            return wrong("return_scale", format!("{return_scale}, expected a positive number"));
        }
        Ok(())
    }
}
