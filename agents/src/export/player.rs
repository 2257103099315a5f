//! A policy that is stepped by somebody else's loop, in one environment.

use aaren_policy::{ActionBatch, ActionSpec, AnyPolicy};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::device::Cpu;
use crate::play::{Acting, ExecutionMode};

/// A policy of any kind in one environment.
pub struct Player {
    policy: AnyPolicy<Cpu>,
    acting: Acting,
    /// The return that a policy is told where nobody says another.
    target_return: Option<f64>,
    place: Place,
    action: ActionBatch,
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
    acting: Vec<u8>,
}

impl Player {
    /// A player whose episode has not begun.
    ///
    /// # Errors
    /// If the policy cannot be executed as its job does.
    pub fn new(source: Source) -> Result<Self> {
        let Source { policy, window, target_return, .. } = source;
        let acting = Acting::new(&policy, ExecutionMode { window, ..ExecutionMode::default() }, 1)?;
        Ok(Self { policy, acting, target_return, place: Place::Before, action: ActionBatch::Discrete(Vec::new()) })
    }

    /// The actions.
    pub fn action(&self) -> &ActionSpec {
        self.policy.action()
    }

    /// Numbers in an observation.
    pub fn observation_width(&self) -> usize {
        self.policy.observation_width()
    }

    /// Whether the policy must be told a return.
    fn is_told_return(&self) -> bool {
        matches!(&self.policy, AnyPolicy::Decision(policy) if policy.description.config.tokens.has_return_to_go())
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
            None if self.is_told_return() => bail!("the policy must be told which return to reach, and its job does not say one"),
            None => 0.0,
        };
        ensure!(target.is_finite(), "a target return of {target}, expected a finite number");
        self.acting.begin(0, 0, target);
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
        let width = self.observation_width();
        ensure!(observation.len() == width, "an observation of {} numbers, the policy is told {width}", observation.len());
        if let Some(at) = observation.iter().position(|number| !number.is_finite()) {
            bail!("number {at} of the observation is {}", observation[at]);
        }
        match self.place {
            Place::Before => bail!("no episode has begun; begin one before its first step"),
            Place::First => {}
            Place::Later => {
                ensure!(reward.is_finite(), "a reward of {reward}");
                self.acting.reward(0, reward);
            }
        }
        self.place = Place::Later;
        self.action = self.acting.act(observation, &[true])?.executed;
        Ok(&self.action)
    }

    /// All that is carried between two steps, as bytes: [`Player::restore`] goes on from there.
    ///
    /// # Errors
    /// If it cannot be written, which never happened.
    pub fn save(&self) -> Result<Vec<u8>> {
        Ok(rmp_serde::to_vec(&Snapshot { place: self.place, acting: self.acting.store()? })?)
    }

    /// Goes on from what [`Player::save`] gave, of this policy.
    ///
    /// # Errors
    /// If the bytes are not the state of this policy; nothing is changed then.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let Snapshot { place, acting } = rmp_serde::from_slice(bytes).context("not a policy's state")?;
        let acting = Acting::restore(&self.policy, &acting)?;
        ensure!(acting.rows() == 1, "the state has {} rows, expected one", acting.rows());
        (self.acting, self.place) = (acting, place);
        Ok(())
    }
}

#[cfg(test)]
#[path = "../../tests/internal/player.rs"]
mod tests;
