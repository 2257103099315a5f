//! `PassiveTMaze-v0`: a T-maze without a step to spare, for learning by trial.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task, whole};

/// Registered name.
pub(crate) const ID: &str = "PassiveTMaze-v0";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::count("corridor", 20, 1, 1_000_000, "steps from the start to the junction (Ni et al.: 1 to 1500)"),
    OptionInfo::number("penalty", 1.0, 0.0, 1e6, "what an episode costs that is late from its first step on (0: Bakker's task)"),
];

/// Walks on.
pub(crate) const FORWARD: i64 = 0;
/// Takes the upper arm at the junction.
pub(crate) const UP: i64 = 1;
/// Walks back.
pub(crate) const BACK: i64 = 2;
/// Takes the lower arm at the junction.
pub(crate) const DOWN: i64 = 3;

/// The passive T-maze of Ni et al. 2023, "When Do Transformers Shine in RL? Decoupling Memory from Credit Assignment",
/// arXiv:2307.03864: it asks for memory alone, because the reward tells at once which way the corridor leads.
///
/// # Task
/// The first observation shows a cue: +1 means up, -1 means down. It is never shown again. Walk `corridor` steps forward to the junction,
/// and take the arm that the cue named with the last step that there is. Who has wasted one step comes too late.
/// # Actions
/// `Discrete(4)`: 0 forward, 1 up, 2 back, 3 down. Up and down in the corridor, back at the start and forward at the junction stay in
/// place.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | 1 at the junction and in the arms, 0 in the corridor | 0 or 1 |
/// | 1 | the cue in an episode's first observation; in the arms 1 (up) or -1 (down); else 0 | -1, 0, 1 |
///
/// How far it is to the junction is not observed.
/// # Rewards
/// 1 for being in the arm that the cue named after the last step, 0 if not. Every step before costs `penalty / corridor` if it ends
/// less far from the start than steps were taken: who was late once is late ever after. Uniform random actions get about
/// `1 / (3 corridor) - 1` with the usual penalty of 1; who walks on and guesses gets 0.5, the best without memory.
/// # First state
/// At the start of the corridor, the cue -1 or +1 with equal chance.
/// # Episode end
/// Terminates after `corridor + 1` steps: nothing can follow that is worth anything. The time limit is the same.
/// # State
/// The cue, the steps from the start, and the steps taken.
/// # Version history
/// v0: first.
#[derive(Clone, Debug)]
pub(crate) struct PassiveTMaze {
    corridor: u64,
    /// Of a late step.
    cost: f64,
    /// -1 or 1.
    cue: f64,
    position: u64,
    steps: u64,
}

impl PassiveTMaze {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let corridor = options.count("corridor")?;
        Ok(Self { corridor, cost: options.number("penalty")? / corridor as f64, cue: 1.0, position: 0, steps: 0 })
    }

    /// - `arm`: 1 in the upper one, -1 in the lower one, else 0
    fn observe(&self, arm: f64, observation: &mut [f64]) {
        let is_junction = self.position == self.corridor;
        observation.copy_from_slice(&[f64::from(is_junction), if self.steps == 0 { self.cue } else { arm }]);
    }
}

