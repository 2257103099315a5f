//! Multi-query associative recall: pairs of keys and values, then every key once more, to be answered by its value.
//!
//! ```text
//! input    k1 v1 k2 v2  0  0 k2  0 k1  0  0  0
//! answers                    v2    v1
//! ```
//!
//! Most keys come back soon, some late, and the answer is never in the input. What a mixer must hold grows with the pairs, so the
//! task tells mixers apart: attention looks the value up, a state of fixed size holds only so many.
//!
//! Source: Arora et al. 2023, arXiv:2312.04927 (Zoology).

use std::ops::Range;

use aaren_envs::derive_seed;
use aaren_policy::{Loss, PolicyConfig, Pool, SequenceRows, SequenceSpec};
use rand::{RngExt, SeedableRng, seq::index};
use rand_distr::{Distribution, Gumbel};
use rand_pcg::Pcg64Mcg;

use super::judge::ClassScorer;
use super::task::{Lengths, Scorer, SequenceTask, Split};
use crate::config::Mqar;
use crate::run::report::{Baseline, Better, Score, SequenceReport};
use crate::seeds;

/// Slot `g` of the tail is as likely as `(g + 1)^(POWER - 1)`: nearly `1 / g`, as published.
const POWER: f64 = 0.01;

/// The mixers that are told where they are: softmax attention, which has no other sense of order.
const WITH_POSITIONS: [&str; 2] = ["transformer", "window"];

/// The task of a job.
#[derive(Clone, Copy, Debug)]
pub struct MqarTask {
    /// Sizes.
    pub config: Mqar,
    /// Root of the examples' random numbers.
    pub seed: u64,
}

impl SequenceTask for MqarTask {
    fn spec(&self, policy: &PolicyConfig) -> SequenceSpec {
        let Mqar { vocabulary, length, .. } = self.config;
        let mixers = policy.mixer_of_blocks().unwrap_or_default();
        let positions = if mixers.iter().any(|mixer| WITH_POSITIONS.contains(mixer)) { length } else { 0 };
        SequenceSpec { numbers: 0, vocabulary, positions, tied: true, pool: Pool::Last, loss: Loss::Classes(vocabulary) }
    }

    fn lengths(&self, split: Split) -> Lengths {
        let Mqar { length, validation_examples, test_examples, .. } = self.config;
        match split {
            Split::Train => Lengths::Fresh(length),
            Split::Validation => Lengths::Each(vec![length; validation_examples]),
            Split::Test => Lengths::Each(vec![length; test_examples]),
        }
    }

    fn push(&self, rows: &mut SequenceRows, split: Split, sequence: usize, tokens: Range<usize>) {
        let Example { input, answers } = self.config.example(self.seed, split, sequence as u64);
        for (place, answer) in answers.into_iter().filter(|(place, _)| tokens.contains(place)) {
            rows.expect(rows.len() + place - tokens.start, answer, 1.0);
        }
        rows.ids.extend(&input[tokens]);
    }

    fn scorer(&self) -> Box<dyn Scorer> {
        Box::new(ClassScorer::default())
    }

    fn baselines(&self, _: Split) -> Vec<Baseline> {
        let pairs = self.config.pairs as f64;
        let score = |name: &str, value, better| Score { name: name.into(), condition: None, value, better };
        let scores = vec![score("accuracy", 1.0 / pairs, Better::Higher), score(SequenceReport::LOSS, pairs.ln(), Better::Lower)];
        vec![Baseline { name: "a guess among the values".into(), scores }]
    }
}

/// An example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The tokens.
    pub input: Vec<i32>,
    /// Where a key comes back, and the value that is to be said there, in the order of the pairs.
    pub answers: Vec<(usize, i32)>,
}

impl Mqar {
    /// Slots of the tail, at every other token from the pairs' end on.
    pub fn slots(&self) -> usize {
        (self.length - 2 * self.pairs) / 2
    }

