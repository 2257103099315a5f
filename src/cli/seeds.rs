//! `aaren train --seeds`: one job with several seeds, a run each, one after another.

use super::args::{Seeds, show};
use super::train::TrainArgs;
use aaren_agents::compare::{self, CompareOptions, Comparison};
use aaren_agents::config::{Changes, Job};
use aaren_agents::jobs::{self, TrainRequest};
use aaren_agents::run::{RunDir, report};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A name of which no seed has a run yet, numbered where the first one has.
fn free_base(base: &Path, seeds: &[u64]) -> PathBuf {
    let are_free = |base: &PathBuf| seeds.iter().all(|&seed| !folder(base, seed).exists());
    let name = base.file_name().unwrap_or_default().to_string_lossy();
    let numbered = (2..).map(|number: u64| base.with_file_name(format!("{name}-{number}")));
    std::iter::once(base.to_path_buf()).chain(numbered).find(are_free).expect("one of endlessly many names is free")
}

/// All runs, as JSON.
#[derive(Serialize)]
struct Trained<'a> {
    runs: &'a [PathBuf],
    comparison: &'a Comparison,
}

/// The folder of a seed's run: `runs/NAME-seed3` for `runs/NAME`.
fn folder(base: &Path, seed: u64) -> PathBuf {
    let name = base.file_name().unwrap_or(base.as_os_str()).to_string_lossy();
    base.with_file_name(format!("{name}-seed{seed}"))
}

/// Trains a run for every seed that has not finished, and compares them.
pub fn run(args: &TrainArgs, seeds: &Seeds) -> Result<()> {
    let Seeds(seeds) = seeds;
    args.expect_one_run()?;
    ensure!(
        !args.request.changes.set.iter().any(|setting| setting.starts_with("seed=")),
        "--set seed: it would give all runs of --seeds the same seed; leave one of them out"
    );
    let base = args.request.run.clone().unwrap_or_else(|| free_base(&Path::new("runs").join(args.request.name()), seeds));
    let runs: Vec<PathBuf> = seeds.iter().map(|&seed| folder(&base, seed)).collect();
    let has_begun = |run: &Path| run.join("config.json").is_file();
    let mut args = args.clone();
    if !args.request.resume {
        runs.iter().try_for_each(|run| RunDir::check_free(run))?;
    } else if args.request.files.is_empty() {
        // Seeds that have not begun do what the others do.
        let begun = runs.iter().find(|run| has_begun(run));
        let begun = begun
            .with_context(|| format!("there is no run to resume: neither {} nor that of another seed", runs[0].display()))?;
        ensure!(
            runs.iter().all(|run| has_begun(run)) || !begun.join("begun_from.json").is_file(),
            "{} began with the weights of another policy, and a seed has not begun; begin it with --from and --seed",
            begun.display()
        );
        args.request.files = vec![begun.join("config.json")];
    }
    for (&seed, run) in seeds.iter().zip(&runs) {
        let changes = Changes { seed: Some(seed), ..args.changes() };
        let resume = args.request.resume && has_begun(run);
        if resume && is_finished(run, &Job::load(&args.request.files, &changes)?)? {
            tell(&args, format!("{}: finished before", run.display()))?;
            continue;
        }
        let list = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let again = || format!("seed {seed}; `aaren train --resume --run {} --seeds {list}` goes on with all", base.display());
        let request = TrainRequest { changes, run: Some(run.clone()), resume, ..args.request.clone() };
        let trained = request.train().with_context(again)?;
        let reached = match (trained.evaluation.targets.first(), trained.evaluation.validation) {
            (Some(target), _) => {
                let (mean, std) = (report::number(target.return_mean), report::number(target.return_std));
                format!("mean return {mean} ± {std} over {}", report::count(target.episodes, "episode"))
            }
            (None, Some(validation)) => format!("loss {validation}"),
            (None, None) => "trained".into(),
        };
        tell(&args, format!("{}: {reached}", run.display()))?;
    }
    let comparison = compare::compare(&runs, &CompareOptions::default())?;
    show(args.json, &Trained { runs: &runs, comparison: &comparison }, || {
        let names = runs.iter().map(|run| run.display().to_string()).collect::<Vec<_>>().join(" ");
        format!("\n{comparison}\n`aaren compare {names}` gives this table again")
    })
}

fn tell(args: &TrainArgs, line: String) -> Result<()> {
    if args.json { Ok(()) } else { report::print(line) }
}

/// Whether a run came to the end of a job that is its own.
fn is_finished(path: &Path, job: &Job) -> Result<bool> {
    let run = RunDir::open(path)?;
    let there = run.job(&Changes::default())?;
    Ok(jobs::other_keys(&there, job)?.is_empty() && jobs::is_finished(&run, &there)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parse_seeds;

    #[test]
    fn one_seed_is_none_of_several() {
        assert_eq!(parse_seeds("1..2"), Ok(Seeds(vec![1, 2])));
        assert!(parse_seeds("3").unwrap_err().contains("--seed is for one"));
    }

    #[test]
    fn a_seed_has_a_folder_beside_the_others() {
        assert_eq!(folder(Path::new("runs/maze"), 3), Path::new("runs/maze-seed3"));
    }
}
