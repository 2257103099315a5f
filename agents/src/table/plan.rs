//! The runs of a table, in the order in which they are made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::manifest::{Manifest, Part, settings};
use super::piece::Piece;
use crate::config::mistakes::Mistakes;
use crate::config::{Changes, Job, Sources, keys};

/// Runs of a table, at most: all of their jobs are read at once.
const MOST_RUNS: usize = 10_000;

/// Which runs of a manifest are meant, and what changes in all of them.
#[derive(Clone, Debug, Default, Args)]
pub struct Choice {
    /// Rows by their names, in which * stands for anything [default: all].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Agents by their names, in the same way [default: all].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub agents: Vec<String>,
    /// Seeds in place of those of the manifest; none for these.
    #[arg(skip)]
    pub seeds: Vec<u64>,
    /// Folder for the run folders [default: as in the manifest, or runs/ and its name].
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
    /// Set any key of all jobs, over all that the manifest says.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
}

/// The runs of a table.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Folder of the run folders.
    pub runs: PathBuf,
    /// The runs in their order: all of the first seed, then all of the next, so that a part of the work is a smaller table.
    pub pieces: Vec<Piece>,
}

impl Plan {
    /// The runs that are chosen of a manifest, all of whose jobs are in order.
    ///
    /// # Errors
    /// All that is wrong with the manifest or a job; names that it does not have; two runs of one name.
    pub fn read(path: &Path, choice: &Choice) -> Result<Plan> {
        Self::of(path, &Manifest::read(path)?, choice)
    }

    fn of(path: &Path, manifest: &Manifest, choice: &Choice) -> Result<Plan> {
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        let runs = choice.runs.clone().or_else(|| manifest.runs.clone()).unwrap_or_else(|| Path::new("runs").join(stem));
        // Without rows, or agents, there is one that changes nothing and has no name.
        let nothing = [Part::default()];
        let rows = chosen("--rows", if manifest.rows.is_empty() { &nothing } else { &manifest.rows }, &choice.rows)?;
        let agents = chosen("--agents", if manifest.agents.is_empty() { &nothing } else { &manifest.agents }, &choice.agents)?;
        let seeds = if choice.seeds.is_empty() { &manifest.seeds } else { &choice.seeds };
        if let Some((_, seed)) = seeds.iter().enumerate().find(|(at, seed)| seeds[..*at].contains(seed)) {
            bail!("{}: seeds: {seed} is there twice", path.display());
        }
        let count = rows.len().saturating_mul(agents.len()).saturating_mul(seeds.len());
        ensure!(
            count <= MOST_RUNS,
            "{}: a table of {count} runs, expected at most {MOST_RUNS}; make several of it",
            path.display()
        );
        if let Some(setting) = choice.set.iter().find(|setting| setting.starts_with("seed=")) {
            bail!("--set {setting}: it would give all runs the same seed; --seeds says which there are");
        }

        let (mut pieces, mut wrong) = (Vec::new(), Vec::new());
        for &seed in seeds {
            for row in &rows {
                for agent in &agents {
                    let files: Vec<PathBuf> =
                        [&manifest.files, &row.files, &agent.files].into_iter().flatten().cloned().collect();
                    let mut changes = changes(manifest, row, agent, choice);
                    changes.seed = Some(seed);
                    let place =
                        [&*row.name, &*agent.name].into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join("-");
                    let name = if place.is_empty() { format!("seed{seed}") } else { format!("{place}-seed{seed}") };
                    match Job::load(&files, &changes) {
                        Ok(Job::Collect(_)) => {
                            let mistake = "this job makes a dataset and trains nothing; run it with `aaren collect`";
                            note(&mut wrong, &place, mistake, mistake);
                        }
                        Ok(job) => pieces.push(Piece {
                            index: pieces.len(),
                            run: runs.join(&name),
                            name,
                            row: row.name.clone(),
                            agent: agent.name.clone(),
                            seed,
                            files,
                            changes,
                            job,
                        }),
                        Err(error) => match error.downcast::<Mistakes>() {
                            // Before the mistake are the files that have it, other ones in every row.
                            Ok(Mistakes(mistakes)) => mistakes.iter().for_each(|mistake| {
                                note(&mut wrong, &place, mistake, mistake.split_once(": ").map_or(mistake, |(_, what)| what));
                            }),
                            Err(error) => note(&mut wrong, &place, &format!("{error:#}"), &format!("{error:#}")),
                        },
                    }
                }
            }
        }
        Mistakes::none_of(wrong.into_iter().map(|(_, text)| text).collect())?;
        let mut names = BTreeMap::new();
        for piece in &pieces {
            if let Some(other) = names.insert(&piece.name, piece) {
                let pair = |piece: &Piece| format!("row \"{}\" with agent \"{}\"", piece.row, piece.agent);
                bail!("{}: {} and {} would both be the run {}; rename one", path.display(), pair(other), pair(piece), piece.name);
            }
        }
        Ok(Plan { runs, pieces })
    }

