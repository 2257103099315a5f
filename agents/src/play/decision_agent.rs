//! A decision policy that acts.

use std::collections::VecDeque;

use aaren_policy::{ActionBatch, ActionSpec, ActionValue, DecisionPolicy, NO_CHOICE, PolicyState, Timesteps};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::agent::{Actions, Agent};
use crate::device::{CPU, Cpu};

/// One timestep of an episode, as the policy is shown it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Moment {
    observation: Vec<f64>,
    previous_action: Option<ActionBatch>,
    return_to_go: f64,
    timestep: usize,
}

/// The episode in one row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    return_to_go: f64,
    previous_action: Option<ActionBatch>,
    timestep: usize,
    /// The last timesteps, oldest first; only for windowed execution.
    history: VecDeque<Moment>,
}

/// A decision policy, asked in every row for a return, that carries its state along or computes a window anew at every step.
#[derive(Clone)]
pub(crate) struct DecisionAgent {
    policy: DecisionPolicy<Cpu>,
    window: Option<usize>,
    rows: Vec<Row>,
    timesteps: Timesteps,
    /// What the policy carries along; for windowed execution, what every window begins with. Absent only while the policy computes.
    state: Option<PolicyState<Cpu>>,
}

impl DecisionAgent {
    /// An agent whose episodes have not begun.
    ///
    /// - `state`: of episodes that have not begun
    /// - `window`: timesteps that are computed anew at every step; `None` carries the state along
    pub(crate) fn new(policy: DecisionPolicy<Cpu>, state: PolicyState<Cpu>, window: Option<usize>, rows: usize) -> Self {
        Self { policy, window, rows: vec![Row::default(); rows], timesteps: Timesteps::new(), state: Some(state) }
    }

    /// An agent in the middle of episodes, which may say anything.
    ///
    /// # Errors
    /// If they are not episodes of this policy.
    pub(crate) fn resume(
        policy: DecisionPolicy<Cpu>,
        state: PolicyState<Cpu>,
        window: Option<usize>,
        rows: Vec<Row>,
    ) -> Result<Self> {
        let description = &policy.description;
        let is_action = |action: &Option<ActionBatch>| match (action, &description.action) {
            (None, _) => true,
            (Some(ActionBatch::Continuous(numbers)), ActionSpec::Continuous { low, .. }) => numbers.len() == low.len(),
            (Some(ActionBatch::Discrete(choices)), ActionSpec::Discrete { n, start }) => {
                choices.len() == 1
                    && (choices[0] == NO_CHOICE || (*start..start.saturating_add_unsigned(*n as u64)).contains(&choices[0]))
            }
            _ => false,
        };
        let is_moment =
            |moment: &Moment| moment.observation.len() == description.normalizer.width() && is_action(&moment.previous_action);
        let fits = |row: &Row| {
            row.history.iter().all(is_moment)
                && is_action(&row.previous_action)
                && row.history.len() <= window.unwrap_or(0)
                && row.timestep < usize::MAX
        };
        ensure!(rows.iter().all(fits), "the state is of another policy, or of one that is executed otherwise");
        Ok(Self { rows, ..Self::new(policy, state, window, 0) })
    }

    /// Timesteps that are computed anew at every step.
    pub(crate) fn window(&self) -> Option<usize> {
        self.window
    }

    /// The episodes.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What the policy carries after the last actions.
    pub(crate) fn state(&self) -> PolicyState<Cpu> {
        self.state.clone().unwrap_or_else(|| self.policy.initial_state(self.rows.len(), &CPU))
    }

    /// Whether the episode of a row has made a step.
    pub(crate) fn is_under_way(&self, row: usize) -> bool {
        self.rows[row].timestep > 0
    }

    /// Asks for another return from here on.
    pub(crate) fn ask_for(&mut self, row: usize, return_to_go: f64) {
        self.rows[row].return_to_go = return_to_go;
    }

    /// Tells which action was executed in place of the one that was chosen.
    pub(crate) fn tell_action(&mut self, row: usize, action: ActionValue<'_>) {
        self.rows[row].previous_action = Some(action.into());
    }

    /// Shows the policy where every row is: its newest timestep, or its window.
    fn show(&mut self, observations: &[f64], active: &[bool]) {
        let Self { policy, window, rows, timesteps, .. } = self;
        timesteps.clear();
        let description = &policy.description;
        let (width, action_width) = (description.normalizer.width(), description.action.width());
        let idle = vec![0.0; width];
        for ((row, observation), active) in rows.iter_mut().zip(observations.chunks_exact(width)).zip(active) {
            if !active {
                // A row without an episode is computed all the same, so that batches always have one shape.
                (0..window.unwrap_or(1)).for_each(|_| timesteps.push(description, &idle, None, 0.0, 0, true));
                continue;
            }
            let Some(window) = *window else {
                let previous = row.previous_action.as_ref().map(|action| action.row(0, action_width));
                timesteps.push(description, observation, previous, row.return_to_go, row.timestep, row.timestep == 0);
                continue;
            };
            if row.history.len() == window {
                row.history.pop_front();
            }
            row.history.push_back(Moment {
                observation: observation.to_vec(),
                previous_action: row.previous_action.clone(),
                return_to_go: row.return_to_go,
                timestep: row.timestep,
            });
            // What is missing at the front of a window is forgotten by the reset at the first timestep that is there.
            let missing = window - row.history.len();
            (0..missing).for_each(|_| timesteps.push(description, &idle, None, 0.0, 0, true));
            for (i, moment) in row.history.iter().enumerate() {
                let previous = moment.previous_action.as_ref().map(|action| action.row(0, action_width));
                timesteps.push(description, &moment.observation, previous, moment.return_to_go, moment.timestep, i == 0);
            }
        }
    }
}

impl Agent for DecisionAgent {
    fn begin(&mut self, row: usize, _seed: u64, target_return: f64) {
        self.rows[row] = Row { return_to_go: target_return, ..Row::default() };
    }

    fn act(&mut self, observations: &[f64], active: &[bool], actions: &mut Actions) {
        self.show(observations, active);
        let rows = self.rows.len();
        let state = self.state.take().unwrap_or_else(|| self.policy.initial_state(rows, &CPU));
        let first = self.window.map(|_| state.clone());
        let (executed, state) = self.policy.act(&self.timesteps, rows, state, &CPU);
        self.state = Some(first.unwrap_or(state));
        let width = self.policy.description.action.width();
        for (index, row) in self.rows.iter_mut().enumerate().filter(|(index, _)| active[*index]) {
            row.previous_action = Some(executed.row(index, width).into());
            row.timestep += 1;
        }
        actions.executed = executed;
    }

    fn reward(&mut self, row: usize, reward: f64) {
        self.rows[row].return_to_go -= reward;
    }
}
