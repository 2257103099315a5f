//! What is said of next events without learning from order, or from no more of it than one event.

use std::collections::{BTreeMap, HashMap};

use aaren_policy::NextEvent;

use super::score::{MARK_NLL, Names, score};
use super::shown::Shown;
use crate::config::TimeUnit;
use crate::run::report::{Baseline, Better};

/// Counts and moments of what is known.
pub(super) struct Known {
    names: Names,
    marks: usize,
    /// Events of each mark.
    counts: Vec<f64>,
    /// Events of some mark after one of each, where there are some: what a file says of its marks may be many more than it has.
    pairs: HashMap<u32, BTreeMap<u32, f64>>,
    mean: f64,
    /// Of gaps, as one log-normal.
    one: NextEvent,
    largest: f64,
}

impl Known {
    /// Of some sequences.
    pub(super) fn new<'a, I: Iterator<Item = &'a Shown>>(known: impl Fn() -> I, marks: usize, unit: TimeUnit) -> Self {
        let gaps = || known().flat_map(|shown| &shown.gaps[1..]).copied();
        let count = gaps().count() as f64;
        let center = gaps().map(f64::ln).sum::<f64>() / count;
        let variance = gaps().map(|gap| (gap.ln() - center).powi(2)).sum::<f64>() / count;
        let (mut counts, mut pairs) = (vec![0.0; marks], HashMap::<u32, BTreeMap<u32, f64>>::new());
        for shown in known().filter(|_| marks > 1) {
            shown.marks.iter().for_each(|mark| counts[*mark as usize] += 1.0);
            shown.marks.windows(2).for_each(|pair| *pairs.entry(pair[0]).or_default().entry(pair[1]).or_default() += 1.0);
        }
        Self {
            names: Names(unit),
            marks,
            counts,
            pairs,
            mean: gaps().sum::<f64>() / count,
            one: NextEvent::new(&[0.0; 3], 1, center, if variance > 1e-24 { variance.sqrt() } else { 1.0 }),
            largest: gaps().fold(0.0, f64::max),
        }
    }

    /// What the process itself reaches, whose nats of gaps and marks are in another unit of time.
    ///
    /// - `log_units`: the logarithm of units in one of the process's
    pub(super) fn process(&self, nats: &[[f64; 2]], log_units: f64, is_marked: bool) -> Baseline {
        let mean = |part: usize| nats.iter().map(|nats| nats[part]).sum::<f64>() / nats.len() as f64;
        let (time, mark) = (mean(0) + log_units, mean(1));
        let lower = |name: String, value: f64| score(name, value, Better::Lower);
        let mut scores = vec![lower(self.names.nats(""), time + mark), lower(self.names.nats("time "), time)];
        if is_marked {
            scores.push(lower(MARK_NLL.into(), mark));
        }
        Baseline { name: "the process itself".into(), scores }
    }

    /// One log-normal for all gaps with a mark that depends on the last one; and the mean gap with the mark that is commonest. Every mark, and
    /// every pair, counts as one more than it was seen, so that none is impossible.
    pub(super) fn baselines(&self, tested: &[Shown]) -> Vec<Baseline> {
        let Self { names, marks, mean, one, largest, .. } = self;
        let gaps = || tested.iter().flat_map(|shown| &shown.gaps[1..]).copied();
        let count = gaps().count() as f64;
        let lower = |name: String, value: f64| score(name, value, Better::Lower);
        let rmse = |said: f64| {
            lower(names.gap("RMSE of the mean"), (gaps().map(|gap| (gap - said).powi(2)).sum::<f64>() / count).sqrt())
        };
        let time = gaps().map(|gap| -one.log_density(gap)).sum::<f64>() / count;
        let rests: f64 = tested.iter().filter_map(|shown| shown.rest).map(|rest| -one.log_survival(rest)).sum::<f64>() / count;
        let median = one.median();
        let mae = lower(names.gap("MAE of the median"), gaps().map(|gap| (gap - median).abs()).sum::<f64>() / count);
        let rmse_of_one = rmse(one.mean(*largest).unwrap_or(*largest));
        if *marks < 2 {
            let nats = [lower(names.nats(""), time + rests), lower(names.nats("time "), time)];
            return vec![
                Baseline { name: "one log-normal".into(), scores: nats.into_iter().chain([rmse_of_one, mae]).collect() },
                Baseline { name: "the mean gap".into(), scores: vec![rmse(*mean)] },
            ];
        }
        let following = || tested.iter().flat_map(|shown| shown.marks.windows(2)).map(|pair| (pair[0], pair[1]));
        let first_most = |a: (u32, f64), b: (u32, f64)| if b.1 > a.1 { b } else { a };
        let most = (0..).zip(self.counts.iter().copied()).reduce(first_most).map_or(0, |(mark, _)| mark);
        // After a mark that nothing came after, the commonest comes.
        let after = |from: u32| {
            let counts =
                self.pairs.get(&from).and_then(|counts| counts.iter().map(|(&to, &count)| (to, count)).reduce(first_most));
            counts.map_or(most, |(to, _)| to)
        };
        let all = *marks as f64;
        let sum: f64 = self.counts.iter().sum();
        let sums: HashMap<u32, f64> = self.pairs.iter().map(|(&from, counts)| (from, counts.values().sum())).collect();
        let nats_of_pair = |(from, to): (u32, u32)| {
            let seen = self.pairs.get(&from).and_then(|counts| counts.get(&to)).copied().unwrap_or(0.0);
            ((sums.get(&from).copied().unwrap_or(0.0) + all) / (seen + 1.0)).ln()
        };
        let of_pairs = following().map(nats_of_pair).sum::<f64>() / count;
        let of_shares = following().map(|(_, to)| ((sum + all) / (self.counts[to as usize] + 1.0)).ln()).sum::<f64>() / count;
        let right = |is_right: &dyn Fn(u32, u32) -> bool| {
            score("accuracy", following().filter(|(from, to)| is_right(*from, *to)).count() as f64 / count, Better::Higher)
        };
        let by_pairs = vec![
            lower(names.nats(""), time + of_pairs + rests),
            lower(names.nats("time "), time),
            lower(MARK_NLL.into(), of_pairs),
            right(&|from, to| after(from) == to),
            rmse_of_one,
            mae,
        ];
        let by_shares = vec![rmse(*mean), lower(MARK_NLL.into(), of_shares), right(&|_, to| most == to)];
        vec![
            Baseline { name: "one log-normal, pairs of marks".into(), scores: by_pairs },
            Baseline { name: "the mean gap, the commonest mark".into(), scores: by_shares },
        ]
    }
}
