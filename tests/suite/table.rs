//! A table is made however often it is broken off, by however many processes, and its runs are those that `aaren train` makes.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::common::*;
use aaren_agents::run::RunDir;
use aaren_agents::table::{Choice, Manifest, Plan, schema};
use serde_json::Value;

/// A manifest of small runs.
///
/// - `keys`: its lines before the section `set`
/// - `set`: settings over the small job's
fn manifest(folder: &Path, keys: &str, set: &[&str]) {
    let set = small(set)
        .into_iter()
        .map(|setting| setting.split_once('=').unwrap())
        .map(|(key, value)| format!("\"{key}\" = {value}\n"));
    // A later setting replaces an earlier one, which TOML would take for a slip.
    let mut lines: Vec<String> = Vec::new();
    for line in set {
        let key = line.split(" = ").next().unwrap().to_owned();
        lines.retain(|other| other.split(" = ").next() != Some(&key));
        lines.push(line);
    }
    fs::write(folder.join("mine.toml"), format!("{keys}\n[set]\n{}", lines.concat())).unwrap();
}

const TWO_BY_TWO: &str =
    "rows = [{ name = \"short\" }, { name = \"long\", set = { env.options.corridor = 7 } }]\nagents = [\"aaren\", \"gru\"]";

fn table(folder: &Path, arguments: &[&str]) -> Command {
    aaren(folder, &[&["table", "mine.toml"], arguments].concat(), &[])
}

/// What a command said that failed, on one line.
fn refused(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{command:?}: {said}");
    said.lines().last().unwrap().strip_prefix("error: ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn listed(folder: &Path) -> Vec<Value> {
    stdout(&mut table(folder, &["--list"])).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn states(folder: &Path) -> Vec<String> {
    listed(folder).iter().map(|piece| piece["state"].as_str().unwrap().to_owned()).collect()
}

/// All that is in a folder, by path, but for logs.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("logs") => {}
            true => found.extend(snapshot(&path)),
            false => found.push((path.clone(), fs::read(path).unwrap())),
        }
    }
    found.sort();
    found
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let holds = (0..1200).any(|_| {
        sleep(Duration::from_millis(50));
        holds()
    });
    assert!(holds, "waited a minute for {what}");
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Whether no process writes a run.
fn is_free(run: &Path) -> bool {
    RunDir::resume(run).is_ok()
}

#[test]
fn a_table_has_the_runs_that_training_makes_and_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), TWO_BY_TWO, &[]);
    let pieces = listed(folder.path());
    let names: Vec<&str> = pieces.iter().map(|piece| piece["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["short-aaren-seed1", "short-gru-seed1", "long-aaren-seed1", "long-gru-seed1"]);
    assert_eq!(states(folder.path()), ["new"; 4]);
    assert!(!folder.path().join("runs").exists(), "a list makes nothing");

    // One run by the command that the list gives, one alone, and the others together.
    let words: Vec<&str> = pieces[3]["command"].as_array().unwrap()[1..].iter().map(|word| word.as_str().unwrap()).collect();
    let said = stdout(&mut aaren(folder.path(), &words, &[]));
    assert!(said.starts_with("long-gru-seed1\ntrained ") && said.contains("run folder: runs/mine/long-gru-seed1"), "{said}");
    stdout(&mut table(folder.path(), &["--index", "1"]));
    assert_eq!(states(folder.path()), ["new", "finished", "new", "finished"]);
    let said = stdout(&mut table(folder.path(), &["--jobs", "2"]));
    for (name, how) in
        [("short-aaren", "return "), ("short-gru", "finished before"), ("long-aaren", "return "), ("long-gru", "finished before")]
    {
        assert!(said.lines().any(|line| line.starts_with(&format!("{name}-seed1: {how}"))), "{name}: {said}");
    }
    assert!(said.contains("4 of 4 runs finished"), "{said}");
    let compared = json(&folder.path().join("runs/mine/compare/compare.json"));
    assert_eq!((compared["runs"].as_array().unwrap().len(), compared["tasks"].as_array().unwrap().len()), (4, 2));

    let settings = small(&["env.options.corridor=7", "policy.mixer=gru"]);
    train(&folder.path().join("alone"), &settings).unwrap();
    assert!(weights(&folder.path().join("runs/mine/long-gru-seed1"), 20) == weights(&folder.path().join("alone"), 20));
    let before = snapshot(&folder.path().join("runs"));
    let again: Value = serde_json::from_str(&stdout(&mut table(folder.path(), &["--json"]))).unwrap();
    assert!(again["runs"].as_array().unwrap().iter().all(|run| run["state"] == "finished-before"), "{again}");
    assert!(again["comparison"] == compared);
    assert!(snapshot(&folder.path().join("runs")) == before, "nothing is made twice");
    assert!(stdout(&mut table(folder.path(), &["--index", "0"])).contains("short-aaren-seed1: finished before"));
}

#[test]
fn a_comparison_calls_the_agents_what_the_manifest_calls_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let agents = "agents = [{ name = \"ours\", mixer = \"aaren\" }, { name = \"gated\", mixer = \"gru\" }, \
                  { name = \"twin\", mixer = \"gru\", set = { train.batch_size = 3 } }]";
    manifest(at, agents, &[]);
    stdout(&mut table(at, &["--jobs", "2"]));
    let runs = ["ours", "gated", "twin"].map(|agent| format!("runs/mine/{agent}-seed1"));
    let compare = |arguments: &[&str]| {
        stdout(&mut aaren(at, &[&["compare", "--output", "again"], arguments].concat(), &[]));
        json(&at.join("again/compare.json"))["agents"].clone()
    };
    assert_eq!(json(&at.join("runs/mine/compare/compare.json"))["agents"], serde_json::json!(["ours", "gated", "twin"]));
    assert_eq!(compare(&[&*runs[0], &*runs[1]]), serde_json::json!(["ours", "gated"]));
    // One name of two agents tells them apart by what they differ in; a run that no table made is called by its mixer.
    fs::copy(at.join(&runs[1]).join("agent.json"), at.join(&runs[2]).join("agent.json")).unwrap();
    assert_eq!(compare(&[&*runs[1], &*runs[2]]), serde_json::json!(["gated (batch_size=4)", "gated (batch_size=3)"]));
    fs::remove_file(at.join(&runs[0]).join("agent.json")).unwrap();
    assert_eq!(compare(&[&*runs[0], &*runs[1]]), serde_json::json!(["aaren", "gated"]));
}