    /// The run with a number.
    ///
    /// # Errors
    /// Says which numbers there are.
    pub fn piece(&self, index: usize) -> Result<&Piece> {
        let last = self.pieces.len() - 1;
        ensure!(index <= last, "--index: found {index}, but the {} runs of this table have the numbers 0 to {last}", last + 1);
        Ok(&self.pieces[index])
    }
}

/// Notes a mistake of a row and an agent, once: many of them share a file.
///
/// - `what`: what is the same in all of them
fn note(wrong: &mut Vec<(String, String)>, place: &str, mistake: &str, what: &str) {
    if wrong.iter().all(|(noted, _)| noted != what) {
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        wrong.push((what.into(), format!("{place}{mistake}")));
    }
}

/// What the parts of a run change in its job: what comes later has the last word.
fn changes(manifest: &Manifest, row: &Part, agent: &Part, choice: &Choice) -> Changes {
    let mut set = settings(&manifest.set);
    set.extend(settings(&row.set));
    set.extend(settings(&agent.set));
    set.extend(choice.set.iter().cloned());
    let Sources(data) = if agent.data.0.is_empty() { &row.data } else { &agent.data };
    Changes {
        set,
        env: agent.env.clone().or_else(|| row.env.clone()),
        data: data.clone(),
        mixer: agent.mixer.clone().or_else(|| row.mixer.clone()),
        ..Changes::default()
    }
}

/// The parts whose names are asked for, in the manifest's order; all of them if none is.
fn chosen<'a>(flag: &str, parts: &'a [Part], names: &[String]) -> Result<Vec<&'a Part>> {
    let all = || parts.iter().map(|part| &*part.name);
    for name in names {
        let hint = || match keys::did_you_mean(name, all()) {
            hint if hint.is_empty() => {
                format!("; found {}", all().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))
            }
            hint => hint,
        };
        ensure!(all().any(|known| matches(name, known)), "{flag}: the manifest has no \"{name}\"{}", hint());
    }
    Ok(parts.iter().filter(|part| names.is_empty() || names.iter().any(|name| matches(name, &part.name))).collect())
}

