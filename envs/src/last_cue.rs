//! `LastCue-v0`: a T-maze whose cue changes on the way. The last one counts.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task, whole};
use crate::tmaze::{LEFT, RIGHT};

/// Registered name.
pub(crate) const ID: &str = "LastCue-v0";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::count("corridor", 40, 1, 1_000_000, "forward steps from the start to the junction"),
    OptionInfo::count("cues", 4, 1, 10_000, "how often a cue is shown, the first at the start; at most `corridor`"),
];

/// A T-maze in which a remembered cue has to be given up for a later one: a test of rewriting, not of keeping, after the Endless
/// T-maze of Shchendrigin et al. (2026), "Memory Retention Is Not Enough to Master Memory Tasks in Reinforcement Learning",
/// arXiv:2601.15086.
///
/// # Task
/// A cue is shown `cues` times along the corridor: -1 means left, +1 means right, each with equal chance. The first is shown in the
/// first observation, the others where places on the way are reached. Walk `corridor` steps forward to the junction, and take the
/// arm that the last cue named.
///
/// Which cue was the last is nowhere but in the order of the observations. A policy that knows how often each cue was shown and not in
/// which order, as one layer of attention does that is blind to order, can take the more frequent one; that is the last one with
/// probability 0.75 for 2 and 3 cues, 0.6875 for 4 and 5, and less the more there are. The first cue says nothing about the last,
/// unless there is one cue only: then this is the T-maze.
/// # Actions
/// `Discrete(3)`: 0 forward, 1 left, 2 right, as in `TMaze-v0`. In the corridor a turn stays in place; at the junction forward stays in
/// place.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | the cue where one is shown, else 0 | -1, 0, 1 |
/// | 1 | 1 in the corridor, the start included | 0 or 1 |
/// | 2 | 1 at the junction | 0 or 1 |
///
/// A cue is seen once, when a forward step reaches its place: a turn there hides it. In an arm, where the episode is over, all three
/// are 0.
/// # Rewards
/// 1 for the arm of the last cue, 0 for everything else.
/// # First state
/// At the start of the corridor. Every cue is -1 or +1 with equal chance; the places of all but the first are distinct and drawn evenly
/// from 1 to `corridor - 1`.
/// # Episode end
/// Terminates in either arm; truncated after `4 (corridor + 2)` steps, as in `TMaze-v0`.
/// # State
/// The forward steps taken, 1 while a cue is shown, the cues in order, and the places of all but the first.
/// # Version history
/// v0: first.
#[derive(Clone, Debug)]
pub(crate) struct LastCue {
    corridor: u64,
    /// -1 or 1, in the order in which they are shown.
    cues: Vec<f64>,
    /// Where each is shown, in forward steps from the start; rising from 0.
    places: Vec<u64>,
    position: u64,
    /// Whether the cue of this place is in view.
    is_shown: bool,
    /// In an arm, where the episode is over.
    is_over: bool,
}

impl LastCue {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let (corridor, cues) = (options.count("corridor")?, options.count("cues")?);
        if cues > corridor {
            return Err(options.error("cues", format!("{cues}, expected at most corridor, which is {corridor}")));
        }
        let (places, cues) = ((0..cues).collect(), vec![1.0; cues as usize]);
        Ok(Self { corridor, cues, places, position: 0, is_shown: true, is_over: false })
    }

    fn observe(&self, observation: &mut [f64]) {
        let cue = self.places.binary_search(&self.position).ok().filter(|_| self.is_shown).map_or(0.0, |index| self.cues[index]);
        observation.copy_from_slice(&match (self.is_over, self.position == self.corridor) {
            (true, _) => [0.0, 0.0, 0.0],
            (false, true) => [0.0, 0.0, 1.0],
            (false, false) => [cue, 1.0, 0.0],
        });
    }
}

