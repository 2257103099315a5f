//! `aaren compare`: runs side by side. What they reached, what they cost, in what their jobs differ.
//!
//! Runs of one task by one agent are a cell, whatever their seeds. A task is an environment with its options and the data; an agent
//! is everything else in a config that can change a result. Results are `compare.json`, the same in words as `compare.md`, and with
//! plots as `compare.html`, which needs no other file.
//!
//! ```
//! let refused = aaren_agents::compare::compare(&["no/run".into()], &Default::default()).unwrap_err();
//! assert!(refused.to_string().contains("there is no run folder"));
//! ```

mod axis;
mod cell;
mod comparison;
mod grid;
mod page;
mod plot;
mod results;
#[cfg(test)]
#[path = "../../tests/internal/rliable.rs"]
mod rliable_tests;
mod runs;
mod statistics;
mod text;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::run::interrupt::Whole;
use crate::run::{check_folder, write_atomically, write_json_atomically};
pub use comparison::Comparison;
use results::{Results, incompatibilities};

/// Choices of a comparison.
#[derive(Clone, Debug, Default, Args)]
pub struct CompareOptions {
    /// Folder for compare.md, compare.json and compare.html [default: `compare` beside the runs, in the deepest folder that holds them all].
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Make a table with a row for each task; only runs of one row are compared with each other.
    #[arg(long)]
    pub table: bool,
    /// Compare even runs on different tasks or data; the results say that it is not fair.
    #[arg(long)]
    pub force: bool,
    /// Compare this evaluation of every run, which `aaren evaluate` left in evaluations/NAME.json [default: that of the training].
    #[arg(long, value_name = "NAME")]
    pub evaluation: Option<String>,
    /// Order of the runs, by a column of their table or a key of their jobs: returns from the largest on, all else from the smallest.
    #[arg(long, value_name = "COLUMN|KEY")]
    pub sort: Option<String>,
    /// Columns of the table of runs: mixer, context, execution, seed, steps, parameters, return, best, training, act, state, or keys of
    /// the jobs such as train.steps [default: all but seed].
    #[arg(long, value_name = "COLUMN|KEY,...", value_delimiter = ',')]
    pub columns: Vec<String>,
}

/// Reads the results of the runs and writes `compare.md`, `compare.json` and `compare.html`.
///
/// An older comparison in the same place is replaced. Runs on another task, with other options or on other data are refused unless
/// they are asked for as a table or forced.
///
/// # Errors
/// Names the run and the file that is missing or broken, and the command that makes it; says in what runs are incompatible.
pub fn compare(runs: &[PathBuf], options: &CompareOptions) -> Result<Comparison> {
    options.output.as_deref().map_or(Ok(()), check_folder).context("--output")?;
    let runs = &each_once(runs)?;
    let results = runs.iter().map(|path| Results::read(path, options.evaluation.as_deref())).collect::<Result<Vec<_>>>()?;
    ensure!(
        results.len() >= 2 || results.iter().any(|run| run.caches.is_some()),
        "a comparison takes at least two runs, or one that was evaluated with `aaren evaluate --cache-sizes`; found {} without",
        runs.len()
    );

    let incompatible = if options.table { Vec::new() } else { incompatibilities(&results)? };
    if !(incompatible.is_empty() || options.force) {
        bail!(
            "these runs cannot be compared: {}; compare them as a table of several tasks with --table, or all the same with --force",
            incompatible.join("; ")
        );
    }
    let mut comparison = Comparison::new(&results, incompatible)?;
    options.columns.iter().chain(&options.sort).try_for_each(|name| comparison.check_column(name))?;
    if let Some(name) = &options.sort {
        let mut order: Vec<usize> = (0..results.len()).collect();
        order.sort_by(|&a, &b| comparison.runs[a].compare_by(&comparison.runs[b], name));
        let mut left: Vec<Option<Results>> = results.into_iter().map(Some).collect();
        let sorted: Vec<Results> = order.into_iter().filter_map(|at| left[at].take()).collect();
        comparison = Comparison::new(&sorted, comparison.incompatible)?;
    }
    comparison.columns.clone_from(&options.columns);

    let folder = match &options.output {
        Some(folder) => folder.clone(),
        None => common_parent(runs)?.join("compare"),
    };
    let _whole = Whole::new();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write_json_atomically(&folder.join("compare.json"), &comparison)?;
    write_atomically(&folder.join("compare.md"), comparison.markdown().as_bytes())?;
    write_atomically(&folder.join("compare.html"), comparison.page().as_bytes())?;
    tracing::info!("wrote compare.md, compare.json and compare.html to {}", folder.display());
    comparison.folder = folder;
    Ok(comparison)
}

/// The runs without what earlier comparisons left behind, which `runs/*` names too.
fn each_once(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let (mut runs, mut seen) = (Vec::new(), Vec::new());
    for path in paths {
        if path.join("compare.json").is_file() && !path.join("config.json").exists() {
            tracing::warn!("{} is an earlier comparison and no run; it is left out", path.display());
            continue;
        }
        let full = path.canonicalize().unwrap_or_else(|_| path.clone());
        ensure!(!seen.contains(&full), "the run {} is given twice; its results would count as those of two runs", path.display());
        seen.push(full);
        runs.push(path.clone());
    }
    Ok(runs)
}

/// The deepest folder that holds all the runs.
fn common_parent(runs: &[PathBuf]) -> Result<PathBuf> {
    let mut common: Option<PathBuf> = None;
    for run in runs {
        let full = run.canonicalize().with_context(|| format!("cannot read {}", run.display()))?;
        let parent = full.parent().unwrap_or(&full);
        common = Some(match common {
            None => parent.to_path_buf(),
            Some(so_far) => so_far.components().zip(parent.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect(),
        });
    }
    common.context("there are no runs")
}
