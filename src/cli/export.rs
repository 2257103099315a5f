//! `aaren export`.

use aaren_agents::collect;
use aaren_agents::run::{check_folder, report};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folder of a run (its best checkpoint is taken), of a checkpoint, or of a saved policy
    policy: PathBuf,
    /// New folder for the policy
    folder: PathBuf,
    /// Take a run's first checkpoint whose evaluation is this share of the way from the random policy's reference return to the
    /// expert's [with no value: a third]
    #[arg(long, value_name = "FRACTION", num_args = 0..=1, default_missing_value = "0.333333333333")]
    medium: Option<f64>,
}

pub fn run(args: &ExportArgs) -> Result<()> {
    check_folder(&args.folder)?;
    let provenance = collect::export(&args.policy, args.medium, &args.folder)?;
    let said = |steps: Option<u64>, unit: &str| steps.map(|steps| format!(", {steps} {unit} steps")).unwrap_or_default();
    let at = said(provenance.env_steps, "environment") + &said(provenance.optimizer_steps, "optimizer");
    let by = provenance.algorithm.map(|algorithm| format!(" of {algorithm}")).unwrap_or_default();
    let score = provenance.normalised_score.map(|score| format!(", score {score:.1}")).unwrap_or_default();
    report::print(format!("wrote the policy to {}{at}{by}{score}", args.folder.display()))
}
