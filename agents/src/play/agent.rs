//! Agents: what chooses actions, for several environments at once.

use aaren_envs::{Generator, Space, Spec};
use aaren_policy::{ActionBatch, ActionValue, ActorCriticPolicy, PolicyState, PreviousStep};
use anyhow::{Result, ensure};
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
    /// The timestep before, a row each; nothing for a policy that is not shown it.
    previous: Vec<PreviousStep>,
    inputs: Vec<f32>,
    raw_actions: Vec<f32>,
}

impl ActorCriticAgent {
    /// An agent whose episodes have not begun.
    pub(crate) fn new(policy: ActorCriticPolicy<Cpu>, stochastic: bool, rows: usize) -> Self {
        let state = policy.initial_state(rows, &CPU);
        Self::resume(policy, stochastic, state, vec![true; rows])
    }

    /// An agent in the middle of episodes, whose timesteps before are not known yet.
    pub(crate) fn resume(policy: ActorCriticPolicy<Cpu>, stochastic: bool, state: PolicyState<Cpu>, resets: Vec<bool>) -> Self {
        let rows = if policy.description.inputs.have_previous() { resets.len() } else { 0 };
        let previous = vec![PreviousStep::default(); rows];
        Self {
            policy,
            stochastic,
            state: Some(state),
            generators: vec![Pcg64Mcg::seed_from_u64(0); resets.len()],
            resets,
            previous,
            inputs: Vec::new(),
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
        self.previous.get_mut(row).into_iter().for_each(|previous| *previous = PreviousStep::default());
    }

    /// Tells which action was executed in place of the one that was chosen.
    pub(crate) fn tell_action(&mut self, row: usize, action: ActionValue<'_>) {
        if let Some(previous) = self.previous.get_mut(row) {
            *previous = std::mem::take(previous).with_action(&self.policy.description.action, action);
        }
    }

    /// The timestep before, a row each; nothing for a policy that is not shown it.
    pub(crate) fn previous(&self) -> &[PreviousStep] {
        &self.previous
    }

    /// The same, with the timesteps before.
    ///
    /// # Errors
    /// If they are another policy's.
    pub(crate) fn with_previous(self, previous: Vec<PreviousStep>) -> Result<Self> {
        let spec = &self.policy.description.action;
        let fits = previous.len() == self.previous.len() && previous.iter().all(|previous| previous.is_of(spec));
        ensure!(
            fits,
            "the state is another policy's: its previous actions and rewards are not those of {} rows",
            self.previous.len()
        );
        Ok(Self { previous, ..self })
    }

    /// Appends what the policy would be shown in a row now, by an observation.
    pub(crate) fn push_input(&self, row: usize, observation: &[f64], input: &mut Vec<f32>) {
        self.policy.description.push_input(observation, self.previous.get(row).unwrap_or(&PreviousStep::default()), input);
    }

    /// What the last actions were chosen by: `[rows, input width]`.
    pub(crate) fn inputs(&self) -> &[f32] {
        &self.inputs
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
        let mut inputs = std::mem::take(&mut self.inputs);
        inputs.clear();
        self.raw_actions.clear();
        actions.log_probs.clear();
        // Rows without an episode are computed all the same, so that the batch always has one shape.
        observations.chunks_exact(width).enumerate().for_each(|(row, shown)| self.push_input(row, shown, &mut inputs));
        self.inputs = inputs;
        let state = self.state.take().unwrap_or_else(|| self.policy.initial_state(active.len(), &CPU));
        let (distributions, state) = self.policy.act(&self.inputs, &self.resets, state, &CPU);
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
        for (row, previous) in self.previous.iter_mut().enumerate().filter(|(row, _)| active[*row]) {
            *previous = PreviousStep::new(&description.action, actions.executed.row(row, action_width));
        }
        self.state = Some(state);
        self.resets.iter_mut().zip(active).for_each(|(reset, active)| *reset &= !active);
    }

    fn reward(&mut self, row: usize, reward: f64) {
        // Before an episode's first action there is nothing to reward.
        if let Some(previous) = self.previous.get_mut(row).filter(|_| !self.resets[row]) {
            previous.add_reward(reward);
        }
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
    use aaren_policy::{
        ActionSpec, ActorCriticConfig, ActorCriticDescription, ActorCriticNetwork, Inputs, Normalizer, PolicyConfig,
    };

    /// A row that is idle keeps what it had, one that begins an episode has nothing, and whatever is not shown is not kept.
    #[test]
    fn a_policy_is_shown_what_its_rows_executed_and_were_rewarded_with() {
        let agent = |inputs: Inputs| {
            let config =
                PolicyConfig { mixer: "gru".into(), width: 4, heads: 2, feed_forward: 4, dropout: 0.0, ..Default::default() };
            let description = ActorCriticDescription {
                format: ActorCriticDescription::FORMAT,
                network: ActorCriticConfig::Recurrent(config),
                normalizer: Normalizer::identity(1),
                observation_clip: 10.0,
                inputs,
                action: ActionSpec::Discrete { n: 2, start: 0 },
                environment: serde_json::Value::Null,
            };
            let network = ActorCriticNetwork::new(&description, 0.0, 1, &CPU).unwrap();
            ActorCriticAgent::new(ActorCriticPolicy { network, description }, true, 3)
        };
        let (mut both, mut actions) = (agent(Inputs { action: true, reward: true }), Actions::default());
        both.reward(0, 5.0); // before the first action: of no action
        both.act(&[0.1, 0.2, 0.3], &[true; 3], &mut actions);
        assert_eq!(both.inputs(), [0.1, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0]);
        let ActionBatch::Discrete(chosen) = &actions.executed else { unreachable!() };
        let other = 1 - chosen[1];
        both.tell_action(1, ActionValue::Discrete(other));
        (0..3).for_each(|row| both.reward(row, 2.0 + row as f64));
        both.reset(2);
        let one_hot = |choice: i64| [1.0 - choice as f32, choice as f32];
        let (first, second) = (one_hot(chosen[0]), one_hot(other));
        let expected = [[0.1, first[0], first[1], 2.0], [0.2, second[0], second[1], 3.0], [0.3, 0.0, 0.0, 0.0]].concat();
        both.act(&[0.1, 0.2, 0.3], &[true, false, true], &mut actions);
        assert_eq!(both.inputs(), expected);
        both.act(&[0.1, 0.2, 0.3], &[false, true, false], &mut actions);
        assert_eq!(both.inputs()[4..8], expected[4..8], "an idle row");

        let mut neither = agent(Inputs::default());
        neither.act(&[0.1, 0.2, 0.3], &[true; 3], &mut actions);
        neither.reward(0, 1.0);
        neither.act(&[0.1, 0.2, 0.3], &[true; 3], &mut actions);
        assert_eq!((neither.inputs(), neither.previous().len()), (&[0.1, 0.2, 0.3][..], 0));
        let error = neither.with_previous(both.previous().to_vec()).err().unwrap().to_string();
        assert!(error.contains("another policy's"), "{error}");
    }

    #[test]
    fn the_same_seed_draws_the_same_actions_whatever_the_row() {
        let spec = aaren_envs::make("TMaze-v0", &Default::default()).unwrap().spec().clone();
        let (mut agent, mut actions) = (UniformAgent::new(&spec, 2), Actions::default());
        (0..2).for_each(|row| agent.begin(row, 7, 0.0));
        agent.act(&[0.0; 6], &[true, true], &mut actions);
        assert_eq!(actions.executed.row(0, 3), actions.executed.row(1, 3));
    }
}
