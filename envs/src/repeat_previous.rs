//! `RepeatPrevious-v0`: POPGym's test of a memory of the last few observations.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::pile::{Dealing, SUITS};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task};

/// Registered name.
pub(crate) const ID: &str = "RepeatPrevious-v0";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::count(
        "k",
        4,
        1,
        5199,
        "which card to name, counted back from the present one, which is 1; less than there are cards",
    ),
    OptionInfo::count(
        "decks",
        1,
        1,
        100,
        "decks of 52 cards that are dealt (POPGym easy: k 4 and 1 deck, medium: 32 and 2, hard: 64 and 3)",
    ),
];

/// `RepeatPrevious` of POPGym (Morad et al. 2023, arXiv:2303.01859): cards are dealt, and at every card the suit of an earlier one
/// must be named.
///
/// # Task
/// A shuffled pile of `decks` decks is dealt card by card. From the k-th card on, answer with the suit of the card that was shown
/// `k - 1` steps before the present one: `k = 1` means the present card, `k = 4` the third before it. A policy without memory
/// answers right once in four.
/// # Actions
/// `Discrete(4)`: a suit.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 to 3 | 1 for the suit of the present card, 0 for the others | 0 or 1 |
///
/// # Rewards
/// With n cards, `1 / (n - k)` for a right answer and `-1 / (n - k)` for a wrong one; 0 for the answers to the first `k - 1` cards. An
/// episode of right answers sums to 1, one of guesses to -0.5 on average.
/// # First state
/// The pile in random order, its first card dealt.
/// # Episode end
/// Never terminates; truncated when all cards are dealt, after `n - 1` steps. Under a longer limit the same pile is dealt again.
/// # State
/// The suits of the pile from the first card to the last, then the number of cards dealt.
/// # Version history
/// v0: first. The rules are POPGym's; its shuffle is Python's, so its episodes have other seeds.
#[derive(Clone, Debug)]
pub(crate) struct RepeatPrevious {
    k: usize,
    /// Suits in the order of dealing.
    cards: Dealing,
}

impl RepeatPrevious {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        let (k, decks) = (options.count("k")?, options.count("decks")?);
        let dealing = Dealing::new(decks, SUITS);
        let cards = dealing.pile.len() as u64;
        if k >= cards {
            return Err(options.error("k", format!("{k}, expected less than the {cards} cards of {decks} decks")));
        }
        Ok(Self { k: k as usize, cards: dealing })
    }

    /// The right answer, once there are enough cards.
    fn wanted(&self) -> Option<i64> {
        self.cards.dealt.checked_sub(self.k as u64).map(|card| self.cards.pile.card(card) as i64)
    }
}

impl Task for RepeatPrevious {
    fn observation_space(&self) -> Space {
        Space::uniform_box(SUITS, 0.0, 1.0, Dtype::Float32)
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: SUITS, start: 0 }
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(self.cards.pile.len() - 1)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.cards.begin(generator, observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let Action::Discrete(answer) = action else { unreachable!("actions are checked before the task sees them") };
        let scale = 1.0 / (self.cards.pile.len() - self.k) as f64;
        let reward = self.wanted().map_or(0.0, |wanted| if answer == wanted { scale } else { -scale });
        self.cards.deal(observation);
        Ok(Outcome { reward, terminated: false })
    }

    fn state_width(&self) -> Option<usize> {
        Some(self.cards.state_width())
    }

    fn state(&self, state: &mut Vec<f64>) {
        self.cards.state(state);
    }

    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        self.cards.set_state(ID, state, observation)
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

    fn suit(observation: &[f64]) -> i64 {
        assert_eq!(observation.iter().sum::<f64>(), 1.0);
        observation.iter().position(|&shown| shown == 1.0).unwrap() as i64
    }

