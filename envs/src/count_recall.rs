//! `CountRecall-v0`: POPGym's test of a memory that counts.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::pile::{self, COLORS, Pile, RANKS, SUITS};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task};

/// Registered name.
pub(crate) const ID: &str = "CountRecall-v0";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::count(
        "decks",
        1,
        1,
        100,
        "decks of 52 cards in either pile (POPGym easy: 1 and colors, medium: 2 and suits, hard: 4 and ranks)",
    ),
    OptionInfo::choice("kind", &["colors", "suits", "ranks"], "what of a card is counted: 2 colors, 4 suits or 13 ranks"),
];

/// How many kinds of cards are told apart.
///
/// # Errors
/// [`EnvError::Option`] for an unknown kind.
pub(crate) fn kinds(options: &Options) -> Result<usize, EnvError> {
    Ok(match options.choice("kind")? {
        "colors" => COLORS,
        "suits" => SUITS,
        _ => RANKS,
    })
}

/// `CountRecall` of POPGym (Morad et al. 2023, arXiv:2303.01859): cards are dealt, and at every card it is asked how often one of
/// the kinds has been dealt.
///
/// # Task
/// Two piles of `decks` decks are shuffled, each by itself, and dealt together: a card of the first pile, and with it a card of the
/// second, which asks. Answer how many cards of the kind that is asked for have been dealt from the first pile, the present one
/// included. Cards are told apart by their color, suit or rank, as `kind` says.
/// # Actions
/// `Discrete(m + 1)`: a count, with m the cards of one kind in a pile.
/// # Observation
/// With c kinds:
///
/// | number | meaning | range |
/// |---|---|---|
/// | 0 to c - 1 | 1 for the kind of the present card, 0 for the others | 0 or 1 |
/// | c to 2c - 1 | 1 for the kind that is asked for, 0 for the others | 0 or 1 |
///
/// POPGym gives the two kinds as two integers.
/// # Rewards
/// With n cards in a pile, `1 / (n - 1)` for a right answer and `-1 / (n - 1)` for a wrong one. An episode of right answers sums to 1.
/// One that always gives the same count, from 1 to m - 1, is right `(n + 1) / (m + 1)` times on average, which makes -0.92 with one
/// deck and colors.
/// # First state
/// Both piles in random order, the first card of each dealt.
/// # Episode end
/// Never terminates; truncated when all cards are dealt, after `n - 1` steps. POPGym says terminated there; here, as in
/// `RepeatPrevious-v0`, the end of the pile is a time limit. Under a longer limit the same piles are dealt again, and the counts
/// begin anew with them.
/// # State
/// The kinds of the first pile from the first card to the last, those of the second, then the number of cards dealt from either.
/// # Version history
/// v0: first. The rules are POPGym's 1.0.7, whose `error_clamp` has no effect and is left out; the shuffle is not, so its episodes
/// have other seeds.
#[derive(Clone, Debug)]
pub(crate) struct CountRecall {
    values: Pile,
    queries: Pile,
    /// Cards dealt from either pile, at least 1 once an episode has begun.
    dealt: u64,
    /// Cards of each kind that were dealt since the piles were last begun.
    counts: Vec<i64>,
}

impl CountRecall {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let kinds = kinds(options)?;
        let pile = Pile::new(options.count("decks")?, kinds);
        Ok(Self { values: pile.clone(), queries: pile, dealt: 0, counts: vec![0; kinds] })
    }

    /// Deals a card from either pile.
    fn deal(&mut self) {
        if self.dealt.is_multiple_of(self.values.len() as u64) {
            self.counts.fill(0);
        }
        self.counts[self.values.card(self.dealt)] += 1;
        self.dealt += 1;
    }

    fn observe(&self, observation: &mut [f64]) {
        let (value, query) = observation.split_at_mut(self.values.kinds());
        self.values.show(self.dealt - 1, value);
        self.queries.show(self.dealt - 1, query);
    }
}

impl Task for CountRecall {
    fn observation_space(&self) -> Space {
        Space::uniform_box(2 * self.values.kinds(), 0.0, 1.0, Dtype::Float32)
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: self.values.len() / self.values.kinds() + 1, start: 0 }
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(self.values.len() - 1)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.values.shuffle(generator);
        self.queries.shuffle(generator);
        self.dealt = 0;
        self.deal();
        self.observe(observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let Action::Discrete(answer) = action else { unreachable!("actions are checked before the task sees them") };
        let scale = 1.0 / (self.values.len() - 1) as f64;
        let wanted = self.counts[self.queries.card(self.dealt - 1)];
        self.deal();
        self.observe(observation);
        Ok(Outcome { reward: if answer == wanted { scale } else { -scale }, terminated: false })
    }

    fn state_width(&self) -> Option<usize> {
        Some(2 * self.values.len() + 1)
    }

