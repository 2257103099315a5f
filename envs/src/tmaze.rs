//! `TMaze-v0`: the memory test. One bit, seen once, decides everything much later.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task, whole};

/// Registered name.
pub(crate) const ID: &str = "TMaze-v0";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::count("corridor", 40, 1, 1_000_000, "forward steps from the start to the junction"),
    OptionInfo::count("shortest", 0, 0, 1_000_000, "least number of them, drawn anew for every episode; 0: always `corridor`"),
];

/// Walks on.
pub(crate) const FORWARD: i64 = 0;
/// Takes the left arm at the junction.
pub(crate) const LEFT: i64 = 1;
/// Takes the right arm at the junction.
pub(crate) const RIGHT: i64 = 2;

/// A corridor with a junction at its end, after Bakker (2001), "Reinforcement learning with long short-term memory".
///
/// # Task
/// The first observation shows a cue: -1 means left, +1 means right. It is never shown again. Walk `corridor` steps forward to
/// the junction, and take the arm that the cue named. Nothing but memory can do better than 0.5 on average. With the option
/// `shortest` every episode has a corridor of its own, drawn evenly from `shortest` to `corridor`.
/// # Actions
/// `Discrete(3)`: 0 forward, 1 left, 2 right. In the corridor a turn stays in place; at the junction forward stays in place.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | the cue in an episode's first observation, 0 ever after | -1, 0, 1 |
/// | 1 | 1 in the corridor, the start included | 0 or 1 |
/// | 2 | 1 at the junction | 0 or 1 |
///
/// How far it is to the junction is not observed, and need not be counted: the junction shows itself. In an arm, where the
/// episode is over, all three are 0.
/// # Rewards
/// 1 for the right arm, 0 for everything else.
/// # First state
/// At the start of the corridor, the cue -1 or +1 with equal chance; with `shortest`, its length is drawn after the cue.
/// # Episode end
/// Terminates in either arm; truncated after `4 (corridor + 2)` steps. The shortest episode has `corridor + 1`; the slack lets a
/// policy that moves at random (forward once in three) reach the junction, so learning by trial has something to learn from.
/// # State
/// The cue, the forward steps taken, and 1 while the cue is shown; with `shortest`, the length of the corridor too.
/// # Version history
/// v0: first.
#[derive(Clone, Debug)]
pub(crate) struct TMaze {
    /// The longest corridor.
    longest: u64,
    /// The shortest one, if corridors differ.
    shortest: Option<u64>,
    corridor: u64,
    /// -1 or 1.
    cue: f64,
    position: u64,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// In the corridor, with the cue in view.
    Start,
    Corridor,
    Junction,
    Arm,
}

impl TMaze {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let (longest, shortest) = (options.count("corridor")?, options.count("shortest")?);
        if shortest > longest {
            let problem = format!("found {shortest}, expected at most corridor, which is {longest}");
            return Err(EnvError::Option { env: ID.into(), key: "shortest".into(), problem });
        }
        let shortest = Some(shortest).filter(|shortest| *shortest > 0);
        Ok(Self { longest, shortest, corridor: longest, cue: 1.0, position: 0, place: Place::Start })
    }

    fn observe(&self, observation: &mut [f64]) {
        observation.copy_from_slice(&match self.place {
            Place::Start => [self.cue, 1.0, 0.0],
            Place::Corridor => [0.0, 1.0, 0.0],
            Place::Junction => [0.0, 0.0, 1.0],
            Place::Arm => [0.0, 0.0, 0.0],
        });
    }
}

