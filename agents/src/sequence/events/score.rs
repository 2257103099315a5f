//! How well the next events were said: likelihoods, distances of gaps, right marks, and how often gaps were below quantiles.

use aaren_policy::{NextEvent, SequenceRows};

use super::super::task::Scorer;
use crate::config::TimeUnit;
use crate::run::report::{Better, Score};

/// Quantiles that gaps are held against: tenths.
const TENTHS: usize = 10;

/// Names of scores of some unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names(pub TimeUnit);

impl Names {
    /// In nats an event.
    pub(super) fn nats(self, of: &str) -> String {
        format!("{of}NLL ({})", self.0.plural())
    }

    /// In the unit.
    pub(super) fn gap(self, of: &str) -> String {
        format!("{of} ({})", self.0.plural())
    }
}

/// The name of a mark's part of a likelihood, which has no unit of time.
pub(super) const MARK_NLL: &str = "mark NLL";

pub(super) fn score(name: impl Into<String>, value: f64, better: Better) -> Score {
    Score { name: name.into(), condition: None, value, better }
}

/// Sums over events.
pub(super) struct EventScorer {
    components: usize,
    /// Center and scale of the logarithms of gaps.
    moments: [f64; 2],
    /// The largest gap that was learnt from, which means are cut at.
    largest: f64,
    names: Names,
    is_marked: bool,
    /// Events that came.
    count: usize,
    time_nats: f64,
    mark_nats: f64,
    /// Of sequences' ends, and how many there are.
    rest_nats: (f64, usize),
    squares: f64,
    absolutes: f64,
    cut: usize,
    right: usize,
    /// Gaps below every tenth but the last.
    below: [usize; TENTHS - 1],
}

impl EventScorer {
    pub(super) fn new(components: usize, moments: [f64; 2], largest: f64, unit: TimeUnit, is_marked: bool) -> Self {
        Self {
            components,
            moments,
            largest,
            names: Names(unit),
            is_marked,
            count: 0,
            time_nats: 0.0,
            mark_nats: 0.0,
            rest_nats: (0.0, 0),
            squares: 0.0,
            absolutes: 0.0,
            cut: 0,
            right: 0,
            below: [0; TENTHS - 1],
        }
    }
}

impl Scorer for EventScorer {
    fn add(&mut self, output: &[f32], rows: &SequenceRows, due: usize) {
        let [center, scale] = self.moments;
        let next = NextEvent::new(output, self.components, center, scale);
        let (gap, mark) = (rows.gaps[due].gap(center, scale), rows.classes[due] as usize);
        if rows.gaps[due].is_survived() {
            self.rest_nats = (self.rest_nats.0 - next.log_survival(gap), self.rest_nats.1 + 1);
            return;
        }
        self.count += 1;
        self.time_nats -= next.log_density(gap);
        let mean = next.mean(self.largest);
        self.cut += usize::from(mean.is_none());
        self.squares += (mean.unwrap_or(self.largest) - gap).powi(2);
        self.absolutes += (next.median() - gap).abs();
        // A gap is below a quantile if it is as improbable to be so short.
        let within = next.probability_within(gap);
        (1..TENTHS).for_each(|tenth| self.below[tenth - 1] += usize::from(within < tenth as f64 / TENTHS as f64));
        if self.is_marked {
            self.mark_nats -= next.log_marks()[mark];
            self.right += usize::from(next.mark() == mark);
        }
    }

