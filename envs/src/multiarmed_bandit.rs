//! `MultiarmedBandit-v0`: POPGym's test of exploring first and exploiting then.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task, whole};

/// Registered name.
pub(crate) const ID: &str = "MultiarmedBandit-v0";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::count(
        "arms",
        10,
        1,
        1000,
        "arms to choose from (POPGym easy: 10 arms and 200 pulls, medium: 20 and 400, hard: 30 and 600)",
    ),
    OptionInfo::count("pulls", 200, 1, 10_000, "pulls of an episode"),
    OptionInfo::flag(
        "show_action",
        false,
        "also show which arm was pulled last, for a policy that is not told its last action (POPGym's wrapper PreviousAction)",
    ),
];

/// `MultiarmedBandit` of POPGym (Morad et al. 2023, arXiv:2303.01859): find out which of some slot machines pays most, and play it.
///
/// # Task
/// Every arm pays with a probability of its own, which is drawn anew for every episode and never shown. Pull arms for `pulls` steps.
/// What they paid so far has to be remembered, together with which arm it was.
/// # Actions
/// `Discrete(arms)`: the arm to pull.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 | 1 if the last pull paid; 0 if not, and in an episode's first observation | 0 or 1 |
///
/// With `show_action`, `arms` numbers more: 1 for the arm that was pulled last, 0 for the others and in the first observation. Decision
/// policies have their last action among their tokens and do without; POPGym says that its own policies need it.
/// # Rewards
/// `1 / pulls` if the arm pays, `-1 / pulls` if not. Random pulls sum to 0 on average. The best of n arms pays with n / (n + 1) on
/// average, so that one who knew it would get `2n / (n + 1) - 1`: 0.818 with 10 arms, 0.905 with 20, 0.935 with 30. Finding it costs
/// some of that: the scripted policy reaches about 0.72, 0.82 and 0.85.
/// # First state
/// The probability of each arm, then the draws of all pulls, uniform in [0, 1). A pull pays if its draw is below the probability.
/// # Episode end
/// Never terminates; truncated after `pulls` steps. Under a longer limit the same draws come again.
/// # State
/// The probability of each arm, the draw of each pull, the number of pulls so far, and the last arm, which is -1 at the start.
/// # Version history
/// v0: first. A seed gives the arms and the draws that it gives POPGym.
#[derive(Clone, Debug)]
pub(crate) struct MultiarmedBandit {
    /// The probability with which each pays.
    arms: Vec<f64>,
    /// Of the whole episode, so that a state determines the future.
    draws: Vec<f64>,
    pulls: u64,
    /// The arm of the last pull; none at the start.
    last: Option<usize>,
    shows_action: bool,
}

impl MultiarmedBandit {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        Ok(Self {
            arms: vec![0.0; options.count("arms")? as usize],
            draws: vec![0.0; options.count("pulls")? as usize],
            pulls: 0,
            last: None,
            shows_action: options.bool("show_action")?,
        })
    }

    /// Whether the last pull paid.
    fn is_paid(&self) -> bool {
        let Some(arm) = self.last else { return false };
        self.draws[((self.pulls - 1) % self.draws.len() as u64) as usize] < self.arms[arm]
    }

    fn observe(&self, observation: &mut [f64]) {
        observation.fill(0.0);
        observation[0] = f64::from(self.is_paid());
        if let Some(arm) = self.last.filter(|_| self.shows_action) {
            observation[1 + arm] = 1.0;
        }
    }
}

impl Task for MultiarmedBandit {
    fn observation_space(&self) -> Space {
        Space::uniform_box(1 + if self.shows_action { self.arms.len() } else { 0 }, 0.0, 1.0, Dtype::Float32)
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: self.arms.len(), start: 0 }
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(self.draws.len())
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        // Probabilities are NumPy's uniform float32: multiples of 2^-24.
        self.arms.iter_mut().for_each(|arm| *arm = f64::from(generator.next_u32() >> 8) / f64::from(1 << 24));
        self.draws.iter_mut().for_each(|draw| *draw = generator.double());
        (self.pulls, self.last) = (0, None);
        self.observe(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let Action::Discrete(arm) = action else { unreachable!("actions are checked before the task sees them") };
        (self.pulls, self.last) = (self.pulls + 1, Some(arm as usize));
        self.observe(observation);
        let scale = 1.0 / self.draws.len() as f64;
        Ok(Outcome { reward: if self.is_paid() { scale } else { -scale }, terminated: false })
    }

    fn state_width(&self) -> Option<usize> {
        Some(self.arms.len() + self.draws.len() + 2)
    }

