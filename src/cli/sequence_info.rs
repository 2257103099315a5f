//! `aaren dataset info` of files of sequences.

use std::path::Path;

use aaren_agents::run::report::{self, align_right, number};
use aaren_data::sequences::{LabelledSummary, Table, TableOptions, TableSummary, read};
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
            () if ends(&[".csv", ".csv.gz", ".tsv.gz", ".txt.gz"]) => Some(Self::Forecast),
            () if ends(&[".tsv", ".txt"]) => {
                bail!(
                    "{source}: a file of labelled sequences, or a table of numbers over time; say --kind classify or --kind forecast"
                )
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