impl Task for LastCue {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![-1.0, 0.0, 0.0], high: vec![1.0; 3], dtype: Dtype::Float32 }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 3, start: 0 }
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(4 * (self.corridor as usize + 2))
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.cues.iter_mut().for_each(|cue| *cue = if generator.below(2) == 1 { 1.0 } else { -1.0 });
        // Knuth's selection sampling: a place is taken with the chance of the places still needed among those left, which makes
        // all sets of places equally likely, and gives them in order.
        let mut place = 1;
        for index in 1..self.places.len() {
            let needed = (self.places.len() - index) as u32;
            while generator.below((self.corridor - place) as u32) >= needed {
                place += 1;
            }
            self.places[index] = place;
            place += 1;
        }
        (self.position, self.is_shown, self.is_over) = (0, true, false);
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
        if self.position == self.corridor {
            self.is_over = turn != 0.0;
            reward = if self.cues.last() == Some(&turn) { 1.0 } else { 0.0 };
        } else {
            self.position += u64::from(turn == 0.0);
            self.is_shown = turn == 0.0 && self.places.binary_search(&self.position).is_ok();
        }
        self.observe(observation);
        Ok(Outcome { reward, terminated: self.is_over })
    }

    fn state_width(&self) -> Option<usize> {
        Some(1 + 2 * self.cues.len())
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend([self.position as f64, f64::from(self.is_shown)]);
        state.extend_from_slice(&self.cues);
        state.extend(self.places[1..].iter().map(|&place| place as f64));
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let (cues, later) = state[2..].split_at(self.cues.len());
        if let Some(cue) = cues.iter().find(|cue| cue.abs() != 1.0) {
            return Err(EnvError::state(ID, format!("has cue {cue}, expected -1 or 1")));
        }
        let mut places = vec![0];
        for &place in later {
            let lowest = places[places.len() - 1] + 1;
            let problem = || {
                let highest = self.corridor - 1;
                EnvError::state(ID, format!("has a cue at {place}, expected an integer from {lowest} to {highest}"))
            };
            places.push(whole(place, lowest, self.corridor - 1).ok_or_else(problem)?);
        }
        let Some(position) = whole(state[0], 0, self.corridor) else {
            let problem = format!("has position {}, expected an integer from 0 to {}", state[0], self.corridor);
            return Err(EnvError::state(ID, problem));
        };
        let is_shown = match (state[1], places.contains(&position)) {
            (0.0, _) => false,
            (1.0, true) => true,
            (shown, _) => {
                let problem = format!("shows the cue ({shown}) at position {position}; expected 0, or 1 where a cue is");
                return Err(EnvError::state(ID, problem));
            }
        };
        self.cues.copy_from_slice(cues);
        (self.places, self.position, self.is_shown, self.is_over) = (places, position, is_shown, false);
        self.observe(observation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tmaze::FORWARD;
    use crate::{Env, fixtures, make};
    use serde_json::json;

    fn maze(corridor: u64, cues: u64) -> Box<dyn Env> {
        make(ID, &fixtures::options(json!({"corridor": corridor, "cues": cues}))).unwrap()
    }

    /// Walks to the junction and turns by the cues that were seen; gives what was seen on the way, the start included, and the reward.
    fn walk(env: &mut dyn Env, seed: u64, turn: impl Fn(&[f64]) -> i64) -> (Vec<f64>, f64) {
        let mut observation = [f64::NAN; 3];
        env.reset(Some(seed), &mut observation).unwrap();
        let mut seen = vec![];
        while observation[2] == 0.0 {
            assert_eq!(observation[1], 1.0);
            seen.push(observation[0]);
            let step = env.step(Action::Discrete(FORWARD), &mut observation).unwrap();
            assert!(step.reward == 0.0 && !step.end.is_end());
        }
        assert_eq!(observation, [0.0, 0.0, 1.0]);
        let cues: Vec<f64> = seen.iter().copied().filter(|&cue| cue != 0.0).collect();
        let step = env.step(Action::Discrete(turn(&cues)), &mut observation).unwrap();
        assert!(step.end.terminated && !step.end.truncated && observation == [0.0; 3]);
        (seen, step.reward)
    }

    fn arm(cue: f64) -> i64 {
        if cue > 0.0 { RIGHT } else { LEFT }
    }

    #[test]
    fn the_last_of_the_cues_decides() {
        for (corridor, cues) in [(1, 1), (2, 2), (9, 4), (7, 7)] {
            let mut env = maze(corridor, cues);
            assert_eq!(env.spec().max_episode_steps, Some(4 * (corridor as usize + 2)));
            for seed in 0..30 {
                let (seen, reward) = walk(&mut *env, seed, |cues| arm(cues[cues.len() - 1]));
                assert_eq!(reward, 1.0);
                assert_eq!(walk(&mut *env, seed, |cues| arm(-cues[cues.len() - 1])), (seen.clone(), 0.0));
                assert_eq!((seen.len(), seen.iter().filter(|cue| cue.abs() == 1.0).count()), (corridor as usize, cues as usize));
                assert!(seen[0] != 0.0, "the first cue is at the start");
            }
        }
    }

    #[test]
    fn cues_and_places_are_drawn_evenly() {
        // Two of five places after the start: ten pairs, each as often as the others.
        let (mut env, mut pairs, mut rights) = (maze(6, 3), std::collections::BTreeMap::new(), [0; 3]);
        for seed in 0..2000 {
            let (seen, _) = walk(&mut *env, seed, |_| LEFT);
            let places: Vec<usize> = (0..6).filter(|&place| seen[place] != 0.0).collect();
            rights.iter_mut().zip(&places).for_each(|(count, &place)| *count += usize::from(seen[place] == 1.0));
            *pairs.entry(places).or_insert(0) += 1;
        }
        // Four standard deviations of binomials of 2000 draws of 1/10 and 1/2: 54 and 89.
        assert!(pairs.len() == 10 && pairs.values().all(|count| (146..254).contains(count)), "{pairs:?}");
        assert!(rights.iter().all(|count| (911..1089).contains(count)), "{rights:?}");
    }

    #[test]
    fn counts_without_order_and_the_first_cue_are_worth_what_the_documentation_says() {
        for (cues, expected) in [(2, 0.75), (3, 0.75), (4, 0.6875), (5, 0.6875)] {
            let mut env = maze(12, cues);
            let episodes = 2000;
            let [mut first, mut frequent] = [0.0; 2];
            for seed in 0..episodes {
                first += walk(&mut *env, seed, |cues| arm(cues[0])).1 / episodes as f64;
                frequent += walk(&mut *env, seed, |cues| arm(cues.iter().sum())).1 / episodes as f64;
            }
            // Four standard errors.
            assert!((first - 0.5).abs() < 4.0 * (0.25 / episodes as f64).sqrt(), "{cues} cues: {first}");
            assert!((frequent - expected).abs() < 4.0 * (0.25 / episodes as f64).sqrt(), "{cues} cues: {frequent}");
        }
    }

    #[test]
    fn a_turn_in_the_corridor_stays_and_hides_the_cue() {
        let mut env = maze(3, 2);
        let mut observation = [0.0; 3];
        env.set_state(&[0.0, 1.0, 1.0, -1.0, 1.0], &mut observation).unwrap();
        let mut seen = vec![observation];
        for action in [LEFT, FORWARD, RIGHT, FORWARD, FORWARD, FORWARD] {
            env.step(Action::Discrete(action), &mut observation).unwrap();
            seen.push(observation);
        }
        let (hidden, junction) = ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        assert_eq!(seen, [[1.0, 1.0, 0.0], hidden, [-1.0, 1.0, 0.0], hidden, hidden, junction, junction]);
        assert_eq!(env.step(Action::Discrete(LEFT), &mut observation).unwrap().reward, 1.0);
    }

    #[test]
    fn states_go_round_and_impossible_ones_are_refused() {
        let mut env = maze(5, 3);
        let mut observation = [0.0; 3];
        for state in [
            [0.0, 1.0, 1.0, -1.0, 1.0, 1.0, 2.0],
            [0.0, 0.0, -1.0, -1.0, 1.0, 1.0, 4.0],
            [4.0, 1.0, -1.0, -1.0, 1.0, 3.0, 4.0],
            [5.0, 0.0, -1.0, 1.0, 1.0, 3.0, 4.0],
        ] {
            env.set_state(&state, &mut observation).unwrap();
            let mut read = vec![];
            env.state(&mut read).unwrap();
            assert_eq!(read, state);
        }
        let good = [2.0, 1.0, 1.0, -1.0, 1.0, 2.0, 4.0];
        for (index, wrong) in [(0, 6.0), (0, 0.5), (0, 3.0), (1, 0.5), (2, 0.0), (5, 0.0), (5, 4.0), (5, 1.5), (6, 5.0), (6, 2.0)]
        {
            let mut state = good;
            state[index] = wrong;
            assert!(matches!(env.set_state(&state, &mut observation), Err(EnvError::State { .. })), "{state:?}");
        }
        env.set_state(&good, &mut observation).unwrap();
    }

    #[test]
    fn more_cues_than_steps_are_refused() {
        let error = make(ID, &fixtures::options(json!({"corridor": 3}))).err().unwrap().to_string();
        assert_eq!(error, format!("{ID}: option \"cues\": 4, expected at most corridor, which is 3"));
        let error = make(ID, &fixtures::options(json!({"cues": 0}))).err().unwrap().to_string();
        assert!(error.ends_with("option \"cues\": 0, expected an integer from 1 to 10000"), "{error}");
    }
}
