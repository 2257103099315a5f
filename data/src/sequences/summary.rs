//! What is in a file of sequences, in one page.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::events::Events;
use super::labelled::Labelled;
use super::table::Table;
use crate::statistics::Spread;

/// What labelled sequences are.
///
/// ```
/// use aaren_data::sequences::{LabelledSummary, read};
///
/// let path = tempfile::tempdir()?.keep().join("two.tsv");
/// std::fs::write(&path, "1\t1\t2\t3\n2\t4\t5\tNaN\n")?;
/// let summary = LabelledSummary::of(&read(&path)?);
/// assert_eq!((summary.sequences, summary.classes["1"], summary.lengths.min), (2, 1, 2.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelledSummary {
    /// Where they are from.
    pub path: PathBuf,
    /// How many.
    pub sequences: usize,
    /// Numbers of a step.
    pub channels: usize,
    /// Steps of all of them.
    pub steps: usize,
    /// Steps of each.
    pub lengths: Spread,
    /// Sequences of each class; a class of the header that none has is there with 0.
    pub classes: BTreeMap<String, usize>,
    /// Numbers that are missing.
    pub missing: usize,
    /// The sum of the numbers that are there, by channel.
    pub sums: Vec<f64>,
}

impl LabelledSummary {
    /// Counts.
    pub fn of(labelled: &Labelled) -> Self {
        let Labelled { path, channels, classes, cases } = labelled;
        let lengths = cases.iter().map(|case| case.len(*channels) as f64);
        let mut counts: BTreeMap<String, usize> = classes.iter().flatten().map(|class| (class.clone(), 0)).collect();
        cases.iter().for_each(|case| *counts.entry(case.label.clone()).or_default() += 1);
        let values = || cases.iter().flat_map(|case| &case.values);
        let of_channel = |channel: usize| {
            let of_case =
                |values: &[f64]| values.iter().skip(channel).step_by(*channels).filter(|value| !value.is_nan()).sum::<f64>();
            cases.iter().map(|case| of_case(&case.values)).sum()
        };
        Self {
            path: path.clone(),
            sequences: cases.len(),
            channels: *channels,
            steps: cases.iter().map(|case| case.len(*channels)).sum(),
            lengths: Spread::of(lengths),
            classes: counts,
            missing: values().filter(|value| value.is_nan()).count(),
            sums: (0..*channels).map(of_channel).collect(),
        }
    }
}

/// What a table is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableSummary {
    /// Where it is from.
    pub path: PathBuf,
    /// How many rows.
    pub rows: usize,
    /// When the first and the last row were, where a column says it.
    pub times: Option<[String; 2]>,
    /// Seconds from a row to the next, where they are the same everywhere.
    pub step_seconds: Option<f64>,
    /// The first row that is not as far from the one before as others are.
    pub irregularity: Option<String>,
    /// The channels.
    pub channels: Vec<ChannelSummary>,
}

/// What a channel of a table is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelSummary {
    /// Its name.
    pub name: String,
    /// Numbers that are missing.
    pub missing: usize,
    /// The sum of those that are there.
    pub sum: f64,
    /// Their mean, population deviation and extremes.
    #[serde(flatten)]
    pub spread: Spread,
}

impl TableSummary {
    /// Counts.
    pub fn of(table: &Table) -> Self {
        let width = table.columns.len();
        let channel = |(at, name): (usize, &String)| {
            let values = table.values.iter().skip(at).step_by(width).copied();
            let known = values.clone().filter(|value| !value.is_nan());
            let missing = values.filter(|value| value.is_nan()).count();
            ChannelSummary { name: name.clone(), missing, sum: known.clone().sum(), spread: Spread::of(known) }
        };
        let ends = |times: &Vec<super::Time>| Some([times.first()?.to_string(), times.last()?.to_string()]);
        Self {
            path: table.path.clone(),
            rows: table.rows(),
            times: table.times.as_ref().and_then(ends),
            step_seconds: table.step_seconds(),
            irregularity: table.irregularity(),
            channels: table.columns.iter().enumerate().map(channel).collect(),
        }
    }
}

/// What sequences of events are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventsSummary {
    /// Where they are from.
    pub path: PathBuf,
    /// How many.
    pub sequences: usize,
    /// Events of all of them.
    pub events: usize,
    /// Events of each.
    pub lengths: Spread,
    /// Events of each kind, where something tells them apart; a kind that none is of is there with 0.
    pub marks: BTreeMap<String, usize>,
    /// Gaps between events, as the file has times; of dates in seconds.
    pub gaps: Spread,
    /// Events at the time of the one before.
    pub ties: usize,
}

impl EventsSummary {
    /// Counts.
    pub fn of(events: &Events) -> Self {
        let Events { path, marks, sequences, .. } = events;
        let mut counts = vec![0; marks.count()];
        if !counts.is_empty() {
            sequences.iter().flat_map(|sequence| &sequence.marks).for_each(|&mark| counts[mark as usize] += 1);
        }
        let gaps = sequences.iter().flat_map(|sequence| sequence.times.windows(2)).map(|pair| pair[1] - pair[0]);
        Self {
            path: path.clone(),
            sequences: sequences.len(),
            events: events.count(),
            lengths: Spread::of(sequences.iter().map(|sequence| sequence.times.len() as f64)),
            marks: counts.into_iter().enumerate().map(|(mark, count)| (marks.name(mark as u32), count)).collect(),
            ties: gaps.clone().filter(|gap| *gap == 0.0).count(),
            gaps: Spread::of(gaps),
        }
    }
}
