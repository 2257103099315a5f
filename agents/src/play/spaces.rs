//! Spaces of environments as policies see them.

use aaren_envs::Space;
use aaren_policy::ActionSpec;

/// The policy's view of an action space.
pub fn action_spec(space: &Space) -> ActionSpec {
    match space {
        Space::Box { low, high, .. } => ActionSpec::Continuous { low: low.clone(), high: high.clone() },
        Space::Discrete { n, start } => ActionSpec::Discrete { n: *n, start: *start },
    }
}
