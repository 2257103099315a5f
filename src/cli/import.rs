//! `aaren import`.

use aaren_agents::config::Changes;
use aaren_agents::offline::{ImportOptions, StatisticsSource, import};
use aaren_agents::run::{check_folder, report};
use aaren_policy::published::Program;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The model: a file of weights (.safetensors, .pt, .bin), or for hf the folder with config.json
    model: PathBuf,
    /// What wrote it
    #[arg(long, value_enum)]
    from: FromArg,
    /// The task that it was trained in; `aaren envs` lists them
    #[arg(long, value_name = "ID")]
    env: String,
    /// New run folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Means and standard deviations of observations, JSON as {"mean": [...], "std": [...]}; or none, for a model that was trained on
    /// observations as they are [default: those in the model's file, or of the data]
    #[arg(long, value_name = "FILE|none")]
    statistics: Option<PathBuf>,
    /// Dataset that it was trained on, a path or the id of a local Minari dataset; may be repeated
    #[arg(long, value_name = "SOURCE")]
    data: Vec<String>,
    #[command(flatten)]
    options: ImportOptions,
    /// Set a key of the run's job, for example --set env.options.variant=d4rl
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
}

/// A program on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FromArg {
    /// Hugging Face's transformers, `DecisionTransformerModel`
    Hf,
    /// CORL, `algorithms/offline/dt.py`
    Corl,
    /// min-decision-transformer
    MinDt,
}

pub fn run(args: &ImportArgs) -> Result<()> {
    check_folder(&args.run)?;
    for (flag, count) in [("--heads", args.options.heads), ("--context-length", args.options.context_length)] {
        ensure!(count != Some(0), "{flag}: found 0, expected at least 1");
    }
    let scale = args.options.return_scale;
    ensure!(scale.is_finite() && scale > 0.0, "--return-scale: found {scale}, expected a positive number");
    let program = match args.from {
        FromArg::Hf => Program::Hf,
        FromArg::Corl => Program::Corl,
        FromArg::MinDt => Program::MinDt,
    };
    let statistics = args.statistics.clone().map(|path| match path.to_str() {
        Some("none") => StatisticsSource::None,
        _ => StatisticsSource::File(path),
    });
    let options = ImportOptions {
        changes: Changes { env: Some(args.env.clone()), data: args.data.clone(), set: args.set.clone(), ..Changes::default() },
        statistics,
        ..args.options.clone()
    };
    report::print(import(&args.model, program, &options, &args.run)?)
}
