//! Spaces of environments as policies see them.

use aaren_envs::Space;
use aaren_policy::ActionSpec;

/// The policy's view of an action space.
///
/// ```
/// let env = aaren_envs::make("Pendulum-v1", &Default::default())?;
/// let action = aaren_agents::play::action_spec(&env.spec().action_space);
/// assert_eq!((action.width(), action.is_discrete()), (1, false));
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn action_spec(space: &Space) -> ActionSpec {
    match space {
        Space::Box { low, high, .. } => ActionSpec::Continuous { low: low.clone(), high: high.clone() },
        Space::Discrete { n, start } => ActionSpec::Discrete { n: *n, start: *start },
    }
}
