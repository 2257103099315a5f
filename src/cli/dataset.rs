//! `aaren dataset`: describe, check and convert datasets.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use aaren_data::{self, Dataset, DatasetError, Format, LoadOptions, Strictness, Summary, statistics::Spread, verify_source};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::sequence_info::SequenceKind;
use aaren_agents::config::Incomplete;
use aaren_agents::run::report::{self, number};
use aaren_agents::run::{check_folder, interrupt};

/// What to do with a dataset.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Describe a dataset: spaces, episodes, returns; or a file of a task on sequences: counts, lengths, classes, what is missing
    Info {
        #[command(flatten)]
        read: Reading,
        /// What the file is, where its name does not say it
        #[arg(long, value_enum)]
        kind: Option<SequenceKind>,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Check every number of a dataset
    Verify {
        #[command(flatten)]
        read: Reading,
        /// Count what is odd as wrong
        #[arg(long)]
        strict: bool,
    },
    /// Write a dataset in another format
    Convert {
        #[command(flatten)]
        read: Reading,
        /// Where to write it
        destination: PathBuf,
        /// The format to write
        #[arg(long, value_enum)]
        to: FormatArg,
        /// Replace a dataset that is already there
        #[arg(long)]
        overwrite: bool,
    },
}

/// The dataset that is read, and how.
#[derive(Debug, Args)]
pub struct Reading {
    /// Path of a Minari folder, a Minari or D4RL HDF5 file, or id of a local Minari dataset
    source: String,
    /// Steps after which every episode is cut, and the time limit
    #[arg(long, value_name = "N")]
    max_episode_steps: Option<NonZeroUsize>,
    /// What becomes of episodes that are not there whole
    #[arg(long, value_enum, default_value = "refuse")]
    incomplete: Incomplete,
}

impl Reading {
    fn options(&self, strictness: Strictness) -> LoadOptions {
        let max_episode_steps = self.max_episode_steps.map(NonZeroUsize::get);
        LoadOptions { strictness, max_episode_steps, incomplete: self.incomplete.into(), ..LoadOptions::default() }
    }
}

/// A format on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FormatArg {
    /// A folder with JSON metadata and an HDF5 file
    Minari,
    /// One flat HDF5 file
    D4rl,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Format {
        match format {
            FormatArg::Minari => Format::Minari,
            FormatArg::D4rl => Format::D4rl,
        }
    }
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What is wrong with the dataset, or with where it is to go.
    pub fn run(self) -> Result<()> {
        match self {
            Command::Info { read, kind, json } => {
                match kind.map_or_else(|| SequenceKind::of(&read.source), |kind| Ok(Some(kind)))? {
                    Some(kind) => kind.info(Path::new(&read.source), json),
                    None => info(&read.source, &read.options(Strictness::Normal), json),
                }
            }
            Command::Verify { read, strict } => {
                verify(&read.source, &read.options(if strict { Strictness::Strict } else { Strictness::Normal }))
            }
            Command::Convert { read, destination, to, overwrite } => {
                let format = Format::from(to);
                check_destination(&destination, format, overwrite, "--overwrite replaces it")?;
                let loaded = aaren_data::load_with(&read.source, &read.options(Strictness::Normal))?;
                save(&loaded.dataset, &destination, format, overwrite, "--overwrite replaces it")?;
                let episodes = loaded.dataset.trajectories.len();
                report::print(format!("wrote {} to {} as {}", report::count(episodes, "episode"), destination.display(), format))
            }
        }
    }
}