    fn state(&self, state: &mut Vec<f64>) {
        self.values.state(state);
        self.queries.state(state);
        state.push(self.dealt as f64);
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let cards = self.values.len();
        let (values, queries) = (&state[..cards], &state[cards..2 * cards]);
        let (values, queries) = (self.values.with_state(ID, values)?, self.queries.with_state(ID, queries)?);
        let dealt = pile::dealt(ID, state[2 * cards])?;
        (self.values, self.queries) = (values, queries);
        // From where the piles were last begun, which is before the present card.
        self.dealt = (dealt - 1) / cards as u64 * cards as u64;
        while self.dealt < dealt {
            self.deal();
        }
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

    /// The return of an episode; `answer` is given the count that is asked for, recounted from all observations so far.
    fn play(env: &mut dyn Env, seed: Option<u64>, steps: usize, answer: impl Fn(i64) -> i64) -> f64 {
        let kinds = env.spec().observation_space.width() / 2;
        let mut observation = vec![0.0; 2 * kinds];
        env.reset(seed, &mut observation).unwrap();
        let (mut values, mut sum) = (vec![], 0.0);
        for step in 1..=steps {
            let shown: Vec<_> = (0..2 * kinds).filter(|&number| observation[number] == 1.0).collect();
            assert!(shown.len() == 2 && shown[0] < kinds && shown[1] >= kinds, "{observation:?}");
            values.push(shown[0]);
            let count = values.iter().filter(|&&value| value == shown[1] - kinds).count() as i64;
            let found = env.step(Action::Discrete(answer(count)), &mut observation).unwrap();
            assert_eq!((found.end.terminated, found.end.truncated), (false, step == steps));
            sum += found.reward;
        }
        sum
    }

    #[test]
    fn the_right_answer_is_the_count_and_a_game_of_them_pays_1() {
        for (decks, kind, kinds) in [(1, "colors", 2), (2, "suits", 4), (4, "ranks", 13), (1, "ranks", 13)] {
            let mut env = game(json!({"decks": decks, "kind": kind}));
            let most = 52 * decks / kinds as i64;
            assert_eq!(env.spec().action_space, Space::Discrete { n: most as usize + 1, start: 0 });
            assert_eq!(env.spec().observation_space.width(), 2 * kinds);
            let steps = 52 * decks as usize - 1;
            assert!((play(&mut *env, Some(7), steps, |count| count) - 1.0).abs() < 1e-9);
            assert!((play(&mut *env, Some(7), steps, |count| (count + 1) % (most + 1)) + 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_constant_answer_is_as_good_as_the_documentation_says() {
        let mut env = game(json!({}));
        let episodes = 2000;
        for constant in [1, 13, 25] {
            let returns: Vec<f64> = (0..episodes).map(|seed| play(&mut *env, Some(seed), 51, |_| constant)).collect();
            let mean = returns.iter().sum::<f64>() / episodes as f64;
            let variance = returns.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / episodes as f64;
            let expected = 2.0 * (53.0 / 27.0) / 51.0 - 1.0;
            assert!((mean - expected).abs() < 4.0 * (variance / episodes as f64).sqrt(), "{constant}: {mean}, {expected}");
        }
    }

    #[test]
    fn a_longer_limit_deals_the_same_piles_again_and_counts_anew() {
        let mut env = game(json!({"max_episode_steps": 130}));
        let (mut observation, mut seen, mut counts) = ([0.0; 4], vec![], [0; 2]);
        env.reset(Some(1), &mut observation).unwrap();
        for step in 0..130 {
            if step % 52 == 0 {
                counts = [0; 2];
            }
            seen.push(observation);
            counts[usize::from(observation[1] == 1.0)] += 1;
            let wanted = counts[usize::from(observation[3] == 1.0)];
            assert_eq!(env.step(Action::Discrete(wanted), &mut observation).unwrap().reward, 1.0 / 51.0);
        }
        assert_eq!(seen[..52], seen[52..104]);
        assert_eq!(seen[..26], seen[104..]);
    }

    #[test]
    fn states_go_round_and_impossible_ones_are_refused() {
        let options = json!({"kind": "suits", "max_episode_steps": 200});
        let (mut env, mut copy) = (game(options.clone()), game(options));
        let (mut observation, mut seen) = ([0.0; 8], [0.0; 8]);
        env.reset(Some(5), &mut observation).unwrap();
        // The second state is taken where the piles are dealt again, the third after that.
        for steps in [11, 40, 20] {
            for answer in 0..steps {
                env.step(Action::Discrete(answer % 14), &mut observation).unwrap();
            }
            let mut state = vec![];
            env.state(&mut state).unwrap();
            copy.set_state(&state, &mut seen).unwrap();
            assert_eq!(seen, observation);
            let mut ahead = game(json!({"kind": "suits"}));
            ahead.set_state(&state, &mut seen).unwrap();
            for answer in 0..30 {
                let left = ahead.step(Action::Discrete(answer % 14), &mut seen).unwrap();
                assert_eq!(left.reward, copy.step(Action::Discrete(answer % 14), &mut observation).unwrap().reward);
                assert_eq!(seen, observation);
            }
            for (index, wrong) in [(3, 4.0), (60, -1.0), (60, 0.5), (104, 0.0), (104, 1.5)] {
                let mut wrong_state = state.clone();
                wrong_state[index] = wrong;
                assert!(matches!(copy.set_state(&wrong_state, &mut seen), Err(EnvError::State { .. })), "{index}: {wrong}");
            }
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for (options, problem) in [
            (json!({"decks": 0}), "option \"decks\": 0, expected an integer from 1 to 100"),
            (json!({"kind": "faces"}), "option \"kind\": \"faces\", expected one of \"colors\", \"suits\", \"ranks\""),
        ] {
            let error = make(ID, &fixtures::options(options)).err().unwrap().to_string();
            assert!(error.ends_with(problem), "{error}");
        }
    }
}
