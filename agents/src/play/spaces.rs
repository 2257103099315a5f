//! Spaces of environments as policies see them.

use aaren_envs::{Space, Spec};
use aaren_policy::{ActionSpec, AnyPolicy};
use anyhow::{Result, ensure};

use crate::device::Cpu;

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

/// Whether a policy can play a task: it takes what the task shows, and gives what that takes. The bounds of numbers may be others where the
/// policy was trained without a task, on data that said theirs; that is a warning.
///
/// # Errors
/// Says both sizes.
pub fn check_spaces(policy: &AnyPolicy<Cpu>, spec: &Spec) -> Result<()> {
    let (width, action, of_task) = (policy.observation_width(), policy.action(), action_spec(&spec.action_space));
    let are_numbers = !action.is_discrete() && !of_task.is_discrete() && action.width() == of_task.width();
    let may_differ = are_numbers && !policy.environment()["id"].is_string();
    ensure!(
        width == spec.observation_space.width() && (*action == of_task || may_differ),
        "its policy takes {width} numbers and gives {} ({}), {} shows {} and takes {}",
        action.width(),
        if action.is_discrete() { "choices" } else { "numbers" },
        spec.id,
        spec.observation_space.width(),
        spec.action_space.width()
    );
    if let (ActionSpec::Continuous { low, high }, ActionSpec::Continuous { low: of_low, high: of_high }) = (action, &of_task)
        && (low, high) != (of_low, of_high)
    {
        tracing::warn!("the policy's actions are in {low:?} to {high:?}, those of {} in {of_low:?} to {of_high:?}", spec.id);
    }
    Ok(())
}
