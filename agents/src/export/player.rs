//! A policy that is stepped by somebody else's loop, in one environment.

use aaren_policy::{ActionBatch, ActionSpec, AnyPolicy};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::device::CPU;
use crate::play::agent::{Actions, ActorCriticAgent, ActorCriticSnapshot, Agent};
use crate::play::decision_agent::{DecisionAgent, DecisionSnapshot};

/// A policy of any kind in one environment.
pub struct Player {
    actor: Actor,
    action: ActionSpec,
    observation_width: usize,
    /// Whether it must be told a return, and the one that it is told where nobody says another.
    target_return: Option<f64>,
    is_told_return: bool,
    place: Place,
    actions: Actions,
}

#[allow(clippy::large_enum_variant, reason = "there are never many of them")]
enum Actor {
    Decision(DecisionAgent),
    ActorCritic(ActorCriticAgent),
}

/// Where in an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// None has begun.
    Before,
    /// At its first step.
    First,
    /// Later.
    Later,
}

/// All that a player carries between two steps.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    place: Place,
    actor: ActorSnapshot,
}

#[derive(Serialize, Deserialize)]
enum ActorSnapshot {
    Decision(DecisionSnapshot),
    ActorCritic(ActorCriticSnapshot),
}

impl Player {
    /// A player whose episode has not begun.
    ///
    /// # Errors
    /// If the policy cannot be executed as its job does.
    pub fn new(source: Source) -> Result<Self> {
        let Source { policy, window, target_return, .. } = source;
        let (action, observation_width) = (policy.action().clone(), policy.observation_width());
        let is_told_return =
            matches!(&policy, AnyPolicy::Decision(policy) if policy.description.config.tokens.has_return_to_go());
        let actor = match policy {
            AnyPolicy::Decision(policy) => {
                let state = policy.initial_state(1, &CPU);
                Actor::Decision(DecisionAgent::new(policy, state, window, 1))
            }
            AnyPolicy::ActorCritic(policy) => Actor::ActorCritic(ActorCriticAgent::new(policy, false, 1)),
        };
        let (place, actions) = (Place::Before, Actions::default());
        Ok(Self { actor, action, observation_width, target_return, is_told_return, place, actions })
    }

    /// The actions.
    pub fn action(&self) -> &ActionSpec {
        &self.action
    }

    /// Numbers in an observation.
    pub fn observation_width(&self) -> usize {
        self.observation_width
    }

    /// Begins an episode.
    ///
    /// - `target_return`: what to ask the policy for, in units of reward; `None` asks for what its job asks for first
    ///
    /// # Errors
    /// A return that is not finite, or none for a policy that must be told one.
    pub fn begin(&mut self, target_return: Option<f64>) -> Result<()> {
        let target = match target_return.or(self.target_return) {
            Some(target) => target,
            None if self.is_told_return => bail!("the policy must be told which return to reach, and its job does not say one"),
            None => 0.0,
        };
        ensure!(target.is_finite(), "a target return of {target}, expected a finite number");
        self.agent().begin(0, 0, target);
        self.place = Place::First;
        Ok(())
    }

    /// The action for an observation, within the bounds.
    ///
    /// - `observation`: as the environment shows it
    /// - `reward`: of the last action; not read at the first step of an episode
    ///
    /// # Errors
    /// An episode that has not begun, a number that is not finite, or too many or too few of them.
    pub fn step(&mut self, observation: &[f64], reward: f64) -> Result<&ActionBatch> {
        let width = self.observation_width;
        ensure!(observation.len() == width, "an observation of {} numbers, the policy is told {width}", observation.len());
        if let Some(at) = observation.iter().position(|number| !number.is_finite()) {
            bail!("number {at} of the observation is {}", observation[at]);
        }
        match self.place {
            Place::Before => bail!("no episode has begun; begin one before its first step"),
            Place::First => {}
            Place::Later => {
                ensure!(reward.is_finite(), "a reward of {reward}");
                self.agent().reward(0, reward);
            }
        }
        self.place = Place::Later;
        let mut actions = std::mem::take(&mut self.actions);
        self.agent().act(observation, &[true], &mut actions);
        self.actions = actions;
        Ok(&self.actions.executed)
    }

    /// All that is carried between two steps, as bytes: [`Player::restore`] goes on from there.
    ///
    /// # Errors
    /// If it cannot be written, which never happened.
    pub fn save(&self) -> Result<Vec<u8>> {
        let actor = match &self.actor {
            Actor::Decision(agent) => ActorSnapshot::Decision(agent.snapshot()),
            Actor::ActorCritic(agent) => ActorSnapshot::ActorCritic(agent.snapshot()),
        };
        Ok(rmp_serde::to_vec(&Snapshot { place: self.place, actor })?)
    }

    /// Goes on from what [`Player::save`] gave, of this policy.
    ///
    /// # Errors
    /// If the bytes are not the state of this policy; nothing is changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let Snapshot { place, actor } = rmp_serde::from_slice(bytes).context("not a policy's state")?;
        match (&mut self.actor, actor) {
            (Actor::Decision(agent), ActorSnapshot::Decision(snapshot)) => agent.restore(snapshot)?,
            (Actor::ActorCritic(agent), ActorSnapshot::ActorCritic(snapshot)) => agent.restore(snapshot)?,
            _ => bail!("the state of a policy of another kind"),
        }
        self.place = place;
        Ok(())
    }

    fn agent(&mut self) -> &mut dyn Agent {
        match &mut self.actor {
            Actor::Decision(agent) => agent,
            Actor::ActorCritic(agent) => agent,
        }
    }
}

#[cfg(test)]
#[path = "../../tests/internal/player.rs"]
mod tests;
