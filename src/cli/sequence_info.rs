//! `aaren dataset info` of files of sequences.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use aaren_agents::run::report::{self, align_right, number};
use aaren_data::sequences::{EventSplit, Events, EventsSummary, LabelledSummary, Table, TableOptions, TableSummary, read};
use anyhow::{Result, bail};
use clap::ValueEnum;

use super::args::show;

/// What a file of sequences is.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SequenceKind {
    /// Labelled sequences, as `task.kind = "classify"` learns them
    Classify,
    /// A table of numbers over time, as `task.kind = "forecast"` learns it
    Forecast,
    /// Sequences of events, as `task.kind = "events"` learns them; of two text files the path is that of the times, or what both have in common
    Events,
}

impl SequenceKind {
    /// What a path is by its name; nothing where it is a dataset of episodes.
    ///
    /// # Errors
    /// If it can be either kind.
    pub fn of(source: &str) -> Result<Option<Self>> {
        let name = source.to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        Ok(match () {
            () if ends(&[".ts"]) => Some(Self::Classify),
            () if ends(&[".json", ".jsonl", ".pkl", ".pickle", ".json.gz", ".jsonl.gz"]) => Some(Self::Events),
            () if ends(&[".csv"]) && has_sequences(source) => Some(Self::Events),
            () if ends(&[".csv", ".csv.gz", ".tsv.gz", ".txt.gz"]) => Some(Self::Forecast),
            () if ends(&[".tsv", ".txt"]) => {
                bail!("{source}: its name does not say what it is; say --kind classify, --kind forecast or --kind events")
            }
            () => None,
        })
    }

    /// Describes it.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn info(self, path: &Path, json: bool) -> Result<()> {
        match self {
            Self::Events => {
                let summary = EventsSummary::of(&Events::read(path, None, None, EventSplit::Train)?);
                show(json, &summary, || events(&summary))
            }
            Self::Classify => {
                let summary = LabelledSummary::of(&read(path)?);
                show(json, &summary, || labelled(&summary))
            }
            Self::Forecast => {
                let summary = TableSummary::of(&Table::read(path, TableOptions { may_miss: true, ..TableOptions::default() })?);
                show(json, &summary, || table(&summary))
            }
        }
    }
}

/// Whether the header of a table has sequences and times, as one of events has.
fn has_sequences(source: &str) -> bool {
    let mut header = String::new();
    let read = std::fs::File::open(source).and_then(|file| BufReader::new(file).take(1 << 12).read_line(&mut header));
    let has = |name: &str| header.trim().split([',', ';', '\t']).any(|field| field.trim().eq_ignore_ascii_case(name));
    read.is_ok() && has("sequence") && has("time")
}

fn events(summary: &EventsSummary) -> String {
    let EventsSummary { path, sequences, events, lengths, marks, gaps, ties } = summary;
    let mut table = report::table(&["sequences of events", &path.display().to_string()]);
    let marks: Vec<String> = marks.iter().map(|(mark, count)| format!("{mark}: {count}")).collect();
    for (name, value) in [
        ("sequences", sequences.to_string()),
        ("events", format!("{events}; of a sequence {} to {}, {} on average", lengths.min, lengths.max, number(lengths.mean))),
        ("kinds", if marks.is_empty() { "nothing tells events apart".into() } else { marks.join(", ") }),
        ("gaps", format!("{} to {}, {} on average", number(gaps.min), number(gaps.max), number(gaps.mean))),
        ("at the time of the one before", ties.to_string()),
    ] {
        table.add_row([name.to_string(), value]);
    }
    table.to_string()
}

fn labelled(summary: &LabelledSummary) -> String {
    let LabelledSummary { path, sequences, channels, steps, lengths, classes, missing, sums } = summary;
    let mut table = report::table(&["labelled sequences", &path.display().to_string()]);
    let classes: Vec<String> = classes.iter().map(|(class, count)| format!("{class}: {count}")).collect();
    let sums: Vec<String> = sums.iter().copied().map(number).collect();
    for (name, value) in [
        ("sequences", sequences.to_string()),
        ("steps", format!("{steps}; of a sequence {} to {}, {} on average", lengths.min, lengths.max, number(lengths.mean))),
        ("numbers of a step", channels.to_string()),
        ("classes", classes.join(", ")),
        ("numbers missing", missing.to_string()),
        ("sum of each channel", sums.join(", ")),
    ] {
        table.add_row([name.to_string(), value]);
    }
    table.to_string()
}

fn table(summary: &TableSummary) -> String {
    let TableSummary { path, rows, times, step_seconds, irregularity, channels } = summary;
    let mut lines = vec![format!("{}: {}", path.display(), report::count(*rows, "row"))];
    lines.extend(times.as_ref().map(|[first, last]| format!("from {first} to {last}")));
    lines.extend(step_seconds.map(|seconds| format!("every {seconds} s")));
    lines.extend(irregularity.as_ref().map(|text| format!("warning: {text}")));
    let mut table = report::table(&["channel", "mean", "deviation", "min", "max", "sum", "missing"]);
    for channel in channels {
        let spread = &channel.spread;
        let numbers = [spread.mean, spread.std, spread.min, spread.max, channel.sum].map(number);
        table.add_row([vec![channel.name.clone()], numbers.to_vec(), vec![channel.missing.to_string()]].concat());
    }
    align_right(&mut table, 1);
    format!("{}\n{table}", lines.join("\n"))
}
