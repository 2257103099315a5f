//! The agent of a policy of any kind.

use aaren_policy::AnyPolicy;
use aaren_policy::mixer::CachePolicy;
use anyhow::{Result, ensure};

use super::agent::{ActorCriticAgent, Agent};
use super::decision_agent::DecisionAgent;
use crate::device::{CPU, Cpu};

/// How a policy is executed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExecutionMode {
    /// Timesteps that a decision policy computes anew at every step; `None` carries its state along.
    pub window: Option<usize>,
    /// What Transformers among its mixers keep of the past.
    pub cache: CachePolicy,
    /// Whether an actor-critic draws its actions; else it takes the likeliest.
    pub stochastic: bool,
}

impl ExecutionMode {
    /// Whether a policy can be executed so.
    ///
    /// # Errors
    /// A window for an actor-critic, or draws from a decision policy.
    pub(crate) fn check(self, policy: &AnyPolicy<Cpu>) -> Result<()> {
        let is_decision = matches!(policy, AnyPolicy::Decision(_));
        ensure!(self.window.is_none() || is_decision, "only decision policies are executed on a window");
        ensure!(
            !(self.stochastic && is_decision),
            "a decision policy has one action for every moment; only actor-critics draw theirs"
        );
        Ok(())
    }
}

/// The agent of a policy of any kind.
///
/// # Errors
/// A bound for the cache of a policy that has none, as [`AnyPolicy::bounded_state`].
pub(crate) fn policy_agent(policy: AnyPolicy<Cpu>, mode: ExecutionMode, rows: usize) -> Result<Box<dyn Agent>> {
    let state = policy.bounded_state(mode.cache, rows, &CPU)?;
    Ok(match policy {
        AnyPolicy::Decision(policy) => Box::new(DecisionAgent::new(policy, state, mode.window, rows)),
        AnyPolicy::ActorCritic(policy) => Box::new(ActorCriticAgent::resume(policy, mode.stochastic, state, vec![true; rows])),
    })
}