    #[test]
    fn the_right_answer_is_what_was_shown_k_cards_ago_and_a_game_of_them_pays_1() {
        for (k, decks) in [(1, 1), (4, 1), (32, 2), (51, 1), (64, 3)] {
            let mut env = game(json!({"k": k, "decks": decks}));
            let cards = 52 * decks;
            for (is_right, expected) in [(true, 1.0), (false, -1.0)] {
                let mut observation = [0.0; 4];
                env.reset(Some(7), &mut observation).unwrap();
                let mut seen = vec![suit(&observation)];
                let mut rewards = vec![];
                loop {
                    let wanted = if seen.len() >= k { seen[seen.len() - k] } else { 0 };
                    let answer = if is_right { wanted } else { (wanted + 1) % 4 };
                    let step = env.step(Action::Discrete(answer), &mut observation).unwrap();
                    rewards.push(step.reward);
                    assert!(!step.end.terminated);
                    seen.push(suit(&observation));
                    if step.end.truncated {
                        break;
                    }
                }
                assert_eq!((rewards.len(), rewards.iter().filter(|&&reward| reward != 0.0).count()), (cards - 1, cards - k));
                assert!(rewards[..k - 1].iter().all(|&reward| reward == 0.0));
                assert!((rewards.iter().sum::<f64>() - expected).abs() < 1e-9, "k {k}: {rewards:?}");
                assert!((0..4).all(|suit| seen.iter().filter(|&&card| card == suit).count() == 13 * decks), "{seen:?}");
            }
        }
    }

    #[test]
    fn piles_are_shuffled_well() {
        // Where the card that was dealt first comes from says nothing: each suit a quarter of the time, at either end.
        let mut env = game(json!({}));
        let (mut observation, mut state) = ([0.0; 4], vec![]);
        let mut counts = [[0; 4]; 2];
        for seed in 0..2000 {
            env.reset(Some(seed), &mut observation).unwrap();
            state.clear();
            env.state(&mut state).unwrap();
            counts[0][state[0] as usize] += 1;
            counts[1][state[51] as usize] += 1;
        }
        // Four standard deviations of a binomial with 2000 draws of 1/4: 77.
        assert!(counts.iter().flatten().all(|count| (423..577).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_longer_limit_deals_the_same_pile_again() {
        let mut env = game(json!({"max_episode_steps": 120}));
        let mut observation = [0.0; 4];
        env.reset(Some(1), &mut observation).unwrap();
        let mut seen = vec![suit(&observation)];
        for step in 1..=120 {
            let end = env.step(Action::Discrete(0), &mut observation).unwrap().end;
            assert_eq!((end.terminated, end.truncated), (false, step == 120));
            seen.push(suit(&observation));
        }
        assert_eq!(seen[..52], seen[52..104]);
        assert_eq!(seen[..17], seen[104..]);
    }

    #[test]
    fn states_go_round_and_impossible_ones_are_refused() {
        let (mut env, mut copy) = (game(json!({})), game(json!({})));
        let (mut observation, mut seen) = ([0.0; 4], [0.0; 4]);
        env.reset(Some(5), &mut observation).unwrap();
        for answer in 0..11 {
            env.step(Action::Discrete(answer % 4), &mut observation).unwrap();
        }
        let mut state = vec![];
        env.state(&mut state).unwrap();
        copy.set_state(&state, &mut seen).unwrap();
        for answer in 0..30 {
            assert_eq!(seen, observation);
            let left = env.step(Action::Discrete(answer % 4), &mut observation).unwrap();
            assert_eq!(left, copy.step(Action::Discrete(answer % 4), &mut seen).unwrap());
        }
        for (index, wrong) in [(3, 4.0), (3, -1.0), (3, 0.5), (52, 0.0), (52, 1.5)] {
            let mut wrong_state = state.clone();
            wrong_state[index] = wrong;
            assert!(matches!(copy.set_state(&wrong_state, &mut seen), Err(EnvError::State { .. })), "{index}: {wrong}");
        }
    }

    #[test]
    fn there_are_more_cards_than_k() {
        for (k, decks) in [(52, 1), (104, 2)] {
            let error = make(ID, &fixtures::options(json!({"k": k, "decks": decks}))).err().unwrap().to_string();
            assert!(error.contains(&format!("{k}, expected less than the {k} cards of {decks} decks")), "{error}");
        }
    }
}
