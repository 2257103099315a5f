//! A shuffled pile of playing cards, of which a task looks at one property: the colour, the suit or the rank.

use crate::error::EnvError;
use crate::rng::Generator;
use crate::task::whole;

/// Cards of a deck.
pub(crate) const DECK: usize = 52;
/// Colours of cards: black and red.
pub(crate) const COLORS: usize = 2;
/// Suits of cards.
pub(crate) const SUITS: usize = 4;
/// Ranks of cards, from the ace, the lowest, to the king.
pub(crate) const RANKS: usize = 13;

/// Cards in the order of dealing, each as the index of its colour, suit or rank. There are equally many of every kind.
#[derive(Clone, Debug)]
pub(crate) struct Pile {
    cards: Vec<u8>,
    kinds: usize,
}

impl Pile {
    /// `decks` decks, sorted. `kinds`: [`COLORS`], [`SUITS`] or [`RANKS`], which all divide a deck.
    pub(crate) fn new(decks: u64, kinds: usize) -> Self {
        let mut pile = Self { cards: vec![0; decks as usize * DECK], kinds };
        pile.sort();
        pile
    }

    fn sort(&mut self) {
        self.cards.iter_mut().enumerate().for_each(|(card, kind)| *kind = (card % self.kinds) as u8);
    }

    /// Shuffles the sorted pile, so that an episode does not depend on the ones before.
    pub(crate) fn shuffle(&mut self, generator: &mut Generator) {
        self.sort();
        for card in (1..self.cards.len()).rev() {
            self.cards.swap(card, generator.below(card as u32 + 1) as usize);
        }
    }

    /// Number of cards.
    pub(crate) fn len(&self) -> usize {
        self.cards.len()
    }

    /// Number of kinds.
    pub(crate) fn kinds(&self) -> usize {
        self.kinds
    }

    /// The kind of a card, counted from 0. After the last card the same pile is dealt again.
    pub(crate) fn card(&self, index: u64) -> usize {
        self.cards[(index % self.cards.len() as u64) as usize].into()
    }

    /// Writes 1 for the kind of a card and 0 for the others.
    pub(crate) fn show(&self, index: u64, observation: &mut [f64]) {
        let present = self.card(index);
        observation.iter_mut().enumerate().for_each(|(kind, shown)| *shown = if kind == present { 1.0 } else { 0.0 });
    }

    /// Appends the kinds of all cards.
    pub(crate) fn state(&self, state: &mut Vec<f64>) {
        state.extend(self.cards.iter().map(|&kind| f64::from(kind)));
    }

    /// The pile of a state of the task `env`, as long as this one and with as many cards of every kind.
    ///
    /// # Errors
    /// [`EnvError::State`] for another pile.
    pub(crate) fn with_state(&self, env: &str, state: &[f64]) -> Result<Self, EnvError> {
        let mut cards = Vec::with_capacity(state.len());
        for (card, &kind) in state.iter().enumerate() {
            let highest = self.kinds as u64 - 1;
            let known = whole(kind, 0, highest);
            let problem = || EnvError::state(env, format!("has {kind} at card {card}, expected an integer from 0 to {highest}"));
            cards.push(known.ok_or_else(problem)? as u8);
        }
        let expected = self.cards.len() / self.kinds;
        for kind in 0..self.kinds {
            let found = cards.iter().filter(|&&card| usize::from(card) == kind).count();
            if found != expected {
                return Err(EnvError::state(env, format!("has {found} cards {kind}, expected {expected}")));
            }
        }
        Ok(Self { cards, kinds: self.kinds })
    }
}

/// A pile that is dealt card by card, and shows the present one.
#[derive(Clone, Debug)]
pub(crate) struct Dealing {
    pub(crate) pile: Pile,
    /// Cards dealt, at least 1 once an episode has begun.
    pub(crate) dealt: u64,
}

impl Dealing {
    /// Before the first card; as [`Pile::new`].
    pub(crate) fn new(decks: u64, kinds: usize) -> Self {
        Self { pile: Pile::new(decks, kinds), dealt: 0 }
    }

    /// Shuffles the pile and deals its first card.
    pub(crate) fn begin(&mut self, generator: &mut Generator, observation: &mut [f64]) {
        self.pile.shuffle(generator);
        self.dealt = 0;
        self.deal(observation);
    }

    /// Deals the next card.
    pub(crate) fn deal(&mut self, observation: &mut [f64]) {
        self.pile.show(self.dealt, observation);
        self.dealt += 1;
    }

    /// Numbers of a state.
    pub(crate) fn state_width(&self) -> usize {
        self.pile.len() + 1
    }

    /// Appends the kinds of all cards, then the number of cards dealt.
    pub(crate) fn state(&self, state: &mut Vec<f64>) {
        self.pile.state(state);
        state.push(self.dealt as f64);
    }

    /// Goes on from a state of the task `env`.
    ///
    /// # Errors
    /// [`EnvError::State`] for what is none; nothing has changed then.
    pub(crate) fn set_state(&mut self, env: &str, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        let (pile, dealt) = state.split_at(self.pile.len());
        *self = Self { pile: self.pile.with_state(env, pile)?, dealt: self::dealt(env, dealt[0])? };
        self.pile.show(self.dealt - 1, observation);
        Ok(())
    }
}

/// How many cards have been dealt, from a state of the task `env`: at least 1, for an episode begins with a card.
///
/// # Errors
/// [`EnvError::State`] for another number.
pub(crate) fn dealt(env: &str, dealt: f64) -> Result<u64, EnvError> {
    let problem = || EnvError::state(env, format!("has {dealt} cards dealt, expected an integer from 1 to {}", u32::MAX));
    whole(dealt, 1, u32::MAX.into()).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_pile_for_ever() {
        let mut pile = Pile::new(1, SUITS);
        // A pile that was used before is sorted first.
        for seed in [3, 7] {
            pile.shuffle(&mut Generator::from_seed(seed));
        }
        // The same swaps with NumPy's `default_rng(7).integers`.
        let expected = [
            3, 3, 3, 1, 0, 1, 0, 2, 1, 0, 0, 1, 1, 1, 3, 3, 1, 2, 1, 1, 2, 2, 3, 0, 1, 1, 2, 0, 0, 0, 1, 2, 3, 0, 3, 0, 2, 2, 0,
            2, 3, 3, 0, 2, 2, 2, 0, 3, 3, 2, 3, 1,
        ];
        assert_eq!(pile.cards, expected);
    }

    #[test]
    fn a_pile_has_equally_many_cards_of_every_kind() {
        for (decks, kinds) in [(1, COLORS), (3, SUITS), (2, RANKS)] {
            let mut pile = Pile::new(decks, kinds);
            pile.shuffle(&mut Generator::from_seed(5));
            let (mut state, mut shown) = (vec![], vec![0.0; kinds]);
            pile.state(&mut state);
            assert_eq!(state.len(), 52 * decks as usize);
            pile.with_state("Test-v0", &state).unwrap();
            pile.show(1, &mut shown);
            assert_eq!((shown.iter().sum::<f64>(), shown[state[1] as usize]), (1.0, 1.0));
            // One card turned into another kind.
            state[1] = f64::from(state[1] == 0.0);
            let error = pile.with_state("Test-v0", &state).unwrap_err().to_string();
            assert!(error.contains(&format!("expected {}", 52 * decks as usize / kinds)), "{error}");
            state[1] = kinds as f64;
            let error = pile.with_state("Test-v0", &state).unwrap_err().to_string();
            assert!(error.contains(&format!("has {kinds} at card 1, expected an integer from 0 to {}", kinds - 1)), "{error}");
        }
    }
}
