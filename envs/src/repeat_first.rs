//! `RepeatFirst-v0`: POPGym's test of a memory of the first observation.

use crate::env::Action;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};
use crate::pile::{Dealing, SUITS};
use crate::rng::Generator;
use crate::space::{Dtype, Space};
use crate::task::{Outcome, Task};

/// Registered name.
pub(crate) const ID: &str = "RepeatFirst-v0";

/// Options of the task.
pub(crate) const OPTIONS: &[OptionInfo] =
    &[OptionInfo::count("decks", 1, 1, 100, "decks of 52 cards that are dealt (POPGym easy: 1, medium: 8, hard: 16)")];

/// `RepeatFirst` of POPGym (Morad et al. 2023, arXiv:2303.01859): cards are dealt, and at every card the suit of the first one must
/// be named.
///
/// # Task
/// A shuffled pile of `decks` decks is dealt card by card. Answer at every card, the first included, with the suit of the first.
/// No later observation says which card was the first.
/// # Actions
/// `Discrete(4)`: a suit.
/// # Observation
/// | number | meaning | range |
/// |---|---|---|
/// | 0 to 3 | 1 for the suit of the present card, 0 for the others | 0 or 1 |
///
/// POPGym gives the suit as one integer.
/// # Rewards
/// With n cards, `1 / (n - 1)` for a right answer and `-1 / (n - 1)` for a wrong one. An episode of right answers sums to 1, one of
/// guesses to -0.5 on average. A policy without memory that names the present card is right at the first card, which pays as much
/// as any other.
/// # First state
/// The pile in random order, its first card dealt.
/// # Episode end
/// Never terminates; truncated when all cards are dealt, after `n - 1` steps. POPGym says terminated there; here, as in
/// `RepeatPrevious-v0`, the end of the pile is a time limit. Under a longer limit the same pile is dealt again.
/// # State
/// The suits of the pile from the first card to the last, then the number of cards dealt.
/// # Version history
/// v0: first. The rules are POPGym's; the shuffle is not, so its episodes have other seeds.
#[derive(Clone, Debug)]
pub(crate) struct RepeatFirst {
    cards: Dealing,
}

impl RepeatFirst {
    pub(crate) fn from_options(options: &Options) -> Result<Self, EnvError> {
        Ok(Self { cards: Dealing::new(options.count("decks")?, SUITS) })
    }
}

impl Task for RepeatFirst {
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
        let scale = 1.0 / (self.cards.pile.len() - 1) as f64;
        let reward = if answer == self.cards.pile.card(0) as i64 { scale } else { -scale };
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

    fn suit(observation: &[f64]) -> i64 {
        assert_eq!(observation.iter().sum::<f64>(), 1.0);
        observation.iter().position(|&shown| shown == 1.0).unwrap() as i64
    }

    /// The return of an episode, and the suits shown; `answer` is given the first suit and the present one.
    fn play(env: &mut dyn Env, seed: u64, answer: impl Fn(i64, i64) -> i64) -> (f64, Vec<i64>) {
        let mut observation = [0.0; 4];
        env.reset(Some(seed), &mut observation).unwrap();
        let (mut sum, mut seen) = (0.0, vec![suit(&observation)]);
        loop {
            let step = env.step(Action::Discrete(answer(seen[0], seen[seen.len() - 1])), &mut observation).unwrap();
            sum += step.reward;
            seen.push(suit(&observation));
            assert!(!step.end.terminated);
            if step.end.truncated {
                return (sum, seen);
            }
        }
    }

    #[test]
    fn the_right_answer_is_the_first_suit_and_a_game_of_them_pays_1() {
        for decks in [1, 8, 16] {
            let mut env = game(decks);
            let (right, seen) = play(&mut *env, 7, |first, _| first);
            let (wrong, _) = play(&mut *env, 7, |first, _| (first + 3) % 4);
            assert!((right - 1.0).abs() < 1e-9 && (wrong + 1.0).abs() < 1e-9, "{right}, {wrong}");
            assert_eq!(seen.len(), 52 * decks);
            assert!((0..4).all(|suit| seen.iter().filter(|&&card| card == suit).count() == 13 * decks), "{seen:?}");
        }
    }

    #[test]
    fn naming_the_present_card_is_no_better_than_a_guess_after_the_first() {
        let mut env = game(1);
        let episodes = 400;
        let mean = (0..episodes).map(|seed| play(&mut *env, seed, |_, present| present).0).sum::<f64>() / episodes as f64;
        // The first answer is right, and of the 50 others those at the cards of the same suit: 12 of the 51 that follow.
        let share = (1.0 + 50.0 * 12.0 / 51.0) / 51.0;
        // Only the last card's suit, at which nothing is answered, changes their number: a standard deviation below 0.5.
        assert!((mean - (2.0 * share - 1.0)).abs() < 4.0 * (2.0 * 0.5 / 51.0) / (episodes as f64).sqrt(), "{mean}");
    }

    #[test]
    fn states_go_round_and_impossible_ones_are_refused() {
        let (mut env, mut copy) = (game(1), game(1));
        let (mut observation, mut seen, mut state) = ([0.0; 4], [0.0; 4], vec![]);
        env.reset(Some(5), &mut observation).unwrap();
        for answer in 0..11 {
            env.step(Action::Discrete(answer % 4), &mut observation).unwrap();
        }
        env.state(&mut state).unwrap();
        copy.set_state(&state, &mut seen).unwrap();
        for answer in 0..30 {
            assert_eq!(seen, observation);
            let left = env.step(Action::Discrete(answer % 4), &mut observation).unwrap();
            assert_eq!(left, copy.step(Action::Discrete(answer % 4), &mut seen).unwrap());
        }
        let other = f64::from(state[3] == 0.0);
        for (index, wrong) in [(3, 4.0), (3, -1.0), (3, 0.5), (3, other), (52, 0.0), (52, 1.5)] {
            let mut wrong_state = state.clone();
            wrong_state[index] = wrong;
            assert!(matches!(copy.set_state(&wrong_state, &mut seen), Err(EnvError::State { .. })), "{index}: {wrong}");
        }
    }

    #[test]
    fn decks_out_of_range_are_refused() {
        for decks in [0, 101] {
            let error = make(ID, &fixtures::options(json!({ "decks": decks }))).err().unwrap().to_string();
            assert_eq!(error, format!("{ID}: option \"decks\": {decks}, expected an integer from 1 to 100"));
        }
    }
}