    fn scores(&self) -> Vec<Score> {
        let Self { names, is_marked, .. } = *self;
        let share = |sum: f64| sum / self.count as f64;
        let lower = |name: String, value: f64| score(name, value, Better::Lower);
        let all = self.time_nats + self.mark_nats + self.rest_nats.0;
        let mut scores = vec![lower(names.nats(""), share(all)), lower(names.nats("time "), share(self.time_nats))];
        if is_marked {
            scores.push(lower(MARK_NLL.into(), share(self.mark_nats)));
        }
        if self.rest_nats.1 > 0 {
            scores.push(lower("NLL of sequences' ends".into(), share(self.rest_nats.0)));
        }
        if is_marked {
            scores.push(score("accuracy", share(self.right as f64), Better::Higher));
        }
        let shares = self.below.map(|count| share(count as f64));
        let off = |(at, share): (usize, &f64)| (share - (at + 1) as f64 / TENTHS as f64).abs();
        scores.extend([
            lower(names.gap("RMSE of the mean"), share(self.squares).sqrt()),
            lower(names.gap("MAE of the median"), share(self.absolutes)),
            lower("calibration error".into(), shares.iter().enumerate().map(off).sum::<f64>() / shares.len() as f64),
            lower("means cut at the largest gap".into(), share(self.cut as f64)),
        ]);
        scores.extend(shares.into_iter().enumerate().map(|(at, value)| {
            let condition = Some(format!("{} % quantile", 100 / TENTHS * (at + 1)));
            Score { name: "gaps below".into(), condition, value, better: Better::Neither }
        }));
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aaren_policy::DueGap;

    #[test]
    fn scores_are_those_of_the_definitions() {
        let (center, scale) = (0.5, 1.25);
        let outputs: [[f32; 9]; 3] = [
            [0.3, -0.2, 1.0, -1.0, 0.1, 0.4, 1.0, 2.0, 0.5],
            [0.0, 1.0, 0.5, 0.2, -0.3, 0.0, 0.0, -1.0, 0.7],
            // As wide as it may be: no mean.
            [0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 0.0, 0.0, 0.1],
        ];
        let mut scorer = EventScorer::new(2, [center, scale], 1000.0, TimeUnit::Hour, true);
        let mut rows = SequenceRows::default();
        let dues = [(2.0, 1, false), (0.25, 0, false), (40.0, 2, false), (7.0, 0, true)];
        for (at, (gap, mark, is_survived)) in dues.into_iter().enumerate() {
            let due = if is_survived { DueGap::survived } else { DueGap::ended }(gap, center, scale);
            rows.expect_event(at, due, mark, 1.0);
            scorer.add(&outputs[at % 3], &rows, at);
        }
        let next = outputs.map(|output| NextEvent::new(&output, 2, center, scale));
        let scores = scorer.scores();
        let value = |title: &str| scores.iter().find(|score| score.title() == title).unwrap_or_else(|| panic!("{title}")).value;
        let near = |title: &str, expected: f64| {
            let found = value(title);
            assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{title}: {found}, not {expected}");
        };
        let times: f64 = (0..3).map(|at| -next[at].log_density(dues[at].0)).sum::<f64>() / 3.0;
        let marks: f64 = (0..3).map(|at| -next[at].log_marks()[dues[at].1 as usize]).sum::<f64>() / 3.0;
        let rest = -next[0].log_survival(7.0) / 3.0;
        near("time NLL (hours)", times);
        near("mark NLL", marks);
        near("NLL of sequences' ends", rest);
        near("NLL (hours)", times + marks + rest);
        near("accuracy", 2.0 / 3.0);
        near("means cut at the largest gap", 1.0 / 3.0);
        let means = [next[0].mean(1e9).unwrap(), next[1].mean(1e9).unwrap(), 1000.0];
        near("RMSE of the mean (hours)", ((0..3).map(|at| (means[at] - dues[at].0).powi(2)).sum::<f64>() / 3.0).sqrt());
        near("MAE of the median (hours)", (0..3).map(|at| (next[at].median() - dues[at].0).abs()).sum::<f64>() / 3.0);
        for tenth in 1..10 {
            let below = (0..3).filter(|&at| dues[at].0 < next[at].quantile(tenth as f64 / 10.0)).count();
            near(&format!("gaps below, {}0 % quantile", tenth), below as f64 / 3.0);
        }
        assert_eq!(scores[0].title(), "NLL (hours)");
        let unmarked = EventScorer::new(2, [center, scale], 1.0, TimeUnit::Day, false).scores();
        assert!(unmarked.iter().all(|score| score.name != "accuracy" && score.name != MARK_NLL));
    }
}
