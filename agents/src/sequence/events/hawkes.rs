//! Sequences of a Hawkes process, and how likely it makes them itself: the most that a model of it can reach.
//!
//! Sources: Hawkes 1971 (Biometrika 58) for the process, Ogata 1981 (IEEE Transactions on Information Theory 27) for drawing from it by
//! thinning.

use aaren_envs::derive_seed;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1};
use rand_pcg::Pcg64Mcg;

use super::super::task::Split;
use crate::config::Hawkes;
use crate::seeds;

/// What past events add to the rates, and how that falls.
struct Rates<'a> {
    process: &'a Hawkes,
    /// What is left of the events of every mark, 1 each when it comes: `[marks]`
    left: Vec<f64>,
}

impl<'a> Rates<'a> {
    /// Before any event.
    fn new(process: &'a Hawkes) -> Self {
        Self { process, left: vec![0.0; process.base.len()] }
    }

    /// That of a mark.
    fn of(&self, mark: usize) -> f64 {
        let Hawkes { base, excitation, decay, .. } = self.process;
        base[mark] + decay * excitation[mark].iter().zip(&self.left).map(|(factor, left)| factor * left).sum::<f64>()
    }

    /// Of all marks together.
    fn total(&self) -> f64 {
        (0..self.left.len()).map(|mark| self.of(mark)).sum()
    }

    /// Events that are to be expected within a gap in which none comes.
    fn expected(&self, gap: f64) -> f64 {
        let Hawkes { base, excitation, decay, .. } = self.process;
        let fallen = -(-decay * gap).exp_m1();
        let of = |row: &Vec<f64>| row.iter().zip(&self.left).map(|(factor, left)| factor * left * fallen).sum::<f64>();
        base.iter().sum::<f64>() * gap + excitation.iter().map(of).sum::<f64>()
    }

    /// A time without events goes by.
    fn pass(&mut self, gap: f64) {
        let kept = (-self.process.decay * gap).exp();
        self.left.iter_mut().for_each(|left| *left *= kept);
    }
}

impl Hawkes {
    /// Times and marks of a sequence of a split, by its number.
    pub(super) fn sequence(&self, seed: u64, split: Split, number: u64) -> (Vec<f64>, Vec<u32>) {
        let generator = &mut Pcg64Mcg::seed_from_u64(derive_seed(seed, &[seeds::EXAMPLES, split as u64, number]));
        let (mut rates, mut time) = (Rates::new(self), 0.0);
        let (mut times, mut marks) = (Vec::with_capacity(self.events), Vec::with_capacity(self.events));
        while times.len() < self.events {
            // The rate falls until the next event, so it is at most what it is now.
            let most = rates.total();
            let gap: f64 = Distribution::<f64>::sample(&Exp1, generator) / most;
            rates.pass(gap);
            time += gap;
            let mut drawn = generator.random::<f64>() * most;
            let is_of = |mark: &usize| {
                drawn -= rates.of(*mark);
                drawn < 0.0
            };
            if let Some(mark) = (0..self.base.len()).find(is_of) {
                rates.left[mark] += 1.0;
                times.push(time);
                marks.push(mark as u32);
            }
        }
        (times, marks)
    }

