//! What scripts remember of an episode: cards that are gone, and what arms have paid.

use std::ops::Range;

use crate::pile::DECK;

/// Counts the cards that are dealt of a pile, and begins anew with the pile.
pub(super) struct Counter {
    /// Cards seen of each kind.
    pub(super) counts: Vec<i64>,
    /// Cards of each kind in the pile.
    pub(super) each: i64,
}

impl Counter {
    pub(super) fn new(kinds: usize, decks: u64) -> Self {
        Self { counts: vec![0; kinds], each: decks as i64 * (DECK / kinds) as i64 }
    }

    pub(super) fn begin(&mut self) {
        self.counts.fill(0);
    }

    pub(super) fn count(&mut self, kind: i64) {
        if self.left(0..self.counts.len() as i64) == 0 {
            self.begin();
        }
        self.counts[kind as usize] += 1;
    }

    /// Cards of some kinds that have not been dealt.
    pub(super) fn left(&self, kinds: Range<i64>) -> i64 {
        kinds.map(|kind| self.each - self.counts[kind as usize]).sum()
    }
}

/// What the arms of a bandit have paid.
pub(super) struct BanditRecord {
    pub(super) pulls: Vec<f64>,
    paid: Vec<f64>,
    /// The arm of the last pull; none at the start.
    pub(super) last: Option<usize>,
}

impl BanditRecord {
    pub(super) fn new(arms: usize) -> Self {
        Self { pulls: vec![0.0; arms], paid: vec![0.0; arms], last: None }
    }

    pub(super) fn begin(&mut self) {
        self.pulls.fill(0.0);
        self.paid.fill(0.0);
        self.last = None;
    }

    /// Takes in what the last pull did.
    pub(super) fn learn(&mut self, is_paid: bool) {
        let Some(arm) = self.last else { return };
        self.pulls[arm] += 1.0;
        self.paid[arm] += f64::from(is_paid);
    }

    /// The arm with the highest upper bound on its probability: mean plus 1.5 standard deviations of what is known of it, a beta
    /// distribution that was uniform before the first pull. Of POPGym's three sizes it gets more than Thompson sampling, the mean
    /// alone, and the bounds of 1 and of 2 standard deviations do.
    pub(super) fn most_promising(&self) -> i64 {
        let bound = |arm: usize| {
            let (pulls, mean) = (self.pulls[arm], (self.paid[arm] + 1.0) / (self.pulls[arm] + 2.0));
            mean + 1.5 * (mean * (1.0 - mean) / (pulls + 3.0)).sqrt()
        };
        let best = (0..self.pulls.len()).max_by(|&one, &other| bound(one).total_cmp(&bound(other)));
        best.unwrap_or(0) as i64
    }
}