impl Task for PassiveTMaze {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![0.0, -1.0], high: vec![1.0; 2], dtype: Dtype::Float32 }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 4, start: 0 }
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(self.corridor as usize + 1)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.cue = if generator.below(2) == 1 { 1.0 } else { -1.0 };
        (self.position, self.steps) = (0, 0);
        self.observe(0.0, observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let mut arm = 0.0;
        match action {
            Action::Discrete(FORWARD) => self.position = self.corridor.min(self.position + 1),
            Action::Discrete(BACK) => self.position = self.position.saturating_sub(1),
            Action::Discrete(UP) if self.position == self.corridor => arm = 1.0,
            Action::Discrete(DOWN) if self.position == self.corridor => arm = -1.0,
            _ => {}
        }
        self.steps += 1;
        self.observe(arm, observation);
        // The junction is reached after `corridor` steps at the earliest, so only the last step leads into an arm.
        let terminated = self.steps > self.corridor;
        let reward = match terminated {
            true => f64::from(arm == self.cue),
            false if self.position < self.steps => -self.cost,
            false => 0.0,
        };
        Ok(Outcome { reward, terminated })
    }

    fn state_width(&self) -> Option<usize> {
        Some(3)
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend([self.cue, self.position as f64, self.steps as f64]);
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let (cue, position, steps) = (state[0], state[1], state[2]);
        if cue.abs() != 1.0 {
            return Err(EnvError::state(ID, format!("has cue {cue}, expected -1 or 1")));
        }
        let steps = whole(steps, 0, self.corridor).ok_or_else(|| {
            EnvError::state(ID, format!("has {steps} steps taken, expected an integer from 0 to {}", self.corridor))
        })?;
        let position = whole(position, 0, steps).ok_or_else(|| {
            EnvError::state(ID, format!("has position {position} after {steps} steps, expected an integer from 0 to {steps}"))
        })?;
        (self.cue, self.position, self.steps) = (cue, position, steps);
        self.observe(0.0, observation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, fixtures, make};
    use serde_json::json;

    fn maze(corridor: u64) -> Box<dyn Env> {
        make(ID, &fixtures::options(json!({ "corridor": corridor }))).unwrap()
    }

    /// Plays an episode; gives every observation, every reward, and asserts that it terminates with its last step.
    fn play(env: &mut dyn Env, seed: u64, mut act: impl FnMut(f64, usize) -> i64) -> (Vec<[f64; 2]>, Vec<f64>) {
        let mut observation = [f64::NAN; 2];
        env.reset(Some(seed), &mut observation).unwrap();
        let (cue, steps) = (observation[1], env.spec().max_episode_steps.unwrap());
        let (mut seen, mut rewards) = (vec![observation], vec![]);
        for t in 0..steps {
            let step = env.step(Action::Discrete(act(cue, t)), &mut observation).unwrap();
            assert_eq!((step.end.terminated, step.end.is_end()), (t + 1 == steps, t + 1 == steps));
            seen.push(observation);
            rewards.push(step.reward);
        }
        (seen, rewards)
    }

    #[test]
    fn who_remembers_the_cue_gets_1_and_who_guesses_half_of_it() {
        for corridor in [1, 2, 7] {
            let mut env = maze(corridor);
            let (mut cues, walk) = ([0; 2], corridor as usize);
            for seed in 0..40 {
                let arm = |cue: f64| if cue > 0.0 { UP } else { DOWN };
                let turn = |of: f64| move |cue: f64, t| if t < walk { FORWARD } else { arm(of * cue) };
                let (seen, rewards) = play(&mut *env, seed, turn(1.0));
                let cue = seen[0][1];
                cues[usize::from(cue > 0.0)] += 1;
                assert_eq!((seen[0][0], cue.abs()), (0.0, 1.0));
                assert!(seen[1..walk].iter().all(|shown| *shown == [0.0, 0.0]), "{seen:?}");
                assert_eq!(seen[walk..], [[1.0, 0.0], [1.0, cue]]);
                assert!(rewards[..walk].iter().all(|&reward| reward == 0.0) && rewards[walk] == 1.0, "{rewards:?}");
                let (seen, rewards) = play(&mut *env, seed, turn(-1.0));
                assert_eq!((seen[walk + 1], rewards.iter().sum::<f64>()), ([1.0, -cue], 0.0));
            }
            assert!(cues[0] >= 10 && cues[1] >= 10, "{cues:?}");
        }
    }

    #[test]
    fn a_wasted_step_is_paid_for_until_the_end_and_comes_too_late() {
        let mut env = maze(4);
        // Back at the start stays, and hides the cue.
        let (seen, rewards) = play(&mut *env, 1, |_, t| if t == 0 { BACK } else { FORWARD });
        assert_eq!(seen[1..], [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]);
        assert_eq!(rewards, [-0.25, -0.25, -0.25, -0.25, 0.0]);
        // Up in the corridor stays; a step back loses two.
        let (_, rewards) = play(&mut *env, 1, |_, t| [FORWARD, FORWARD, UP, FORWARD, UP][t]);
        assert_eq!(rewards, [0.0, 0.0, -0.25, -0.25, 0.0]);
        let (seen, rewards) = play(&mut *env, 1, |_, t| [FORWARD, FORWARD, FORWARD, FORWARD, BACK][t]);
        assert_eq!((seen[5], rewards[4]), ([0.0, 0.0], 0.0));
        let mut free = make(ID, &fixtures::options(json!({ "corridor": 4, "penalty": 0 }))).unwrap();
        assert_eq!(play(&mut *free, 1, |_, _| BACK).1, [0.0; 5]);
    }

    #[test]
    fn random_actions_get_what_the_documentation_says() {
        let (mut env, mut generator, episodes) = (maze(10), Generator::from_seed(3), 4000);
        let returns = (0..episodes).map(|seed| play(&mut *env, seed, |_, _| i64::from(generator.below(4))).1.iter().sum::<f64>());
        let mean = returns.sum::<f64>() / episodes as f64;
        // The steps in time at the beginning are geometric, with deviation 2/3 of a tenth: four standard errors are 0.0042.
        assert!((mean - (1.0 / 30.0 - 1.0)).abs() < 0.005, "{mean}");
    }

    #[test]
    fn states_go_round_and_impossible_ones_are_refused() {
        let mut env = maze(3);
        let mut observation = [0.0; 2];
        for state in [[1.0, 0.0, 0.0], [-1.0, 0.0, 2.0], [-1.0, 2.0, 2.0], [1.0, 3.0, 3.0]] {
            env.set_state(&state, &mut observation).unwrap();
            let mut read = vec![];
            env.state(&mut read).unwrap();
            assert_eq!(read, state);
        }
        assert_eq!(observation, [1.0, 0.0]);
        for state in [[0.5, 0.0, 1.0], [1.0, 4.0, 3.0], [1.0, 0.5, 1.0], [1.0, 2.0, 1.0], [1.0, 0.0, 4.0], [1.0, 0.0, -1.0]] {
            assert!(matches!(env.set_state(&state, &mut observation), Err(EnvError::State { .. })), "{state:?}");
        }
    }
}