    /// Minus the logarithm of the density of the gap before every event but the first, and of the probability of its mark at that time, in
    /// nats.
    pub(super) fn nats(&self, times: &[f64], marks: &[u32]) -> Vec<[f64; 2]> {
        let mut rates = Rates::new(self);
        let mut all = Vec::with_capacity(times.len());
        for (at, mark) in marks.iter().map(|mark| *mark as usize).enumerate() {
            if at > 0 {
                let gap = times[at] - times[at - 1];
                let expected = rates.expected(gap);
                rates.pass(gap);
                let total = rates.total();
                all.push([expected - total.ln(), (total / rates.of(mark)).ln()]);
            }
            rates.left[mark] += 1.0;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_marks() -> Hawkes {
        Hawkes {
            base: vec![0.1, 0.3],
            excitation: vec![vec![0.3, 0.5], vec![0.1, 0.2]],
            decay: 1.7,
            events: 4000,
            ..Hawkes::default()
        }
    }

    /// Events that are to be expected between two events are exponential, whatever was before.
    #[test]
    fn gaps_are_exponential_by_the_time_that_rates_count() {
        for process in [two_marks(), Hawkes { events: 4000, ..Hawkes::default() }] {
            let mut all = Vec::new();
            for number in 0..5 {
                let (times, marks) = process.sequence(3, Split::Test, number);
                let mut rates = Rates::new(&process);
                let mut last = 0.0;
                for (time, mark) in times.iter().zip(&marks) {
                    all.push(rates.expected(time - last));
                    rates.pass(time - last);
                    rates.left[*mark as usize] += 1.0;
                    last = *time;
                }
            }
            // The largest distance from the distribution, against that of one in a thousand such samples.
            all.sort_by(f64::total_cmp);
            let count = all.len() as f64;
            let off = |(at, expected): (usize, &f64)| (-(-expected).exp_m1() - (at as f64 + 0.5) / count).abs();
            let distance = all.iter().enumerate().map(off).fold(0.0, f64::max);
            assert!(distance < 1.95 / count.sqrt(), "{distance}");
        }
    }

    /// As many events of each mark come in the long run as base rates and excitations make.
    #[test]
    fn marks_come_as_often_as_they_are_made() {
        let process = two_marks();
        // (1 - 0.3) a - 0.5 b = 0.1 and -0.1 a + (1 - 0.2) b = 0.3.
        let (a, b) = ((0.1 * 0.8 + 0.5 * 0.3) / 0.51, (0.7 * 0.3 + 0.1 * 0.1) / 0.51);
        let (mut counts, mut time) = ([0.0; 2], 0.0);
        for number in 0..20 {
            let (times, marks) = process.sequence(1, Split::Train, number);
            marks.iter().for_each(|mark| counts[*mark as usize] += 1.0);
            time += times[times.len() - 1];
        }
        for (count, rate) in counts.iter().zip([a, b]) {
            assert!((count / time / rate - 1.0).abs() < 0.03, "{} and {rate}", count / time);
        }
        assert_eq!(process.sequence(1, Split::Train, 7), process.sequence(1, Split::Train, 7));
        assert_ne!(process.sequence(1, Split::Train, 7), process.sequence(1, Split::Validation, 7));
    }

    /// The density of a gap and a mark integrates to 1, whatever came before.
    #[test]
    fn densities_integrate_to_one() {
        let process = two_marks();
        let (times, marks) = (vec![0.4, 0.9, 2.0], vec![0, 1, 1]);
        let at = |gap: f64, mark: u32| {
            let (mut times, mut marks) = (times.clone(), marks.clone());
            times.push(2.0 + gap);
            marks.push(mark);
            let [of_gap, of_mark] = process.nats(&times, &marks)[2];
            (-of_gap - of_mark).exp()
        };
        let (steps, to) = (200_000, 60.0);
        let width = to / steps as f64;
        let middle = |step: usize| (step as f64 + 0.5) * width;
        let sum: f64 = (0..steps).map(|step| at(middle(step), 0) + at(middle(step), 1)).sum::<f64>() * width;
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        // By hand: the second event, where one of the first mark was 0.5 before.
        let left = (-1.7f64 * 0.5).exp();
        let (first, second) = (0.1 + 1.7 * 0.3 * left, 0.3 + 1.7 * 0.1 * left);
        let found = process.nats(&times, &marks)[0];
        let expected = 0.4 * 0.5 + (0.3 + 0.1) * (1.0 - left) - (first + second).ln();
        assert!((found[0] - expected).abs() < 1e-12 && (found[1] - ((first + second) / second).ln()).abs() < 1e-12);
    }
}
