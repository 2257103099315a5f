//! Agents: what chooses actions, for several environments at once.

use aaren_envs::{Generator, Space, Spec};
use aaren_policy::{ActionBatch, ActorCriticPolicy, PolicyState};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::device::{CPU, Cpu};

/// Chooses actions in the rows of a batch of fixed shape, each an environment of its own. One belongs to each actor thread.
pub(crate) trait Agent {
    /// An episode begins in a row; random numbers of its actions come from `seed`.
    ///
    /// - `target_return`: in units of reward, for agents that are told one
    fn begin(&mut self, row: usize, seed: u64, target_return: f64);

    /// Chooses the next action of every row. Those of rows that are not active mean nothing.
    ///
    /// - `observations`: `[rows, observation width]`
    /// - `active`: `[rows]`, whether an episode is under way
    fn act(&mut self, observations: &[f64], active: &[bool], actions: &mut Actions);

    /// What the action of a row was rewarded with.
    fn reward(&mut self, row: usize, reward: f64) {
        let _ = (row, reward);
    }

    /// Whether actions are drawn, so that each has a log-density.
    fn is_random(&self) -> bool {
        false
    }
}

/// Actions for every row.
#[derive(Clone, Debug, PartialEq)]
pub struct Actions {
    /// `[rows, action width]`, within the bounds.
    pub executed: ActionBatch,
    /// Log-densities of the draws, `[rows]`; empty where nothing is drawn.
    pub log_probs: Vec<f32>,
}

impl Default for Actions {
    fn default() -> Self {
        Self { executed: ActionBatch::Discrete(Vec::new()), log_probs: Vec::new() }
    }
}

/// An actor-critic that acts.
#[derive(Clone)]
pub(crate) struct ActorCriticAgent {
    policy: ActorCriticPolicy<Cpu>,
    stochastic: bool,
    /// Absent only while the policy computes.
    state: Option<PolicyState<Cpu>>,
    /// Of the noise, a row each.
    generators: Vec<Pcg64Mcg>,
    /// Rows whose episode is at its first step.
    resets: Vec<bool>,
    observations: Vec<f32>,
    raw_actions: Vec<f32>,
}

impl ActorCriticAgent {
    /// An agent whose episodes have not begun.
    pub(crate) fn new(policy: ActorCriticPolicy<Cpu>, stochastic: bool, rows: usize) -> Self {
        let state = policy.initial_state(rows, &CPU);
        Self::resume(policy, stochastic, state, vec![true; rows])
    }

    /// An agent in the middle of episodes.
    pub(crate) fn resume(policy: ActorCriticPolicy<Cpu>, stochastic: bool, state: PolicyState<Cpu>, resets: Vec<bool>) -> Self {
        Self {
            policy,
            stochastic,
            state: Some(state),
            generators: vec![Pcg64Mcg::seed_from_u64(0); resets.len()],
            resets,
            observations: Vec::new(),
            raw_actions: Vec::new(),
        }
    }

    /// Begins the noise of a row anew.
    pub(crate) fn seed(&mut self, row: usize, seed: u64) {
        self.generators[row] = Pcg64Mcg::seed_from_u64(seed);
    }

    /// An episode begins in a row; its noise continues.
    pub(crate) fn reset(&mut self, row: usize) {
        self.resets[row] = true;
    }

    /// The observations that the last actions were chosen by, as the policy saw them: `[rows, observation width]`.
    pub(crate) fn observations(&self) -> &[f32] {
        &self.observations
    }

    /// The last actions before they were put within the bounds: `[rows, action width]`.
    pub(crate) fn raw_actions(&self) -> &[f32] {
        &self.raw_actions
    }

    /// The same, with the generators of its noise.
    pub(crate) fn with_generators(self, generators: Vec<Pcg64Mcg>) -> Self {
        Self { generators, ..self }
    }

    /// Generators of the noise, a row each.
    pub(crate) fn generators(&self) -> &[Pcg64Mcg] {
        &self.generators
    }

    /// Rows whose episode is at its first step.
    pub(crate) fn resets(&self) -> &[bool] {
        &self.resets
    }