/// Whether a name is that of a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((first, rest)) => name
            .strip_prefix(first)
            .is_some_and(|left| left.char_indices().map(|(at, _)| at).chain([left.len()]).any(|at| matches(rest, &left[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, choice: &Choice) -> Result<Plan> {
        let manifest = Manifest::parse("tables/mine.toml", text, false, Path::new("configs"))?;
        Plan::of(Path::new("tables/mine.toml"), &manifest, choice)
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.pieces.iter().map(|piece| &*piece.name).collect()
    }

    const TABLE: &str = r#"
        set = { train.steps = 7, evaluation.actors = 1 }
        rows = [{ name = "short", set.env.options.corridor = 5 }, { name = "long", set = { env.options.corridor = 50, policy.width = 64 } }]
        agents = ["aaren", { name = "wide", mixer = "gru", set = { policy.width = 128 } }]
        seeds = "3,1"
    "#;

    #[test]
    fn a_table_has_a_run_for_every_row_agent_and_seed_seed_by_seed() {
        let all = plan(TABLE, &Choice::default()).unwrap();
        let of = |seed: u64| ["short-aaren", "short-wide", "long-aaren", "long-wide"].map(|name| format!("{name}-seed{seed}"));
        assert_eq!(names(&all), [of(3), of(1)].concat());
        assert_eq!(
            (all.runs.as_path(), all.pieces[1].run.as_path()),
            (Path::new("runs/mine"), Path::new("runs/mine/short-wide-seed3"))
        );
        let job = |index: usize| all.pieces[index].job.clone().offline().unwrap();
        let corridor = |index: usize| job(index).env.unwrap().options["corridor"].clone();
        assert_eq!((job(1).policy.mixer, job(1).seed, job(1).train.steps, corridor(1)), ("gru".into(), 3, 7, 5.into()));
        // An agent has the last word, the command line the very last.
        assert_eq!([2, 3].map(|index| job(index).policy.width), [64, 128]);
        let choice = Choice { set: vec!["policy.width=32".into()], ..Choice::default() };
        assert_eq!(plan(TABLE, &choice).unwrap().pieces[3].job.clone().offline().unwrap().policy.width, 32);
        assert!(all.piece(8).unwrap_err().to_string().contains("the 8 runs of this table have the numbers 0 to 7"));
    }

    #[test]
    fn rows_agents_and_seeds_are_chosen_by_name() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let choice =
            Choice { rows: words(&["l*g"]), agents: words(&["wide"]), seeds: vec![9], runs: Some("x".into()), set: Vec::new() };
        let chosen = plan(TABLE, &choice).unwrap();
        assert_eq!((names(&chosen), chosen.pieces[0].run.as_path()), (vec!["long-wide-seed9"], Path::new("x/long-wide-seed9")));
        let refused = |choice: Choice| plan(TABLE, &choice).unwrap_err().to_string();
        let message = refused(Choice { rows: words(&["shrot"]), ..Choice::default() });
        assert_eq!(message, "--rows: the manifest has no \"shrot\"; did you mean \"short\"?");
        let message = refused(Choice { agents: words(&["x*"]), ..Choice::default() });
        assert_eq!(message, "--agents: the manifest has no \"x*\"; found \"aaren\", \"wide\"");
        assert!(refused(Choice { set: words(&["seed=1"]), ..Choice::default() }).contains("--seeds"));
        for (pattern, name, fits) in
            [("*", "", true), ("a*", "ba", false), ("*a", "ba", true), ("a*b*c", "aXbc", true), ("a", "ab", false)]
        {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_mistake_is_said_once_however_many_runs_have_it() {
        let text = TABLE.replace("train.steps = 7", "train.steps = 0").replace("policy.width = 128", "policy.heads = 7");
        let message = plan(&text, &Choice::default()).unwrap_err().to_string();
        assert!(message.starts_with("2 mistakes: "), "{message}");
        assert!(
            message.contains("short-aaren: the built-in quickstart with --set train.steps=0: train.steps: found 0"),
            "{message}"
        );
        assert!(message.contains("short-wide: ") && message.contains("policy.heads"), "{message}");
        let text = "rows = [{ name = \"a-b\" }, { name = \"a\" }]\nagents = [{ name = \"c\" }, { name = \"b-c\" }]";
        let message = plan(text, &Choice::default()).unwrap_err().to_string();
        assert!(message.contains("would both be the run a-b-c-seed1; rename one"), "{message}");
        let message = plan("seeds = [4, 2, 4]", &Choice::default()).unwrap_err().to_string();
        assert_eq!(message, "tables/mine.toml: seeds: 4 is there twice");
        let many = Choice { seeds: (0..5001).collect(), agents: vec!["wide".into()], ..Choice::default() };
        let message = plan(TABLE, &many).unwrap_err().to_string();
        assert_eq!(message, "tables/mine.toml: a table of 10002 runs, expected at most 10000; make several of it");
        let missing = plan("agents = [\"no/such.toml\"]", &Choice::default()).unwrap_err().to_string();
        assert!(missing.contains("such: cannot read the config configs/no/such.toml"), "{missing}");
    }
}