impl Task for TMaze {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![-1.0, 0.0, 0.0], high: vec![1.0; 3], dtype: Dtype::Float32 }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 3, start: 0 }
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(4 * (self.longest as usize + 2))
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.cue = if generator.below(2) == 1 { 1.0 } else { -1.0 };
        if let Some(shortest) = self.shortest {
            // Options count up to a million.
            self.corridor = shortest + u64::from(generator.below((self.longest - shortest + 1) as u32));
        }
        (self.position, self.place) = (0, Place::Start);
        self.observe(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let turn = match action {
            Action::Discrete(LEFT) => -1.0,
            Action::Discrete(RIGHT) => 1.0,
            _ => 0.0,
        };
        let mut reward = 0.0;
        self.place = match self.place {
            Place::Junction if turn == 0.0 => Place::Junction,
            Place::Junction => {
                reward = if turn == self.cue { 1.0 } else { 0.0 };
                Place::Arm
            }
            _ => {
                self.position += u64::from(turn == 0.0);
                if self.position == self.corridor { Place::Junction } else { Place::Corridor }
            }
        };
        self.observe(observation);
        Ok(Outcome { reward, terminated: self.place == Place::Arm })
    }

    fn state_width(&self) -> Option<usize> {
        Some(3 + usize::from(self.shortest.is_some()))
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend([self.cue, self.position as f64, f64::from(self.place == Place::Start)]);
        state.extend(self.shortest.map(|_| self.corridor as f64));
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let (cue, position, shown) = (state[0], state[1], state[2]);
        if cue.abs() != 1.0 {
            return Err(EnvError::state(ID, format!("has cue {cue}, expected -1 or 1")));
        }
        let mut corridor = self.corridor;
        if let Some(shortest) = self.shortest {
            corridor = whole(state[3], shortest, self.longest).ok_or_else(|| {
                let problem = format!("has a corridor of {}, expected an integer from {shortest} to {}", state[3], self.longest);
                EnvError::state(ID, problem)
            })?;
        }
        let Some(position) = whole(position, 0, corridor) else {
            return Err(EnvError::state(ID, format!("has position {position}, expected an integer from 0 to {corridor}")));
        };
        let place = match (shown, position) {
            (1.0, 0) => Place::Start,
            (0.0, position) if position == corridor => Place::Junction,
            (0.0, _) => Place::Corridor,
            _ => {
                let problem = format!("shows the cue ({shown}) at position {position}; expected 0, or 1 at the start");
                return Err(EnvError::state(ID, problem));
            }
        };
        (self.corridor, self.cue, self.position, self.place) = (corridor, cue, position, place);
        self.observe(observation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures, make};
    use serde_json::{Map, json};

    fn maze(corridor: u64) -> Box<dyn crate::Env> {
        make(ID, &fixtures::options(json!({ "corridor": corridor }))).unwrap()
    }

    #[test]
    fn the_cue_is_seen_once_and_decides_the_reward() {
        let mut env = maze(5);
        let mut seen = [0; 2];
        for seed in 0..20 {
            for (turn, side) in [(LEFT, -1.0), (RIGHT, 1.0)] {
                let mut observation = [f64::NAN; 3];
                env.reset(Some(seed), &mut observation).unwrap();
                let cue = observation[0];
                assert_eq!((cue.abs(), observation[1], observation[2]), (1.0, 1.0, 0.0));
                seen[usize::from(cue > 0.0)] += 1;
                for walked in 1..=5 {
                    let step = env.step(Action::Discrete(FORWARD), &mut observation).unwrap();
                    assert!(step.reward == 0.0 && !step.end.is_end());
                    assert_eq!(observation, if walked < 5 { [0.0, 1.0, 0.0] } else { [0.0, 0.0, 1.0] });
                }
                let step = env.step(Action::Discrete(turn), &mut observation).unwrap();
                assert_eq!(step.reward, if side == cue { 1.0 } else { 0.0 });
                assert!(step.end.terminated && !step.end.truncated);
            }
        }
        assert!(seen[0] >= 8 && seen[1] >= 8, "cues are {seen:?}");
    }

    #[test]
    fn a_turn_in_the_corridor_and_forward_at_the_junction_stay_in_place() {
        let mut env = maze(1);
        let mut observation = [0.0; 3];
        env.reset(Some(3), &mut observation).unwrap();
        env.step(Action::Discrete(LEFT), &mut observation).unwrap();
        assert_eq!(observation, [0.0, 1.0, 0.0], "the cue is gone also where no step moved");
        for _ in 0..3 {
            env.step(Action::Discrete(FORWARD), &mut observation).unwrap();
            assert_eq!(observation, [0.0, 0.0, 1.0]);
        }
    }

    #[test]
    fn the_limit_follows_the_corridor() {
        assert_eq!(make(ID, &Map::new()).unwrap().spec().max_episode_steps, Some(168));
        assert_eq!(maze(1).spec().max_episode_steps, Some(12));
    }

    #[test]
    fn corridors_are_drawn_evenly_from_a_range() {
        let options = |shortest: u64| fixtures::options(json!({ "corridor": 9, "shortest": shortest }));
        let mut env = make(ID, &options(6)).unwrap();
        assert_eq!(env.spec().max_episode_steps, Some(44));
        let (mut observation, mut found) = ([0.0; 3], [0; 10]);
        for seed in 0..200 {
            env.reset(Some(seed), &mut observation).unwrap();
            let (mut state, mut walked) = (vec![], 0);
            env.state(&mut state).unwrap();
            while observation[2] == 0.0 {
                env.step(Action::Discrete(FORWARD), &mut observation).unwrap();
                walked += 1;
            }
            found[walked] += 1;
            assert_eq!(state, [state[0], 0.0, 1.0, walked as f64]);
            // Another episode takes the corridor with the rest of the state.
            env.reset(Some(seed + 1), &mut observation).unwrap();
            env.set_state(&[1.0, 5.0, 0.0, 6.0], &mut observation).unwrap();
            env.step(Action::Discrete(FORWARD), &mut observation).unwrap();
            assert_eq!(observation, [0.0, 0.0, 1.0]);
        }
        assert!(found[..6].iter().all(|&count| count == 0) && found[6..].iter().all(|&count| count >= 30), "{found:?}");
        assert!(matches!(env.set_state(&[1.0, 0.0, 0.0, 5.0], &mut observation), Err(EnvError::State { .. })));
        let error = make(ID, &options(10)).err().unwrap().to_string();
        assert!(error.contains("shortest") && error.contains("at most corridor, which is 9"), "{error}");
    }

    #[test]
    fn states_go_round_and_impossible_ones_are_refused() {
        let mut env = maze(3);
        let mut observation = [0.0; 3];
        for state in [[1.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [-1.0, 2.0, 0.0], [1.0, 3.0, 0.0]] {
            env.set_state(&state, &mut observation).unwrap();
            let mut read = vec![];
            env.state(&mut read).unwrap();
            assert_eq!(read, state);
        }
        for state in [[0.5, 0.0, 1.0], [1.0, 4.0, 0.0], [1.0, 0.5, 0.0], [1.0, 1.0, 1.0], [1.0, -1.0, 0.0]] {
            assert!(matches!(env.set_state(&state, &mut observation), Err(EnvError::State { .. })), "{state:?}");
        }
    }
}