    /// What the policy carries after the last actions.
    pub(crate) fn state(&self) -> PolicyState<Cpu> {
        self.state.clone().unwrap_or_else(|| self.policy.initial_state(self.resets.len(), &CPU))
    }

    /// What the policy carries after the last actions.
    pub(crate) fn into_state(self) -> PolicyState<Cpu> {
        self.state.unwrap_or_else(|| self.policy.initial_state(self.resets.len(), &CPU))
    }
}

impl Agent for ActorCriticAgent {
    fn begin(&mut self, row: usize, seed: u64, _target_return: f64) {
        self.seed(row, seed);
        self.reset(row);
    }

    fn is_random(&self) -> bool {
        self.stochastic
    }

    fn act(&mut self, observations: &[f64], active: &[bool], actions: &mut Actions) {
        let description = &self.policy.description;
        let (width, action_width) = (description.normalizer.width(), description.action.width());
        self.observations.clear();
        self.raw_actions.clear();
        actions.log_probs.clear();
        // Rows without an episode are computed all the same, so that the batch always has one shape.
        observations.chunks_exact(width).for_each(|row| description.push_observation(row, &mut self.observations));
        let state = self.state.take().unwrap_or_else(|| self.policy.initial_state(active.len(), &CPU));
        let (distributions, state) = self.policy.act(&self.observations, &self.resets, state, &CPU);
        for (row, &active) in active.iter().enumerate() {
            let start = self.raw_actions.len();
            match (active, self.stochastic) {
                (true, true) => distributions.sample(row, &mut self.generators[row], &mut self.raw_actions),
                (true, false) => distributions.mode(row, &mut self.raw_actions),
                (false, _) => self.raw_actions.resize(start + action_width, 0.0),
            }
            if self.stochastic {
                actions.log_probs.push(distributions.log_prob(row, &self.raw_actions[start..]));
            }
        }
        actions.executed = description.action.execute(&self.raw_actions);
        self.state = Some(state);
        self.resets.iter_mut().zip(active).for_each(|(reset, active)| *reset &= !active);
    }
}

/// Draws actions uniformly from the action space.
pub(crate) struct UniformAgent {
    space: Space,
    generators: Vec<Generator>,
    /// The same for every action.
    log_prob: f32,
    draw: Vec<f64>,
}

impl UniformAgent {
    /// An agent for a task.
    pub(crate) fn new(spec: &Spec, rows: usize) -> Self {
        let space = &spec.action_space;
        let log_prob = match space {
            Space::Discrete { n, .. } => -(*n as f64).ln(),
            Space::Box { low, high, .. } => low.iter().zip(high).map(|(low, high)| -(high - low).ln()).sum(),
        };
        Self {
            space: space.clone(),
            generators: vec![Generator::from_seed(0); rows],
            log_prob: log_prob as f32,
            draw: vec![0.0; space.width()],
        }
    }
}

impl Agent for UniformAgent {
    fn begin(&mut self, row: usize, seed: u64, _target_return: f64) {
        self.generators[row] = Generator::from_seed(seed);
    }

    fn is_random(&self) -> bool {
        true
    }

    fn act(&mut self, _: &[f64], active: &[bool], actions: &mut Actions) {
        actions.log_probs = vec![self.log_prob; active.len()];
        let rows = self.generators.iter_mut().zip(active);
        actions.executed = if self.space.is_discrete() {
            let draw = |(generator, &active)| if active { self.space.sample_index(generator) } else { 0 };
            ActionBatch::Discrete(rows.map(draw).collect())
        } else {
            let mut drawn = Vec::with_capacity(active.len() * self.draw.len());
            for (generator, &active) in rows {
                if active {
                    self.space.sample(generator, &mut self.draw);
                }
                drawn.extend(self.draw.iter().map(|&number| number as f32));
            }
            ActionBatch::Continuous(drawn)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_actions_whatever_the_row() {
        let spec = aaren_envs::make("TMaze-v0", &Default::default()).unwrap().spec().clone();
        let (mut agent, mut actions) = (UniformAgent::new(&spec, 2), Actions::default());
        (0..2).for_each(|row| agent.begin(row, 7, 0.0));
        agent.act(&[0.0; 6], &[true, true], &mut actions);
        assert_eq!(actions.executed.row(0, 3), actions.executed.row(1, 3));
    }
}
