//! `aaren collect`.

use super::JobArgs;
use aaren_agents::{
    collect,
    offline::data,
    run::{interrupt, report},
};
use aaren_data::Format;
use anyhow::Result;
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
    format: Option<collect::Formats>,
}

pub fn run(args: &CollectArgs) -> Result<()> {
    if let Some(config) = args.job.config.as_deref()
        && collect::CollectJob::is_one(config)
    {
        let mut job = collect::CollectJob::load(config, &args.job.overrides)?;
        job.collect.format = args.format.unwrap_or(job.collect.format);
        let output = args.output.clone().unwrap_or_else(|| job.default_output());
        return report::print(collect::collect(&job, &output)?.render());
    }
    collect_scripted(args)
}

/// The scripted data of a training job.
fn collect_scripted(args: &CollectArgs) -> Result<()> {
    let job = args.job.load(Vec::new())?;
    data::collection(&job)?;
    let dataset = data::trajectories(&job)?;
    interrupt::check()?;
    let stem = args.job.config.as_deref().and_then(Path::file_stem).unwrap_or("quickstart".as_ref());
    let steps: usize = dataset.trajectories.iter().map(aaren_data::Trajectory::len).sum();
    for &format in args.format.unwrap_or(collect::Formats::Minari).each() {
        let path = args.output.clone().unwrap_or_else(|| Path::new("datasets").join(stem));
        // Two datasets, two names.
        let is_beside = args.output.is_none() || args.format == Some(collect::Formats::Both);
        let path = if format == Format::D4rl && is_beside { path.with_extension("hdf5") } else { path };
        super::dataset::save(&dataset, &path, format, false, "choose another place with --output")?;
        report::print(format!("wrote {} episodes, {steps} steps, to {}", dataset.trajectories.len(), path.display()))?;
    }
    Ok(())
}
