//! Models of sequences: tokens of numbers, an id, or both, and an answer that can be read at every token.
//!
//! ```text
//! E[id] + U numbers + P[position] ── norm ── block ── block ── ... ── norm ── output
//! ```
//!
//! Each part of a token is there only where the task has it. One function serves training, evaluation and a [`Stream`].

mod log_normal;
mod loss;
mod network;
mod pool;
mod rows;
mod scaler;
mod stream;

pub use log_normal::{DueGap, GapTensors, NextEvent};
pub use loss::{DueTensors, Loss};
pub use network::{SequenceNetwork, SequencePolicy};
pub use pool::Pool;
pub use rows::{SequenceBatch, SequenceRows};
pub use scaler::{Scaler, Scaling};
pub use stream::Stream;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{MOST_SIZE, PolicyConfig};
use crate::error::PolicyError;
use crate::normalizer::Normalizer;

/// What a task's tokens are made of, and what is learnt of them: all that a network needs to know of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceSpec {
    /// Numbers of a token, or 0.
    pub numbers: usize,
    /// Ids that a token can have, or 0.
    pub vocabulary: usize,
    /// Positions that have an embedding; later ones share the last. 0 leaves it out.
    pub positions: usize,
    /// Whether the model is that of Zoology (Arora et al. 2023, arXiv:2312.04927): the embedding of ids is the output layer as well, no
    /// norm follows it, and weight decay spares nothing.
    pub tied: bool,
    /// Which features an output is of.
    pub pool: Pool,
    /// What outputs are, and how they are judged.
    pub loss: Loss,
}

/// What the inputs and outputs of a model are called, where they have names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SequenceNames {
    /// Of the numbers of a row.
    pub channels: Vec<String>,
    /// Of classes, or of marks of events.
    pub classes: Vec<String>,
}

/// Everything besides weights that answering needs. Stored as `policy.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceDescription {
    /// Version of this description.
    pub format: u32,
    /// Sizes and parts.
    pub config: PolicyConfig,
    /// Tokens and outputs.
    pub spec: SequenceSpec,
    /// What the numbers of tokens were made of, where they were scaled.
    pub normalizer: Option<Normalizer>,
    /// What its inputs and outputs are called.
    #[serde(default)]
    pub names: SequenceNames,
    /// Other numbers of what it was trained on that answers need, by what they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<String, f64>,
    /// The task it was trained for, in the words of whoever trained it.
    pub task: serde_json::Value,
}

impl SequenceDescription {
    /// The version that this crate writes and reads.
    pub const FORMAT: u32 = 1;

    /// # Errors
    /// [`PolicyError::Size`] or [`PolicyError::Spec`] for sizes that no network can have.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.config.check()?;
        self.normalizer.as_ref().map_or(Ok(()), Normalizer::check)?;
        let &SequenceSpec { numbers, vocabulary, positions, tied, loss, .. } = &self.spec;
        let wrong = |problem: String| Err(PolicyError::Spec(problem));
        for (what, size) in [("numbers", numbers), ("vocabulary", vocabulary), ("positions", positions), ("loss", loss.width())] {
            if size > MOST_SIZE {
                return wrong(format!("{what}: found {size}, expected at most {MOST_SIZE}"));
            }
        }
        if numbers + vocabulary == 0 || loss.width() == 0 {
            return wrong("tokens of neither numbers nor ids, or nothing to learn of them".into());
        }
        if matches!(loss, Loss::NextEvent { components: 0, .. }) {
            return wrong("gaps between events of a mixture of 0 components".into());
        }
        if tied && (loss.width() != vocabulary || numbers > 0) {
            return wrong(format!("{} outputs are no embedding of {vocabulary} ids and {numbers} numbers", loss.width()));
        }
        Ok(())
    }

    /// At least so many numbers are in a network of this description, which checks.
    pub(crate) fn least_numbers(&self) -> u128 {
        let &SequenceSpec { numbers, vocabulary, positions, tied, loss, .. } = &self.spec;
        let outputs = if tied { 0 } else { loss.width() };
        let rows: u128 = [numbers, vocabulary, positions, outputs].iter().map(|&rows| rows as u128).sum();
        self.config.least_numbers_of_blocks().unwrap_or(0).saturating_add(rows * self.config.width as u128)
    }
}
