//! A task that learns when the next event comes, and of which kind.

use std::fmt::{self, Display, Formatter};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// When the next event of a sequence comes and of which kind: the files or the process, and how it is learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// File of the sequences to learn from: `.json` or `.jsonl` and `.pkl` as EasyTPP has them, `.csv` with the columns sequence, time and
    /// mark, or of two text files with a sequence a line that of the times, whose name has `time` where that of the marks has `event`. Two
    /// names are those of the times and of the marks.
    pub train: EventFiles,
    /// File of the test split.
    pub test: EventFiles,
    /// Share of the sequences in `train` that is held out, the validation split, drawn from the seed; above 0 and below 1. Or a file.
    pub validation: HeldOut,
    /// What the files are. Default (null): what their names' endings say.
    pub format: Option<EventFiling>,
    /// A process that makes the sequences as they are learnt, in place of files. Default (null): none.
    pub hawkes: Option<Hawkes>,
    /// What a time in the files is in. Dates are known by themselves.
    pub times: TimeUnit,
    /// What gaps are in, in scores and likelihoods: those of other units are not compared.
    pub unit: TimeUnit,
    /// The shortest gap, in `unit`: events at one time count as so far apart, since nothing else has a density.
    pub floor: f64,
    /// The time, as the files have it, until which every sequence was watched, so that no event came between its last and then. Default
    /// (null): it is not known, and nothing is due after a sequence's last event.
    pub end: Option<f64>,
    /// Log-normals of the mixture that says when the next event comes.
    pub components: usize,
    /// What a token is told of its event's time, beside the gap before it.
    pub clock: Vec<Clock>,
    /// Whether a token is told its place in the sequence by a learned embedding, as long as the longest sequence that is trained on; later
    /// places share the last.
    pub positions: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            train: EventFiles::One(String::new()),
            test: EventFiles::One(String::new()),
            validation: HeldOut::Share(0.1),
            format: None,
            hawkes: None,
            times: TimeUnit::Second,
            unit: TimeUnit::Second,
            floor: 1e-6,
            end: None,
            components: 8,
            clock: Vec::new(),
            positions: true,
        }
    }
}

/// A file, or one of times and one of marks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected the path of a file, or those of a file of times and one of marks")]
pub enum EventFiles {
    /// All of it.
    One(String),
    /// Times, and marks.
    Two([String; 2]),
}

impl EventFiles {
    /// The file of the times, and that of the marks where it is named.
    pub(crate) fn names(&self) -> (&str, Option<&str>) {
        match self {
            EventFiles::One(file) => (file, None),
            EventFiles::Two([times, marks]) => (times, Some(marks)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let (times, marks) = self.names();
        times.is_empty() || marks.is_some_and(str::is_empty)
    }
}

impl Display for EventFiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.names().0)
    }
}

/// Where the validation split is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected a share above 0 and below 1, or the path of a file")]
pub enum HeldOut {
    /// A share of the sequences that are learnt from.
    Share(f64),
    /// A file of its own.
    File(EventFiles),
}

/// Formats of files of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventFiling {
    /// Two text files, a sequence a line: times, and marks from 1.
    Gatech,
    /// JSON of EasyTPP's keys, marks from 0.
    Json,
    /// Pickles of the Transformer Hawkes Process and of EasyTPP, marks from 0.
    Pickle,
    /// A table with the columns sequence, time and, where events are told apart, mark.
    Csv,
}

/// What a time is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// 1 s
    Second,
    /// 60 s
    Minute,
    /// 3600 s
    Hour,
    /// 86400 s
    Day,
}

impl TimeUnit {
    /// Its length.
    pub(crate) fn seconds(self) -> f64 {
        match self {
            TimeUnit::Second => 1.0,
            TimeUnit::Minute => 60.0,
            TimeUnit::Hour => 3600.0,
            TimeUnit::Day => 86400.0,
        }
    }

    /// Several of it.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            TimeUnit::Second => "seconds",
            TimeUnit::Minute => "minutes",
            TimeUnit::Hour => "hours",
            TimeUnit::Day => "days",
        }
    }
}

/// What a token is told of its event's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Time since the sequence's first event, in parts of how long the sequences that are trained on last.
    Elapsed,
    /// Sine and cosine of the time of day, if times are since a midnight.
    Hour,
    /// Sine and cosine of the day of the week, if times are since a midnight.
    Weekday,
}

