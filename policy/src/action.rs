//! Actions: the space a policy acts in, one action, and the actions of a batch.

use crate::error::PolicyError;
use serde::{Deserialize, Serialize};

/// The actions a policy can take, and how they are encoded for the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum ActionSpec {
    /// Vectors within bounds, encoded in `[-1, 1]`.
    Continuous {
        /// Lower bounds, finite.
        low: Vec<f64>,
        /// Upper bounds, finite and above the lower ones.
        high: Vec<f64>,
    },
    /// One of `start .. start + n`, encoded one-hot.
    Discrete {
        /// How many.
        n: usize,
        /// The first.
        start: i64,
    },
}

/// An action in the environment's own terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ActionValue<'a> {
    /// Within the bounds.
    Continuous(&'a [f32]),
    /// Counted from `start`.
    Discrete(i64),
}

impl ActionSpec {
    /// Numbers in an encoded action.
    pub fn width(&self) -> usize {
        match self {
            ActionSpec::Continuous { low, .. } => low.len(),
            ActionSpec::Discrete { n, .. } => *n,
        }
    }

    /// Whether actions are indices.
    pub fn is_discrete(&self) -> bool {
        matches!(self, ActionSpec::Discrete { .. })
    }

    /// # Errors
    /// [`PolicyError::ActionSpace`] if there is nothing to choose or a bound is not finite.
    pub fn check(&self) -> Result<(), PolicyError> {
        let problem = match self {
            ActionSpec::Discrete { n, .. } if *n < 2 => Some(format!("{n} discrete actions leave nothing to choose")),
            ActionSpec::Discrete { n, start } if start.checked_add_unsigned(*n as u64).is_none() => {
                Some(format!("{n} discrete actions from {start} cannot be counted"))
            }
            ActionSpec::Discrete { .. } => None,
            ActionSpec::Continuous { low, high } if low.is_empty() || low.len() != high.len() => {
                Some(format!("{} lower and {} upper bounds", low.len(), high.len()))
            }
            ActionSpec::Continuous { low, high } => low
                .iter()
                .zip(high)
                .position(|(low, high)| !(low.is_finite() && high.is_finite() && low < high))
                .map(|i| format!("component {i} has bounds {} .. {}; a policy needs finite ones", low[i], high[i])),
        };
        problem.map_or(Ok(()), |problem| Err(PolicyError::ActionSpace(problem)))
    }

    /// Appends the encoding of an action: `[-1, 1]` a component, or one-hot.
    ///
    /// # Panics
    /// If the action is not of this space's kind and width; datasets and environments are checked against the space before.
    pub fn encode(&self, action: ActionValue<'_>, encoded: &mut Vec<f32>) {
        match (self, action) {
            (ActionSpec::Continuous { low, high }, ActionValue::Continuous(action)) => {
                assert_eq!(action.len(), low.len(), "components of an action");
                let components = action.iter().zip(low).zip(high);
                encoded.extend(components.map(|((&a, low), high)| ((2.0 * f64::from(a) - low - high) / (high - low)) as f32));
            }
            (ActionSpec::Discrete { n, start }, ActionValue::Discrete(action)) => {
                if action == NO_CHOICE {
                    encoded.resize(encoded.len() + n, 0.0);
                    return;
                }
                let index = usize::try_from(action - start).ok().filter(|index| index < n);
                let index = index.unwrap_or_else(|| panic!("action {action} is none of {n} from {start}"));
                one_hot(index, *n, encoded);
            }
            (spec, action) => panic!("{action:?} is no action of {spec:?}"),
        }
    }

    /// The actions that outputs stand for: components in `[-1, 1]`, or a number for each choice, of which the largest decides;
    /// [`NO_CHOICE`] where one is NaN.
    ///
    /// # Shapes
    /// - `outputs`: `[batch, width]`, row-major
    pub fn decode(&self, outputs: &[f32]) -> ActionBatch {
        match self {
            ActionSpec::Continuous { low, high } => {
                let bounds = low.iter().zip(high).cycle();
                let of_component =
                    |(&y, (low, high)): (&f32, (&f64, &f64))| (low + (f64::from(y) + 1.0) / 2.0 * (high - low)) as f32;
                ActionBatch::Continuous(outputs.iter().zip(bounds).map(of_component).collect())
            }
            ActionSpec::Discrete { n, start } => {
                let choice = |row: &[f32]| likeliest(row).map_or(NO_CHOICE, |index| start + index as i64);
                ActionBatch::Discrete(outputs.chunks_exact(*n).map(choice).collect())
            }
        }
    }

    /// The actions that raw actions, which may lie outside of the bounds, are executed as.
    ///
    /// # Shapes
    /// - `raw_actions`: `[batch, width]`, row-major
    pub fn execute(&self, raw_actions: &[f32]) -> ActionBatch {
        match self {
            ActionSpec::Continuous { .. } => {
                self.decode(&raw_actions.iter().map(|component| component.clamp(-1.0, 1.0)).collect::<Vec<f32>>())
            }
            ActionSpec::Discrete { .. } => self.decode(raw_actions),
        }
    }
}

/// The discrete action of a policy whose outputs are not numbers. No environment has it.
pub const NO_CHOICE: i64 = i64::MIN;

/// Actions of a batch, in the environment's own terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ActionBatch {
    /// `[batch, components]`, row-major.
    Continuous(Vec<f32>),
    /// `[batch]`, counted from `start`.
    Discrete(Vec<i64>),
}

impl ActionBatch {
    /// The action of one row.
    pub fn row(&self, row: usize, width: usize) -> ActionValue<'_> {
        match self {
            ActionBatch::Continuous(actions) => ActionValue::Continuous(&actions[row * width..(row + 1) * width]),
            ActionBatch::Discrete(actions) => ActionValue::Discrete(actions[row]),
        }
    }
}

/// The first of the largest, if all are numbers: a policy that computes NaN is broken, and has chosen nothing.
pub(crate) fn likeliest(row: &[f32]) -> Option<usize> {
    let largest = (0..row.len()).reduce(|best, i| if row[i] > row[best] { i } else { best });
    largest.filter(|_| !row.iter().any(|output| output.is_nan()))
}

/// Appends 1 for the choice and 0 for the others.
pub(crate) fn one_hot(choice: usize, n: usize, encoded: &mut Vec<f32>) {
    encoded.extend((0..n).map(|i| if i == choice { 1.0 } else { 0.0 }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_computes_nan_has_chosen_nothing() {
        let spec = ActionSpec::Discrete { n: 3, start: 5 };
        let outputs = [1.0, 2.0, 2.0, f32::NAN, 9.0, 0.0, f32::NEG_INFINITY, f32::INFINITY, 0.0];
        assert_eq!(spec.decode(&outputs), ActionBatch::Discrete(vec![6, NO_CHOICE, 6]));
        let mut encoded = Vec::new();
        spec.encode(ActionValue::Discrete(NO_CHOICE), &mut encoded);
        assert_eq!(encoded, [0.0; 3]);
    }
}