    /// The probability of each slot to be drawn first.
    pub fn slot_probabilities(&self) -> Vec<f64> {
        let weights: Vec<f64> = (0..self.slots()).map(|slot| ((slot + 1) as f64).powf(POWER - 1.0)).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    /// An example of a split, by its number.
    pub fn example(&self, seed: u64, split: Split, number: u64) -> Example {
        let generator = &mut Pcg64Mcg::seed_from_u64(derive_seed(seed, &[seeds::EXAMPLES, split as u64, number]));
        let &Self { vocabulary, length, pairs, noise, .. } = self;
        let half = vocabulary / 2;
        let keys = index::sample(generator, half - 1, pairs).into_iter().map(|key| (key + 1) as i32);
        let keys: Vec<i32> = keys.collect(); // 1 .. half - 1
        let values = index::sample(generator, vocabulary - half, pairs).into_iter().map(|value| (value + half) as i32);
        let values: Vec<i32> = values.collect(); // half .. vocabulary - 1

        let mut input = vec![0; length];
        if noise {
            input[2 * pairs..].fill_with(|| generator.random_range(0..vocabulary as i32));
        }
        for (pair, (&key, &value)) in keys.iter().zip(&values).enumerate() {
            (input[2 * pair], input[2 * pair + 1]) = (key, value);
        }
        let slots = self.draw_slots(generator);
        let answers = slots.into_iter().zip(keys.iter().zip(&values)).map(|(slot, (&key, &value))| {
            let place = 2 * pairs + 2 * slot;
            input[place] = key;
            (place, value)
        });
        let answers = answers.collect();
        Example { input, answers }
    }

    /// A slot for each pair, drawn one after another without replacement.
    fn draw_slots(&self, generator: &mut Pcg64Mcg) -> Vec<usize> {
        // The largest sums of log-probability and Gumbel noise, in descending order, are such draws.
        let noise = Gumbel::new(0.0, 1.0).expect("a standard Gumbel distribution");
        let log_weight = |slot: usize| (POWER - 1.0) * ((slot + 1) as f64).ln();
        let mut slots: Vec<(f64, usize)> =
            (0..self.slots()).map(|slot| (log_weight(slot) + noise.sample(generator), slot)).collect();
        slots.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        slots.into_iter().take(self.pairs).map(|(_, slot)| slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const TASK: Mqar = Mqar { vocabulary: 128, length: 64, pairs: 4, noise: false, validation_examples: 3, test_examples: 4 };

    #[test]
    fn slots_are_as_likely_as_published() {
        let probabilities = TASK.slot_probabilities();
        assert_eq!(probabilities.len(), 28);
        for (slot, expected) in [(0, 0.25105539), (1, 0.12640081), (2, 0.08460957), (27, 0.00927007)] {
            assert!((probabilities[slot] - expected).abs() < 5e-9, "slot {slot}: {}", probabilities[slot]);
        }
        assert!((probabilities[3] - 0.06364).abs() < 5e-6, "slot 3: {}", probabilities[3]);
        let count = 40_000;
        let (mut first, mut any) = (vec![0; 28], 0);
        for number in 0..count {
            let answers = TASK.example(1, Split::Train, number).answers;
            let slot = |place: usize| (place - 8) / 2;
            first[slot(answers[0].0)] += 1;
            any += usize::from(answers.iter().any(|&(place, _)| slot(place) == 0));
        }
        // Five standard errors at most.
        for (slot, (&seen, probability)) in first.iter().zip(probabilities).enumerate() {
            let error = (probability * (1.0 - probability) / count as f64).sqrt();
            let share = f64::from(seen) / count as f64;
            assert!((share - probability).abs() < 5.0 * error, "slot {slot}: {share}, expected {probability}");
        }
        let any = any as f64 / count as f64;
        assert!((any - 0.72).abs() < 0.01, "slot 0 is used in {any}");
    }

    #[test]
    fn an_example_is_pairs_and_each_key_once_more_with_its_value_as_the_answer_there() {
        for (vocabulary, length, pairs, noise) in [(128, 64, 4, false), (12, 8, 2, false), (13, 10, 1, false), (97, 40, 10, true)]
        {
            let task = Mqar { vocabulary, length, pairs, noise, ..TASK };
            task.check().unwrap();
            let half = (vocabulary / 2) as i32;
            for number in 0..500 {
                let Example { input, answers } = task.example(7, Split::Test, number);
                assert_eq!((input.len(), answers.len()), (length, pairs));
                let (keys, values): (Vec<i32>, Vec<i32>) = (0..pairs).map(|i| (input[2 * i], input[2 * i + 1])).unzip();
                assert!(keys.iter().all(|key| (1..half).contains(key)), "{keys:?}");
                assert!(values.iter().all(|value| (half..vocabulary as i32).contains(value)), "{values:?}");
                let distinct = |tokens: &[i32]| tokens.iter().collect::<HashSet<_>>().len() == pairs;
                assert!(distinct(&keys) && distinct(&values), "{keys:?} {values:?}");
                for (i, &(place, value)) in answers.iter().enumerate() {
                    assert!(place >= 2 * pairs && place.is_multiple_of(2) && place < length, "{place}");
                    // The answer stands on the query, not before it.
                    assert_eq!((input[place], value), (keys[i], values[i]));
                }
                let tail = &input[2 * pairs..];
                if !noise {
                    let rest: Vec<i32> = tail.iter().copied().filter(|&token| token != 0).collect();
                    assert!(rest.len() == pairs && distinct(&rest) && rest.iter().all(|key| keys.contains(key)), "{input:?}");
                }
            }
        }
    }

    #[test]
    fn noise_is_over_the_whole_vocabulary() {
        let task = Mqar { vocabulary: 20, length: 16, pairs: 2, noise: true, ..TASK };
        let seen: HashSet<i32> = (0..200).flat_map(|number| task.example(1, Split::Train, number).input[4..].to_vec()).collect();
        assert_eq!(seen, (0..20).collect());
    }

    #[test]
    fn as_many_pairs_as_fit_use_every_slot() {
        let task = Mqar { vocabulary: 20, length: 16, ..TASK };
        let mut places: Vec<usize> = task.example(1, Split::Train, 0).answers.iter().map(|&(place, _)| place).collect();
        places.sort_unstable();
        assert_eq!(places, [8, 10, 12, 14]);
    }

    #[test]
    fn splits_and_seeds_share_no_example() {
        let set = |seed, split| -> HashSet<Vec<i32>> { (0..2000).map(|i| TASK.example(seed, split, i).input).collect() };
        let sets = [set(1, Split::Train), set(1, Split::Test), set(2, Split::Train), set(2, Split::Test)];
        assert_eq!(sets.iter().flatten().collect::<HashSet<_>>().len(), 8000);
        assert_eq!(set(1, Split::Train), sets[0]);
    }

    #[test]
    fn rows_are_its_examples_one_after_another() {
        let (task, mut rows) = (MqarTask { config: TASK, seed: 3 }, SequenceRows::default());
        (5..8).for_each(|sequence| super::super::task::push(&task, &mut rows, Split::Train, sequence, 0..64, true));
        let second = TASK.example(3, Split::Train, 6);
        assert_eq!(rows.ids[64..128], second.input);
        assert_eq!((rows.ids.len(), rows.classes.len(), rows.positions[130]), (192, 12, 2));
        for (i, &(place, answer)) in second.answers.iter().enumerate() {
            assert_eq!((rows.due[4 + i], rows.classes[4 + i]), (64 + place, answer));
        }
        assert_eq!(rows.resets.iter().filter(|reset| **reset).count(), 3);
    }
}