/// A process in which every event makes further ones likelier for a while (Hawkes 1971). An event of mark `m` adds
/// `excitation[k][m] * decay * exp(-decay * t)` to the rate of mark `k`, a time `t` later. Sequences begin where nothing has been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Hawkes {
    /// The rate of every mark without any event before, a unit of time (`times`); above 0.
    pub base: Vec<f64>,
    /// How many events of mark `k` an event of mark `m` makes in the mean, `[k][m]`; at least 0, and together so few that they die out.
    pub excitation: Vec<Vec<f64>>,
    /// What the influence of an event falls by, a unit of time; above 0.
    pub decay: f64,
    /// Events of a sequence, at least 2.
    pub events: usize,
    /// Sequences of the validation split.
    pub validation_sequences: usize,
    /// Sequences of the test split.
    pub test_sequences: usize,
}

impl Default for Hawkes {
    fn default() -> Self {
        let (base, excitation) = (vec![0.2], vec![vec![0.8]]);
        Self { base, excitation, decay: 1.0, events: 64, validation_sequences: 100, test_sequences: 200 }
    }
}

impl Hawkes {
    /// Whether it is a process whose events die out.
    ///
    /// # Errors
    /// Names the key that is wrong.
    pub fn check(&self) -> Result<()> {
        let Self { base, excitation, decay, .. } = self;
        let is_rate = |rate: &f64| rate.is_finite() && *rate >= 0.0;
        ensure!(
            (1..=MOST_MARKS).contains(&base.len()) && base.iter().all(|rate| is_rate(rate) && *rate > 0.0),
            "task.hawkes.base: found {base:?}, expected the rates of 1 to {MOST_MARKS} marks, above 0"
        );
        let marks = base.len();
        ensure!(
            excitation.len() == marks && excitation.iter().all(|row| row.len() == marks && row.iter().all(is_rate)),
            "task.hawkes.excitation: found {excitation:?}, expected {marks} rows of {marks} numbers of at least 0, as many as \
             task.hawkes.base has"
        );
        ensure!(decay.is_finite() && *decay > 0.0, "task.hawkes.decay: found {decay}, expected a number above 0");
        let growth = self.growth();
        ensure!(
            growth < 1.0,
            "task.hawkes.excitation: an event makes {growth:.3} others in the mean, which are more and more without end; expected less \
             than 1"
        );
        Ok(())
    }

    /// The largest eigenvalue of the excitations, by which events grow from generation to generation.
    fn growth(&self) -> f64 {
        let mut events = vec![1.0; self.base.len()];
        let mut log_growth = 0.0;
        // The mean of many steps, so that excitations that come in turns have one too, after as many until the largest is left.
        for step in 0..2 * STEPS {
            let next = |row: &Vec<f64>| row.iter().zip(&events).map(|(factor, events)| factor * events).sum::<f64>();
            events = self.excitation.iter().map(next).collect();
            let sum: f64 = events.iter().sum();
            if sum == 0.0 {
                return 0.0;
            }
            events.iter_mut().for_each(|number| *number /= sum);
            log_growth += if step < STEPS { 0.0 } else { sum.ln() };
        }
        (log_growth / STEPS as f64).exp()
    }
}

/// The most marks of a process that is simulated: their excitations are a square of numbers.
const MOST_MARKS: usize = 100;

/// Generations that the growth is the mean of.
const STEPS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_largest_eigenvalue() {
        let growth = |excitation: &[[f64; 2]; 2]| {
            let excitation = excitation.iter().map(|row| row.to_vec()).collect();
            Hawkes { base: vec![1.0; 2], excitation, ..Hawkes::default() }.growth()
        };
        assert!((growth(&[[0.8, 0.0], [0.0, 0.3]]) - 0.8).abs() < 1e-9);
        assert!((growth(&[[0.1, 0.4], [0.9, 0.1]]) - 0.7).abs() < 1e-9);
        // In turns.
        assert!((growth(&[[0.0, 2.0], [0.5, 0.0]]) - 1.0).abs() < 1e-9);
        assert_eq!(growth(&[[0.0, 7.0], [0.0, 0.0]]), 0.0);
    }
}