#[test]
fn an_agent_is_one_though_rows_of_the_manifest_set_other_keys() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "rows = [{ name = \"short\" }, { name = \"long\", set = { env.options.corridor = 7, train.batch_size = 3 } }]\nagents = [\"aaren\", \"gru\"]";
    manifest(folder.path(), rows, &["train.steps=3"]);
    stdout(&mut table(folder.path(), &["--jobs", "2"]));
    let comparison = json(&folder.path().join("runs/mine/compare/compare.json"));
    assert_eq!(comparison["agents"], serde_json::json!(["aaren", "gru"]));
    assert_eq!(comparison["cells"].as_array().unwrap().len(), 4);
}

#[test]
fn a_run_that_fails_does_not_stop_the_others_and_is_said_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "rows = [{ name = \"lost\", data = \"no/such-data\" }, { name = \"short\" }]\nagents = [\"aaren\", \"gru\"]";
    manifest(folder.path(), rows, &["train.steps=3"]);
    // The row's data take the place of the quickstart's, of which nothing may be set.
    let path = folder.path().join("mine.toml");
    let text = fs::read_to_string(&path).unwrap().replace("\"data.scripted.episodes\" = 30\n", "");
    fs::write(&path, text).unwrap();
    let said = refused(&mut table(folder.path(), &["--jobs", "2"]));
    for words in [
        "2 of 4 runs did not finish",
        "lost-aaren-seed1: failed: ",
        "no/such-data",
        "runs/mine/logs/lost-gru-seed1.log",
        "the same command",
    ] {
        assert!(said.contains(words), "{said}\nlacks {words}");
    }
    assert!(folder.path().join("runs/mine/compare/compare.md").is_file());
    // Nothing is trained with no jobs.
    let said = refused(&mut table(folder.path(), &["--jobs", "0"]));
    assert!(said.contains("lost-aaren-seed1: failed: it has not begun") && said.contains("without --jobs 0"), "{said}");
    stdout(&mut table(folder.path(), &["--jobs", "0", "--rows", "s*"]));
}

#[test]
fn a_folder_with_another_run_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), "agents = [\"aaren\"]\nseeds = [1, 2]", &["train.steps=3"]);
    stdout(&mut table(folder.path(), &["--index", "0"]));
    let foreign = folder.path().join("runs/mine/aaren-seed2");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), "mine").unwrap();
    let before = snapshot(&folder.path().join("runs"));
    // How it is saved and how many threads it takes makes no other run.
    let said =
        stdout(&mut table(folder.path(), &["--index", "0", "--set", "evaluation.actors=3", "--set", "train.checkpoint_every=2"]));
    assert!(said.contains("finished before"), "{said}");
    let said = refused(&mut table(folder.path(), &["--set", "train.steps=4", "--set", "train.batch_size=5"]));
    for words in [
        "2 of 2 runs",
        "holds a run of another job: train.",
        " is 3 there, and 4 in the table",
        "train.batch_size",
        "--runs",
        "is not a run folder",
    ] {
        assert!(said.contains(words), "{said}\nlacks {words}");
    }
    let said = refused(&mut table(folder.path(), &["--index", "1"]));
    assert!(said.contains("is not a run folder"), "{said}");
    assert!(
        snapshot(&folder.path().join("runs"))
            .into_iter()
            .filter(|(path, _)| !path.starts_with(folder.path().join("runs/mine/compare")))
            .eq(before)
    );
}

