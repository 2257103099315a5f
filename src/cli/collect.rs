//! `aaren collect`.

use super::args::{JobArgs, show};
use super::dataset::{check_destination, save};
use aaren_agents::collect::{self, Summary};
use aaren_agents::config::{Formats, Job, OfflineJob};
use aaren_agents::offline::trajectories;
use aaren_agents::run::{interrupt, report};
use aaren_data::{Dataset, Format, Trajectory};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct CollectArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Where to write the dataset [default: datasets/ and the dataset's id, or the config's name where the data are scripted]
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// How to store it [default: as in the config; minari where the data are scripted]
    #[arg(long, value_enum)]
    format: Option<Formats>,
    /// Print what was made as JSON in place of a table or lines
    #[arg(long)]
    json: bool,
}

/// Collects.
pub fn run(args: &CollectArgs) -> Result<()> {
    match Job::load(&args.job.files, &args.job.changes)? {
        Job::Collect(mut job) => {
            job.collect.format = args.format.unwrap_or(job.collect.format);
            let output = args.output.clone().unwrap_or_else(|| job.default_output());
            let summary = collect::collect(&job, &output)?;
            show(args.json, &summary, || summary.to_string())
        }
        Job::Offline(job) => collect_scripted(&job, args),
        Job::Ppo(_) => bail!("this job learns online and has no data to collect; `aaren train` runs it"),
        Job::Sequence(_) => bail!("this job learns a task on sequences and has no data to collect; `aaren train` runs it"),
    }
}

/// The scripted data of a training job.
fn collect_scripted(job: &OfflineJob, args: &CollectArgs) -> Result<()> {
    let scripted = job.data.scripted.as_ref().context("data.scripted is missing: this job's data is not collected")?;
    let formats = args.format.unwrap_or(Formats::Minari);
    let name = args.job.name();
    let destination = |format| {
        let path = args.output.clone().unwrap_or_else(|| Path::new("datasets").join(&name));
        // Two datasets, two names.
        let is_beside = args.output.is_none() || formats == Formats::Both;
        if format == Format::D4rl && is_beside { path.with_extension("hdf5") } else { path }
    };
    // All that can be refused is refused before anything is played or written.
    formats.check(job.task()?.make()?.spec())?;
    let advice = "choose another place with --output";
    // A kill may have come between the two files; then the same command goes on.
    let (minari, d4rl) = (destination(Format::Minari), destination(Format::D4rl));
    let goes_on = formats == Formats::Both && minari.is_dir() && !d4rl.exists();
    for &format in formats.each().iter().filter(|format| !(goes_on && **format == Format::Minari)) {
        check_destination(&destination(format), format, false, advice)?;
    }
    let _steps = interrupt::Steps::new();
    let dataset = trajectories(job)?;
    interrupt::check()?;
    ensure!(!goes_on || holds(&minari, &dataset), "{} already exists; {advice}", minari.display());
    let steps: usize = dataset.trajectories.iter().map(Trajectory::len).sum();
    let mut written = Vec::new();
    for &format in formats.each() {
        let path = destination(format);
        aaren_data::remove_leftovers(&path)?;
        if !(goes_on && format == Format::Minari) {
            save(&dataset, &path, format, false, advice)?;
        }
        written.push((format, path));
    }
    let made = format!("wrote {}, {}", report::count(dataset.trajectories.len(), "episode"), report::count(steps, "step"));
    let lines = written.iter().map(|(_, path)| format!("{made}, to {}", path.display())).collect::<Vec<_>>().join("\n");
    show(args.json, &Summary::of_scripted(&dataset, scripted.collector, written), || lines)
}

/// Whether the dataset in a place has these episodes.
fn holds(path: &Path, dataset: &Dataset) -> bool {
    let same =
        |(a, b): (&Trajectory, &Trajectory)| (a.seed, a.end, &a.actions, &a.rewards) == (b.seed, b.end, &b.actions, &b.rewards);
    aaren_data::load(&path.to_string_lossy()).is_ok_and(|found| {
        let (found, made) = (&found.dataset.trajectories, &dataset.trajectories);
        found.len() == made.len() && found.iter().zip(made).all(same)
    })
}
