//! `HigherLower-v0`: POPGym's card game, in which counting helps.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::pile::{Dealing, RANKS};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task};

/// Registered name.
pub(crate) const ID: &str = "HigherLower-v0";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] =
    &[OptionInfo::count("decks", 1, 1, 100, "decks of 52 cards that are dealt (POPGym easy: 1, medium: 2, hard: 3)")];

/// Says that the next card has a higher rank.
pub(crate) const HIGHER: i64 = 0;
/// Says that the next card has a lower rank.
pub(crate) const LOWER: i64 = 1;

/// `HigherLower` of POPGym (Morad et al. 2023, arXiv:2303.01859): say whether the next card has a higher or a lower rank.
///
/// # Task
/// A shuffled pile of `decks` decks is dealt card by card. At every card, say whether the next one will have a higher or a lower
/// rank, from the ace, which is the lowest, to the king. The present card alone says much: half of the ranks are above a seven.
/// Whoever remembers which cards are gone knows a little more.
/// # Actions
/// `Discrete(2)`: 0 higher, 1 lower.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 to 12 | 1 for the rank of the present card, 0 for the others; 0 is the ace, 12 the king | 0 or 1 |
///
/// POPGym gives the rank as one integer.
/// # Rewards
/// With n cards, `1 / n` for a right answer and `-1 / n` for a wrong one; 0 where both ranks are the same. Guesses sum to 0 on
/// average, and the likelier side of the present card to 84/169, or 0.497, whatever the number of decks. No policy knows the next
/// card: one that counts all cards, which is the best there is, reaches 0.528, 0.516 and 0.511 with 1, 2 and 3 decks.
/// # First state
/// The pile in random order, its first card dealt.
/// # Episode end
/// Never terminates; truncated when all cards are dealt, after `n - 1` steps. POPGym says terminated there; here, as in
/// `RepeatPrevious-v0`, the end of the pile is a time limit. Under a longer limit the same pile is dealt again.
/// # State
/// The ranks of the pile from the first card to the last, then the number of cards dealt.
/// # Version history
/// v0: first. The rules are POPGym's; the shuffle is not, so its episodes have other seeds.
#[derive(Clone, Debug)]
pub(crate) struct HigherLower {
    cards: Dealing,
}

impl HigherLower {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        Ok(Self { cards: Dealing::new(options.count("decks")?, RANKS) })
    }
}

impl Task for HigherLower {
    fn observation_space(&self) -> Space {
        Space::uniform_box(RANKS, 0.0, 1.0, Dtype::Float32)
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 2, start: 0 }
    }

    fn max_episode_steps(&self) -> Option<usize> {
        Some(self.cards.pile.len() - 1)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.cards.begin(generator, observation);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let (present, next) = (self.cards.pile.card(self.cards.dealt - 1), self.cards.pile.card(self.cards.dealt));
        let scale = 1.0 / self.cards.pile.len() as f64;
        let reward = if next == present {
            0.0
        } else if (next > present) == (action == Action::Discrete(HIGHER)) {
            scale
        } else {
            -scale
        };
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
    use serde_json::json;

    fn game(decks: usize) -> Box<dyn Env> {
        make(ID, &fixtures::options(json!({ "decks": decks }))).unwrap()
    }

    fn rank(observation: &[f64]) -> usize {
        assert_eq!(observation.iter().sum::<f64>(), 1.0);
        observation.iter().position(|&shown| shown == 1.0).unwrap()
    }

    /// The rewards of an episode, and its ranks; `answer` is given the present rank.
    fn play(env: &mut dyn Env, seed: u64, answer: impl Fn(usize) -> i64) -> (Vec<f64>, Vec<usize>) {
        let mut observation = [0.0; 13];
        env.reset(Some(seed), &mut observation).unwrap();
        let (mut rewards, mut seen) = (vec![], vec![rank(&observation)]);
        loop {
            let step = env.step(Action::Discrete(answer(seen[seen.len() - 1])), &mut observation).unwrap();
            rewards.push(step.reward);
            seen.push(rank(&observation));
            assert!(!step.end.terminated);
            if step.end.truncated {
                return (rewards, seen);
            }
        }
    }

    #[test]
    fn the_next_rank_decides_and_an_equal_one_pays_nothing() {
        for decks in [1, 2, 3] {
            let mut env = game(decks);
            let cards = 52 * decks;
            let (higher, seen) = play(&mut *env, 7, |_| HIGHER);
            let (lower, _) = play(&mut *env, 7, |_| LOWER);
            assert_eq!((higher.len(), seen.len()), (cards - 1, cards));
            assert!((0..13).all(|rank| seen.iter().filter(|&&card| card == rank).count() == 4 * decks), "{seen:?}");
            let mut equal = 0;
            for (step, pair) in seen.windows(2).enumerate() {
                let expected = (pair[1] as f64 - pair[0] as f64).clamp(-1.0, 1.0) / cards as f64;
                assert_eq!((higher[step], lower[step]), (expected, -expected), "step {step}: {pair:?}");
                equal += usize::from(expected == 0.0);
            }
            assert!(equal > 0, "no two cards in a row have the same rank");
        }
    }

    #[test]
    fn the_present_card_alone_is_worth_what_the_documentation_says() {
        for decks in [1, 3] {
            let mut env = game(decks);
            let episodes = 1000;
            let side = |rank| if rank < 6 { HIGHER } else { LOWER };
            let mean = (0..episodes).map(|seed| play(&mut *env, seed, side).0.iter().sum::<f64>()).sum::<f64>() / episodes as f64;
            // A step's reward is at most 1/n, and what two steps earn is hardly correlated; so an episode's standard deviation is
            // at most about 1 / sqrt(n).
            let tolerance = 4.0 / (52.0 * decks as f64 * episodes as f64).sqrt();
            assert!((mean - 84.0 / 169.0).abs() < tolerance, "{decks} decks: {mean}");
        }
    }

    #[test]
    fn states_go_round_and_impossible_ones_are_refused() {
        let (mut env, mut copy) = (game(1), game(1));
        let (mut observation, mut seen, mut state) = ([0.0; 13], [0.0; 13], vec![]);
        env.reset(Some(5), &mut observation).unwrap();
        for answer in 0..11 {
            env.step(Action::Discrete(answer % 2), &mut observation).unwrap();
        }
        env.state(&mut state).unwrap();
        copy.set_state(&state, &mut seen).unwrap();
        for answer in 0..30 {
            assert_eq!(seen, observation);
            let left = env.step(Action::Discrete(answer % 2), &mut observation).unwrap();
            assert_eq!(left, copy.step(Action::Discrete(answer % 2), &mut seen).unwrap());
        }
        for (index, wrong) in [(3, 13.0), (3, -1.0), (3, 0.5), (52, 0.0), (52, 1.5)] {
            let mut wrong_state = state.clone();
            wrong_state[index] = wrong;
            assert!(matches!(copy.set_state(&wrong_state, &mut seen), Err(EnvError::State { .. })), "{index}: {wrong}");
        }
    }

    #[test]
    fn decks_out_of_range_are_refused() {
        let error = make(ID, &fixtures::options(json!({"decks": 101}))).err().unwrap().to_string();
        assert_eq!(error, format!("{ID}: option \"decks\": 101, expected an integer from 1 to 100"));
    }
}