    fn state(&self, state: &mut Vec<f64>) {
        state.extend_from_slice(&self.arms);
        state.extend_from_slice(&self.draws);
        state.extend([self.pulls as f64, self.last.map_or(-1.0, |arm| arm as f64)]);
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let (arms, rest) = state.split_at(self.arms.len());
        let (draws, rest) = rest.split_at(self.draws.len());
        if let Some(arm) = arms.iter().position(|arm| !(0.0..=1.0).contains(arm)) {
            return Err(EnvError::state(ID, format!("has arm {arm} pay with {}, expected a probability from 0 to 1", arms[arm])));
        }
        if let Some(pull) = draws.iter().position(|draw| !(0.0..1.0).contains(draw)) {
            let problem = format!("has draw {} at pull {pull}, expected a number from 0 to less than 1", draws[pull]);
            return Err(EnvError::state(ID, problem));
        }
        let (pulls, last) = (whole(rest[0], 0, u32::MAX.into()), whole(rest[1], 0, arms.len() as u64 - 1));
        let (pulls, last) = match (pulls, last) {
            (Some(0), None) if rest[1] == -1.0 => (0, None),
            (Some(pulls @ 1..), Some(last)) => (pulls, Some(last as usize)),
            _ => {
                let problem = format!(
                    "has {} pulls and the last arm {}, expected none and -1, or an integer and an arm from 0 to {}",
                    rest[0],
                    rest[1],
                    arms.len() - 1
                );
                return Err(EnvError::state(ID, problem));
            }
        };
        self.arms.copy_from_slice(arms);
        self.draws.copy_from_slice(draws);
        (self.pulls, self.last) = (pulls, last);
        self.observe(observation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, fixtures, make};
    use serde_json::{Value, json};

    fn game(options: Value) -> Box<dyn Env> {
        make(ID, &fixtures::options(options)).unwrap()
    }

    #[test]
    fn an_arm_pays_where_its_draw_is_below_its_probability() {
        let mut env = game(json!({"arms": 3, "pulls": 4, "show_action": true, "max_episode_steps": 6}));
        let mut observation = [f64::NAN; 4];
        env.reset(Some(1), &mut observation).unwrap();
        assert_eq!(observation, [0.0; 4]);
        env.set_state(&[0.0, 0.5, 1.0, 0.0, 0.4, 0.5, 0.9, 0.0, -1.0], &mut observation).unwrap();
        assert_eq!(observation, [0.0; 4]);
        // The draws of the first two pulls come again.
        for (step, (arm, paid)) in [(0, 0.0), (1, 1.0), (1, 0.0), (2, 1.0), (1, 1.0), (1, 1.0)].into_iter().enumerate() {
            let found = env.step(Action::Discrete(arm), &mut observation).unwrap();
            let mut expected = [paid, 0.0, 0.0, 0.0];
            expected[1 + arm as usize] = 1.0;
            assert_eq!((observation, found.reward), (expected, if paid == 1.0 { 0.25 } else { -0.25 }), "step {step}");
            assert_eq!((found.end.terminated, found.end.truncated), (false, step == 5));
        }
    }

    #[test]
    fn probabilities_and_payouts_are_uniform() {
        let mut env = game(json!({"arms": 4, "pulls": 25}));
        let (mut observation, episodes) = ([0.0], 1000);
        let (mut arms, mut paid) = ([0.0; 4], 0.0);
        for episode in 0..episodes {
            env.reset((episode == 0).then_some(3), &mut observation).unwrap();
            let mut state = vec![];
            env.state(&mut state).unwrap();
            arms.iter_mut().zip(&state).for_each(|(sum, arm)| *sum += arm / episodes as f64);
            for _ in 0..25 {
                env.step(Action::Discrete(episode % 4), &mut observation).unwrap();
                paid += observation[0] / (25 * episodes) as f64;
            }
        }
        // Four standard errors of a uniform mean; the pulls of an episode share its arm, and add little to them.
        let tolerance = 4.0 / (12.0 * episodes as f64).sqrt();
        assert!(arms.iter().all(|mean| (mean - 0.5).abs() < tolerance), "{arms:?}");
        assert!((paid - 0.5).abs() < 1.1 * tolerance, "{paid}");
    }

    #[test]
    fn states_go_round_and_impossible_ones_are_refused() {
        let options = json!({"arms": 3, "pulls": 40});
        let (mut env, mut copy) = (game(options.clone()), game(options));
        let (mut observation, mut seen) = ([0.0], [0.0]);
        env.reset(Some(5), &mut observation).unwrap();
        for steps in [0, 7] {
            for arm in 0..steps {
                env.step(Action::Discrete(arm % 3), &mut observation).unwrap();
            }
            let mut state = vec![];
            env.state(&mut state).unwrap();
            copy.set_state(&state, &mut seen).unwrap();
            let mut read = vec![];
            copy.state(&mut read).unwrap();
            assert_eq!((&read, seen), (&state, observation));
            for (index, wrong) in
                [(0, -0.1), (0, 1.1), (5, 1.0), (5, -0.1), (43, 0.5), (43, -1.0), (44, 3.0), (44, 0.5), (44, -2.0)]
            {
                let mut wrong_state = state.clone();
                wrong_state[index] = wrong;
                assert!(matches!(copy.set_state(&wrong_state, &mut seen), Err(EnvError::State { .. })), "{index}: {wrong}");
            }
            // Pulls without an arm, and an arm without a pull.
            let mut wrong_state = state.clone();
            wrong_state[44] = if steps == 0 { 1.0 } else { -1.0 };
            assert!(matches!(copy.set_state(&wrong_state, &mut seen), Err(EnvError::State { .. })));
            copy.set_state(&state, &mut seen).unwrap();
        }
        for arm in 0..30 {
            assert_eq!(seen, observation);
            let left = env.step(Action::Discrete(arm % 3), &mut observation).unwrap();
            assert_eq!(left, copy.step(Action::Discrete(arm % 3), &mut seen).unwrap());
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for (options, problem) in [
            (json!({"arms": 0}), "option \"arms\": 0, expected an integer from 1 to 1000"),
            (json!({"pulls": 10001}), "option \"pulls\": 10001, expected an integer from 1 to 10000"),
            (json!({"show_action": 1}), "option \"show_action\": 1, expected true or false"),
        ] {
            let error = make(ID, &fixtures::options(options)).err().unwrap().to_string();
            assert!(error.ends_with(problem), "{error}");
        }
    }
}
