//! `aaren collect`.

use super::args::{JobArgs, show};
use aaren_agents::collect;
use aaren_agents::config::{Formats, Job, OfflineJob};
use aaren_agents::offline::trajectories;
use aaren_agents::run::{interrupt, report};
use aaren_data::Format;
use anyhow::{Result, bail, ensure};
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
    /// Print what was made as JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// Collects.
pub fn run(args: &CollectArgs) -> Result<()> {
    match Job::load(&args.job.files, &args.job.changes())? {
        Job::Collect(mut job) => {
            job.collect.format = args.format.unwrap_or(job.collect.format);
            let output = args.output.clone().unwrap_or_else(|| job.default_output());
            let summary = collect::collect(&job, &output)?;
            show(args.json, &summary, || summary.to_string())
        }
        Job::Offline(job) => collect_scripted(&job, args),
        Job::Ppo(_) => bail!("this job learns online and has no data to collect; `aaren train` runs it"),
    }
}

/// The scripted data of a training job.
fn collect_scripted(job: &OfflineJob, args: &CollectArgs) -> Result<()> {
    ensure!(job.data.scripted.is_some(), "data.scripted is missing: this job's data is not collected");
    let dataset = trajectories(job)?;
    interrupt::check()?;
    let name = args.job.name();
    let steps: usize = dataset.trajectories.iter().map(aaren_data::Trajectory::len).sum();
    for format in args.format.unwrap_or(Formats::Minari) {
        let path = args.output.clone().unwrap_or_else(|| Path::new("datasets").join(&name));
        // Two datasets, two names.
        let is_beside = args.output.is_none() || args.format == Some(Formats::Both);
        let path = if format == Format::D4rl && is_beside { path.with_extension("hdf5") } else { path };
        super::dataset::save(&dataset, &path, format, false, "choose another place with --output")?;
        report::print(format!("wrote {} episodes, {steps} steps, to {}", dataset.trajectories.len(), path.display()))?;
    }
    Ok(())
}