/// Whether a dataset could be written here; `advice` is for a user whose target is taken.
///
/// # Errors
/// If something is there that is not to be replaced, or nothing can be written there.
pub fn check_destination(path: &Path, format: Format, overwrite: bool, advice: &str) -> Result<()> {
    aaren_data::check_place(path, format, overwrite).map_err(|error| advised(error, advice))?;
    check_folder(path.parent().unwrap_or(Path::new("."))).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a dataset; `advice` is for a user whose target is taken.
///
/// # Errors
/// As [`aaren_data::save`].
pub fn save(dataset: &Dataset, path: &Path, format: Format, overwrite: bool, advice: &str) -> Result<()> {
    let place = path.to_path_buf();
    let _leftovers = interrupt::Leftovers::new(move || drop(aaren_data::remove_leftovers(&place)));
    aaren_data::save(dataset, path, format, overwrite).map_err(|error| advised(error, advice))
}

fn advised(error: DatasetError, advice: &str) -> anyhow::Error {
    match error {
        DatasetError::Exists { path } => anyhow!("{} already exists; {advice}", path.display()),
        error @ DatasetError::WrongKind { .. } => anyhow!("{error}; choose another place"),
        error => error.into(),
    }
}

fn info(source: &str, options: &LoadOptions, json: bool) -> Result<()> {
    let summary = Summary::of(&aaren_data::load_with(source, options)?, None);
    if json {
        return report::print(serde_json::to_string_pretty(&summary)?);
    }
    let statistics = &summary.statistics;
    let spread =
        |of: &Spread| format!("{} ± {} (min {}, max {})", number(of.mean), number(of.std), number(of.min), number(of.max));
    let list = |numbers: &[f64]| numbers.iter().copied().map(number).collect::<Vec<_>>().join(", ");
    let known = |text: Option<String>| text.unwrap_or_else(|| "not known".into());
    let mut table = report::table(&["dataset", &summary.id]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_string(), value]);
    };
    row("path", summary.path.display().to_string());
    row("format", summary.format.to_string());
    row("environment", known(summary.task.clone()));
    row("time limit", known(summary.max_episode_steps.map(|steps| report::count(steps, "step"))));
    let recorded = |space: &Option<String>| space.as_ref().map(|space| format!(", recorded as {space}")).unwrap_or_default();
    let observations = recorded(&summary.recorded_observation_space);
    row("observations", report::count(summary.observation_width, "number") + &observations);
    let kind = match summary.action_space {
        aaren_envs::Space::Box { .. } => "number",
        aaren_envs::Space::Discrete { .. } => "choice",
    };
    row("actions", report::count(summary.action_width, kind) + &recorded(&summary.recorded_action_space));
    row("episodes", statistics.episodes.to_string());
    row("steps", statistics.steps.to_string());
    row("returns (mean ± std)", spread(&statistics.returns));
    row("lengths (mean ± std)", spread(&statistics.lengths));
    row("ends", format!("{} terminated, {} truncated", statistics.terminated, statistics.truncated));
    if let (Some(references), Some(score)) = (&statistics.references, statistics.score) {
        let (min, max) = (number(references.min), number(references.max));
        row("score of the mean", format!("{score:.1} (0 is {min}, 100 is {max}, from {})", references.source));
    }
    row("observation mean", list(&statistics.observation_mean));
    row("observation std", list(&statistics.observation_std));
    for warning in &summary.warnings {
        row("warning", warning.to_string());
    }
    report::print(table)
}

fn verify(source: &str, options: &LoadOptions) -> Result<()> {
    let found = verify_source(source, options);
    let mut lines: Vec<String> = found.warnings.iter().map(|finding| format!("warning: {finding}")).collect();
    if !found.is_ok() {
        if !lines.is_empty() {
            report::print(lines.join("\n"))?;
        }
        let problems: Vec<&str> = found.errors.iter().map(|finding| finding.text.as_str()).collect();
        bail!("{source} cannot be used: {}", problems.join("; "));
    }
    let task = found.task.map(|task| format!(", of {task}")).unwrap_or_default();
    lines.push(format!(
        "{source}: {}, {}{task}, no errors",
        report::count(found.episodes, "episode"),
        report::count(found.steps, "step")
    ));
    report::print(lines.join("\n"))
}
