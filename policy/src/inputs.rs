//! What an actor-critic is shown at a timestep: the observation, and what came of the timestep before.

use crate::action::{ActionSpec, ActionValue};
use serde::{Deserialize, Serialize};

/// A part of what a policy is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// The observation, normalized.
    Observation,
    /// The action that the timestep before executed: one-hot, or its components in units where the bounds are -1 and 1.
    Action,
    /// What it was rewarded with, as the task pays it, clipped to plus and minus 10.
    Reward,
}

/// The parts that a policy is shown: always the observation. Written as a list of [`Input`]s.
///
/// A recurrent policy needs the others where the observation does not tell what was done or how well it went, as in bandits
/// (Duan et al. 2016, arXiv:1611.02779; Ni et al. 2022, arXiv:2110.05038). At an episode's first timestep they are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Input>", into = "Vec<Input>")]
pub struct Inputs {
    /// Whether the policy is shown the previous action.
    pub action: bool,
    /// Whether it is shown the previous reward.
    pub reward: bool,
}

impl Inputs {
    /// Rewards are shown clipped to between minus and plus this.
    pub const REWARD_CLIP: f64 = 10.0;

    /// Whether anything of the timestep before is shown.
    pub fn have_previous(self) -> bool {
        self.action || self.reward
    }

    /// Numbers that a policy is shown besides the observation.
    pub fn previous_width(self, action: &ActionSpec) -> usize {
        if self.action { action.width() + usize::from(self.reward) } else { usize::from(self.reward) }
    }

    /// Appends what is shown of the timestep before.
    pub(crate) fn push(self, action: &ActionSpec, previous: &PreviousStep, input: &mut Vec<f32>) {
        if self.action && previous.action.is_empty() {
            input.resize(input.len() + action.width(), 0.0);
        } else if self.action {
            input.extend_from_slice(&previous.action);
        }
        if self.reward {
            input.push(previous.reward.clamp(-Self::REWARD_CLIP, Self::REWARD_CLIP) as f32);
        }
    }
}

impl TryFrom<Vec<Input>> for Inputs {
    type Error = String;

    /// # Errors
    /// A list without the observation, or with one part twice.
    fn try_from(list: Vec<Input>) -> Result<Self, String> {
        let count = |input| list.iter().filter(|&&found| found == input).count();
        let [observation, action, reward] = [Input::Observation, Input::Action, Input::Reward].map(count);
        if observation != 1 || action > 1 || reward > 1 {
            let found = serde_json::json!(list);
            return Err(format!("found {found}, expected \"observation\" and, each at most once, \"action\" and \"reward\""));
        }
        Ok(Self { action: action == 1, reward: reward == 1 })
    }
}

impl From<Inputs> for Vec<Input> {
    fn from(inputs: Inputs) -> Self {
        let parts = [(true, Input::Observation), (inputs.action, Input::Action), (inputs.reward, Input::Reward)];
        parts.into_iter().filter(|(is_shown, _)| *is_shown).map(|(_, input)| input).collect()
    }
}

/// What a policy is shown of the timestep before; of an episode's first timestep nothing, the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PreviousStep {
    /// Encoded; empty where there was no timestep before.
    action: Vec<f32>,
    /// In units of the task.
    reward: f64,
}

impl PreviousStep {
    /// A timestep that has executed an action, and whose reward is not known yet.
    ///
    /// # Panics
    /// If the action is not of the space's kind and width.
    pub fn new(spec: &ActionSpec, executed: ActionValue<'_>) -> Self {
        let mut action = Vec::with_capacity(spec.width());
        spec.encode(executed, &mut action);
        Self { action, reward: 0.0 }
    }

    /// The same timestep, with another action executed in place of the one that was chosen.
    ///
    /// # Panics
    /// As [`PreviousStep::new`].
    pub fn with_action(self, spec: &ActionSpec, executed: ActionValue<'_>) -> Self {
        Self { reward: self.reward, ..Self::new(spec, executed) }
    }

    /// Adds to what the action was rewarded with.
    pub fn add_reward(&mut self, reward: f64) {
        self.reward += reward;
    }

    /// Whether this can be a timestep of a policy with such actions; what was stored may say anything.
    pub fn is_of(&self, spec: &ActionSpec) -> bool {
        (self.action.is_empty() || self.action.len() == spec.width()) && self.reward.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_the_observation_once_and_is_written_in_one_order() {
        let read = |text: &str| serde_json::from_str::<Inputs>(text).map_err(|error| error.to_string());
        let inputs = read(r#"["reward", "observation", "action"]"#).unwrap();
        assert_eq!(inputs, Inputs { action: true, reward: true });
        assert_eq!(serde_json::to_string(&inputs).unwrap(), r#"["observation","action","reward"]"#);
        assert_eq!(read(r#"["observation"]"#).unwrap(), Inputs::default());
        for wrong in ["[]", r#"["action"]"#, r#"["observation","observation"]"#, r#"["observation","reward","reward"]"#] {
            let message = read(wrong).unwrap_err();
            assert!(message.contains(&format!("found {wrong}")), "{message}");
        }
    }

    #[test]
    fn what_is_shown_is_the_executed_action_in_its_units_and_the_clipped_reward() {
        let shown = |spec: &ActionSpec, previous: &PreviousStep| {
            let mut input = Vec::new();
            Inputs { action: true, reward: true }.push(spec, previous, &mut input);
            input
        };
        let discrete = ActionSpec::Discrete { n: 3, start: 5 };
        let continuous = ActionSpec::Continuous { low: vec![-2.0, 0.0], high: vec![2.0, 4.0] };
        assert_eq!(shown(&discrete, &PreviousStep::default()), [0.0; 4]);
        let mut previous = PreviousStep::new(&discrete, ActionValue::Discrete(6));
        previous.add_reward(0.5);
        assert_eq!(shown(&discrete, &previous), [0.0, 1.0, 0.0, 0.5]);
        let mut previous = PreviousStep::new(&continuous, ActionValue::Continuous(&[1.0, 1.0]));
        previous.add_reward(-12.0);
        assert_eq!(shown(&continuous, &previous), [0.5, -0.5, -10.0]);
        let previous = previous.with_action(&continuous, ActionValue::Continuous(&[-2.0, 4.0]));
        assert_eq!(shown(&continuous, &previous), [-1.0, 1.0, -10.0]);
        assert!(previous.is_of(&continuous) && !previous.is_of(&discrete));
    }
}
