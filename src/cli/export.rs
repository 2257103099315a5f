//! `aaren export`.

use aaren_agents::collect;
use aaren_agents::export::{Source, write_c, write_onnx};
use aaren_agents::run::{check_file, check_folder, report};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folder of a run (its best checkpoint is taken), of a checkpoint, or of a saved policy
    policy: PathBuf,
    /// New folder for the policy
    #[arg(required_unless_present_any = ["c", "onnx"])]
    folder: Option<PathBuf>,
    /// New folder for the policy with what C needs beside it: a header, and the libraries where they are at hand
    #[arg(long, value_name = "FOLDER", conflicts_with = "folder")]
    c: Option<PathBuf>,
    /// File for one step of the policy as an ONNX graph, with the state as input and output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folder", "c", "medium"])]
    onnx: Option<PathBuf>,
    /// Timesteps that the graph of a Transformer attends over; 0 carries the state of another mixer along [default: as its job
    /// executes it]
    #[arg(long, value_name = "N", requires = "onnx")]
    window: Option<usize>,
    /// Take a run's first checkpoint whose evaluation is this share of the way from the random policy's reference return to the
    /// expert's [with no value: a third]
    #[arg(long, value_name = "FRACTION", num_args = 0..=1, default_missing_value = "0.333333333333")]
    medium: Option<f64>,
}

/// More timesteps than a graph that computes all of them at every step is for.
const MOST_TIMESTEPS: usize = 1 << 14;

pub fn run(args: &ExportArgs) -> Result<()> {
    if let Some(file) = &args.onnx {
        return onnx(args, file);
    }
    let folder = args.c.as_ref().or(args.folder.as_ref()).context("found no folder to write to")?;
    let is_graph = folder.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    ensure!(!is_graph, "{}: a policy is a folder, of another name; for a graph in one file say --onnx {0}", folder.display());
    check_folder(folder)?;
    let provenance = collect::export(&args.policy, args.medium, folder)?;
    let said = |steps: Option<u64>, unit: &str| steps.map(|steps| format!(", {steps} {unit} steps")).unwrap_or_default();
    let at = said(provenance.env_steps, "environment") + &said(provenance.optimizer_steps, "optimizer");
    let by = provenance.algorithm.map(|algorithm| format!(" of {algorithm}")).unwrap_or_default();
    let score = provenance.normalised_score.map(|score| format!(", score {score:.1}")).unwrap_or_default();
    report::print(format!("wrote the policy to {}{at}{by}{score}", folder.display()))?;
    match &args.c {
        Some(folder) => report::print(write_c(folder)?),
        None => Ok(()),
    }
}

fn onnx(args: &ExportArgs, file: &std::path::Path) -> Result<()> {
    check_file(file).context("--onnx")?;
    let source = Source::find(&args.policy)?;
    let window = match args.window {
        Some(0) => None,
        Some(window) => {
            ensure!(window <= MOST_TIMESTEPS, "--window: found {window}, expected at most {MOST_TIMESTEPS} timesteps");
            Some(window)
        }
        None => source.window,
    };
    write_onnx(&source, window, file)?;
    let executed = window.map(|window| format!(", on a window of {window} timesteps")).unwrap_or_default();
    report::print(format!("wrote a step of the policy {} to {}{executed}", args.policy.display(), file.display()))
}