#[test]
fn what_a_run_took_from_its_data_makes_no_other_job() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), "agents = [\"aaren\"]", &["train.steps=3"]);
    let open = ["--index", "0", "--set", "policy.return_scale=null"];
    stdout(&mut table(folder.path(), &open));
    assert!(json(&folder.path().join("runs/mine/aaren-seed1/config.json"))["policy"]["return_scale"].is_number());
    assert!(stdout(&mut table(folder.path(), &open)).contains("finished before"));
    let said = refused(&mut table(folder.path(), &["--index", "0", "--set", "policy.return_scale=7"]));
    assert!(said.contains("policy.return_scale is ") && said.contains("and 7.0 in the table"), "{said}");
}

/// Jobs that take a second or two, and can be broken off.
const LONG: &[&str] = &["train.steps=600", "train.checkpoint_every=50", "policy.dropout=0.2", "train.log_every=100"];

#[test]
fn a_run_whose_process_was_killed_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), "agents = [\"aaren\", \"gru\"]", LONG);
    stdout(&mut table(folder.path(), &["--runs", "unbroken", "--jobs", "2"]));
    let runs = ["aaren-seed1", "gru-seed1"].map(|name| folder.path().join("runs/mine").join(name));
    // The process of a run, by itself.
    let mut alone = table(folder.path(), &["--index", "0"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("a checkpoint", || checkpoint(&runs[0], 50).exists());
    alone.kill().unwrap();
    alone.wait().unwrap();
    assert_eq!(states(folder.path()), ["begun", "new"]);
    // The table's own: the processes of its runs end with it.
    let mut all = table(folder.path(), &["--jobs", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("a checkpoint", || checkpoint(&runs[1], 50).exists());
    all.kill().unwrap();
    all.wait().unwrap();
    wait_for("the processes of the runs to end", || runs.iter().all(|run| is_free(run)));
    assert_eq!(states(folder.path())[1], "begun");
    stdout(&mut table(folder.path(), &["--jobs", "1"]));
    for run in &runs {
        let unbroken = folder.path().join("unbroken").join(run.file_name().unwrap());
        assert!(weights(run, 600) == weights(&unbroken, 600), "{}", run.display());
        assert_eq!(json(&run.join("evaluation.json"))["targets"], json(&unbroken.join("evaluation.json"))["targets"]);
        assert_eq!(steps_with(run, "train/loss"), [100, 200, 300, 400, 500, 600]);
    }
}

#[test]
fn ctrl_c_saves_all_runs_and_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    manifest(folder.path(), "agents = [\"aaren\", \"gru\"]", &["train.steps=1000000", "train.checkpoint_every=1000000"]);
    let all = table(folder.path(), &["--jobs", "2"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let runs = ["aaren-seed1", "gru-seed1"].map(|name| folder.path().join("runs/mine").join(name));
    let is_under_way = |run: &PathBuf| fs::read_to_string(run.join("metrics.jsonl")).is_ok_and(|lines| lines.lines().count() > 3);
    wait_for("steps of both runs", || runs.iter().all(is_under_way));
    signal(&all, "-INT");
    let Output { status, stderr, .. } = all.wait_with_output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("0 of 2 runs have finished, those under way are saved"), "{said}");
    for run in &runs {
        let run = RunDir::resume(run).expect("nobody writes it");
        assert!(run.latest_checkpoint().unwrap().is_some(), "{}", run.path().display());
    }
    // The second Ctrl-C does not wait.
    let mut all = table(folder.path(), &["--jobs", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the runs to go on", || !runs.iter().any(|run| is_free(run)));
    signal(&all, "-INT");
    signal(&all, "-INT");
    assert!(all.wait().unwrap().code().is_none_or(|code| code == 130));
    wait_for("the processes of the runs to end", || runs.iter().all(|run| is_free(run)));
}

#[test]
fn two_processes_share_the_work_of_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let keys = format!("{TWO_BY_TWO}\nseeds = \"1..2\"");
    manifest(folder.path(), &keys, &["train.steps=40"]);
    let both =
        [0, 1].map(|_| table(folder.path(), &["--jobs", "2"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let said = both.map(|process| {
        let Output { status, stdout, stderr } = process.wait_with_output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    });
    for name in ["short-aaren-seed1", "long-gru-seed2"] {
        assert!(said.iter().all(|said| said.contains(&format!("{name}: "))), "{said:?}");
    }
    // Whoever came second waited, or found it finished.
    let mut trained = 0;
    for entry in fs::read_dir(folder.path().join("runs/mine/logs")).unwrap() {
        trained += fs::read_to_string(entry.unwrap().path()).unwrap().matches("\ntrained ").count();
    }
    assert_eq!(trained, 8, "{said:?}");
    // Each alone makes the same.
    stdout(&mut table(folder.path(), &["--runs", "alone"]));
    let run = |runs: &str| folder.path().join(runs).join("long-gru-seed2");
    assert!(weights(&run("runs/mine"), 40) == weights(&run("alone"), 40));
}

#[test]
fn the_shipped_manifests_are_tables() {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/tables");
    let plan =
        |name: &str| Plan::read(&tables.join(name), &Choice::default()).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    let d4rl = plan("d4rl.toml");
    assert_eq!((d4rl.pieces.len(), &*d4rl.pieces[0].name), (180, "hopper-medium-aaren-seed1"));
    assert_eq!(d4rl.pieces[179].run, Path::new("runs/d4rl/ant-medium-expert-bc10-seed3"));
    assert_eq!(plan("tmaze.toml").pieces.len(), 9);
    let evidence = tables.with_file_name("evidence");
    for entry in fs::read_dir(tables).unwrap().chain(fs::read_dir(evidence).unwrap()) {
        let path = entry.unwrap().path();
        Manifest::read(&path).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(fs::read_to_string(&path).unwrap().starts_with("#:schema ../table.schema.json\n"), "{}", path.display());
    }
    let found = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/table.schema.json"));
    assert!(
        found == schema(),
        "configs/table.schema.json is old; make it again with `aaren schema --table > configs/table.schema.json`"
    );
}

/// A block of the page about many jobs, with a small manifest in the place of the D4RL table's.
fn recipe(language: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/many-jobs.md")).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("no block of {language}"));
    rest.split("```").next().unwrap().replace("configs/tables/d4rl.toml", "mine.toml")
}

#[test]
fn the_recipes_of_the_book_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("page.toml"), recipe("toml")).unwrap();
    let page = Manifest::read(&folder.path().join("page.toml")).unwrap();
    let names: Vec<&str> = page.rows.iter().chain(&page.agents).map(|part| &*part.name).collect();
    assert_eq!(names, ["Hopper-v5", "far", "walker-walker2d-medium-v0", "aaren", "bc", "wide"]);

    manifest(folder.path(), "agents = [\"aaren\", \"gru\"]", &["train.steps=3"]);
    fs::write(folder.path().join("d4rl.sh"), recipe("bash")).unwrap();
    // The scheduler's commands are not here: one starts what it is given, the other notes it.
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, does) in [("srun", "exec \"$@\""), ("scontrol", "echo \"$@\" >> requeued")] {
        fs::write(bin.join(name), format!("#!/bin/sh\n{does}\n")).unwrap();
        assert!(Command::new("chmod").args(["+x", bin.join(name).to_str().unwrap()]).status().unwrap().success());
    }
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_aaren"), bin.join("aaren")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let slurm = |index: &str| {
        let ids = [("SLURM_ARRAY_TASK_ID", index), ("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_CPUS_PER_TASK", "1")];
        let mut command = Command::new("bash");
        command.arg("d4rl.sh").envs(ids).env("PATH", &path).current_dir(folder.path()).output().unwrap()
    };
    let Output { status, stderr, .. } = slurm("1");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(states(folder.path()), ["new", "finished"]);
    // An element whose run another process writes comes again.
    let held = RunDir::claim(&folder.path().join("runs/mine/aaren-seed1"), 1).unwrap();
    let Output { status, stderr, .. } = slurm("0");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(75), "{said}");
    assert!(said.contains(" is writing the run runs/mine/aaren-seed1"), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join("requeued")).unwrap(), "requeue 7_0\n");
    drop(held);

    let yaml = recipe("yaml");
    let words = yaml.lines().find_map(|line| line.trim().strip_prefix("command: ")).expect("a command");
    let words: Vec<String> = serde_json::from_str(words).unwrap();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("JOB_COMPLETION_INDEX", "0").env("PATH", &path).current_dir(folder.path());
    stdout(&mut command);
    assert_eq!(states(folder.path()), ["finished"; 2]);
    let said = stdout(&mut table(folder.path(), &["--jobs", "0"]));
    assert!(said.contains("2 of 2 runs finished"), "{said}");
}
