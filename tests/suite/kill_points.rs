//! Killed before any change that it makes to the disk, or in the middle of a write, a command goes on when it is given again, or when
//! the command that its message names is: to the same bytes, with nothing left behind. Where a change fails instead, it says so in one
//! line that names the file and the cause, and then goes on too.
//!
//! Here every 23rd change of `train` and `convert` is tried; `scripts/torture.sh` tries all, of every command that writes.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::common::{aaren, metrics, stdout, strip_speeds};
use crate::events::tensorboard_files;
use serde_json::Value;

/// The library that counts changes; None where there is no C compiler.
pub fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let (root, to) = (Path::new(env!("CARGO_MANIFEST_DIR")), std::env::temp_dir());
        let library = to.join(format!("aaren-kill-points-{}.so", std::process::id()));
        let source = root.join("tests/suite/kill_points.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
        built.is_ok_and(|status| status.success()).then_some(library)
    };
    let shim = SHIM.get_or_init(build).as_deref();
    if shim.is_none() {
        println!("skipped: there is no C compiler `cc` for tests/suite/kill_points.c");
    }
    shim
}

/// A command that is killed.
struct Case {
    /// Split at blanks. What it writes is called `out`.
    command: &'static str,
    /// What must be there before.
    before: &'static [&'static str],
    /// What is done after it, unbroken and broken; where its message may name that too.
    then: Option<&'static str>,
}

const TRAIN: &str = "train --run out";
const RESUME: &str = "train --resume --run out";
const PPO: &str = "train ppo.json --run out";

/// A job that logs, saves, evaluates and prunes within 6 steps, and carries states along.
const OFFLINE_JOB: &str = r#"{
    "env": {"id": "TMaze-v0", "options": {"corridor": 4}},
    "data": {"scripted": {"episodes": 12}},
    "policy": {"layers": 1, "width": 8, "heads": 2, "feed_forward": 8, "max_timesteps": 8, "return_scale": 1.0},
    "train": {"steps": 6, "batch_size": 3, "context_length": 3, "row_length": 5, "cut_segments": "continue", "warmup_steps": 2,
              "log_every": 2, "checkpoint_every": 3, "keep_checkpoints": 1},
    "evaluation": {"every": 3, "episodes": 2, "final_episodes": 2, "target_returns": [1.0]}
}"#;

const PPO_JOB: &str = r#"{
    "env": {"id": "Pendulum-v1", "options": {"max_episode_steps": 20}},
    "ppo": {"hidden": [5], "env_steps": 96, "envs": 2, "envs_per_group": 1, "rollout_len": 16, "minibatches": 2, "epochs": 1,
            "checkpoint_every": 32, "keep_checkpoints": 1},
    "evaluation": {"every": 32, "episodes": 2}
}"#;

const COLLECT_JOB: &str = r#"{
    "seed": 3,
    "env": {"id": "Pendulum-v1", "options": {"max_episode_steps": 20}},
    "collect": {"dataset": "random", "steps": 60, "format": "both"}
}"#;

/// How far apart the changes are that are tried.
fn every() -> usize {
    std::env::var("AAREN_KILL_EVERY").ok().map_or(23, |every| every.parse().expect("AAREN_KILL_EVERY is a number"))
}

/// A folder with what the command needs.
fn prepared(case: &Case) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, job) in [("job.json", OFFLINE_JOB), ("ppo.json", PPO_JOB), ("collect.json", COLLECT_JOB)] {
        fs::write(folder.path().join(name), job).unwrap();
    }
    case.before.iter().for_each(|command| {
        stdout(&mut run(folder.path(), command));
    });
    folder
}

fn copied(template: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-a").arg(template.join(".")).arg(folder.path()).status().unwrap();
    assert!(status.success());
    folder
}

/// A command; `train` without a config takes the offline job.
fn run(folder: &Path, command: &str) -> Command {
    let command = command.replace("train --run", "train job.json --run");
    aaren(folder, &command.split(' ').collect::<Vec<_>>(), &[])
}

fn watched(folder: &Path, case: &Case, settings: &[(&str, String)]) -> Output {
    let mut command = run(folder, case.command);
    command.env("LD_PRELOAD", shim().unwrap()).env("KILL_UNDER", folder.canonicalize().unwrap());
    command.envs(settings.iter().map(|(name, value)| (name, value))).output().unwrap()
}

/// Gives the command again, then what its message names, until it is done.
fn go_on(folder: &Path, case: &Case, name: &str) {
    let mut said = String::new();
    for command in [case.command, RESUME] {
        let output = run(folder, command).output().unwrap();
        if output.status.success() {
            case.then.iter().filter(|then| **then != command).for_each(|then| {
                stdout(&mut run(folder, then));
            });
            return;
        }
        said += &String::from_utf8_lossy(&output.stderr);
        // Killed after the last of its work was done; what is there is then looked at.
        if ["already exists; choose another", "already holds a dataset"].iter().any(|words| said.contains(words)) {
            return;
        }
        assert!(said.contains("--resume") || command != case.command, "{name}: stuck:\n{said}");
    }
    panic!("{name}: stuck:\n{said}");
}

/// The names and steps that TensorBoard shows: a session that starts at a step takes the place of what is there from that step on.
fn shown(run: &Path) -> Vec<(String, i64)> {
    let mut scalars: Vec<(String, i64)> = Vec::new();
    for event in tensorboard_files(run).into_iter().flat_map(|file| file.events) {
        if event.starts_session() {
            scalars.retain(|(_, step)| *step < event.step);
        }
        scalars.extend(event.scalars());
    }
    scalars.sort();
    scalars
}

/// What is in a folder and must be the same however it came about: names, and the content where it holds no times.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn visit(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                visit(root, &path, found);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let is = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
            if name.contains("tfevents") || is(&["lock"]) {
                continue;
            }
            let timed =
                is(&["optimizer.mpk", "progress.json", "train.json", ".jsonl", "compare.html", "compare.json", "compare.md"]);
            let bytes = match fs::read(&path).unwrap() {
                _ if timed => Vec::new(),
                bytes if is(&["evaluation.json", "evaluation-best.json"]) || name.contains("evaluations/") => {
                    let report: Value = serde_json::from_slice(&bytes).unwrap();
                    report["targets"].to_string().into_bytes()
                }
                bytes => bytes,
            };
            found.insert(name, bytes);
        }
    }
    let mut found = BTreeMap::new();
    visit(folder, folder, &mut found);
    found
}

fn assert_same(broken: &Path, unbroken: &Path, name: &str) {
    let (found, expected) = (content(broken), content(unbroken));
    let names = |content: &BTreeMap<String, Vec<u8>>| content.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "{name}");
    for (file, bytes) in &expected {
        assert!(found[file] == *bytes, "{name}: {file} is another");
    }
    let (broken, unbroken) = (broken.join("out"), unbroken.join("out"));
    if unbroken.join("metrics.jsonl").exists() {
        let lines = |run: &Path| metrics(run).into_iter().map(strip_speeds).collect::<Vec<_>>();
        assert_eq!(lines(&broken), lines(&unbroken), "{name}");
        assert_eq!(shown(&broken), shown(&unbroken), "{name}: TensorBoard");
    }
}

/// What a command is given, where it ends unbroken, and how many changes it makes on the way.
struct Unbroken {
    before: tempfile::TempDir,
    after: tempfile::TempDir,
    changes: usize,
}

fn unbroken(case: &Case) -> Unbroken {
    let before = prepared(case);
    let (after, elsewhere) = (copied(before.path()), tempfile::tempdir().unwrap());
    let log = elsewhere.path().join("log");
    let output = watched(after.path(), case, &[("KILL_LOG", log.display().to_string())]);
    assert!(output.status.success(), "{}: {}", case.command, String::from_utf8_lossy(&output.stderr));
    let changes = fs::read_to_string(log).unwrap().lines().count();
    assert!(changes > 3, "{}: {changes} changes", case.command);
    println!("{}: {changes} changes", case.command);
    case.then.iter().for_each(|then| {
        stdout(&mut run(after.path(), then));
    });
    Unbroken { before, after, changes }
}

/// Kills at every change, with torn writes and without.
fn kill_everywhere(case: &Case) {
    if shim().is_none() {
        return;
    }
    let Unbroken { before, after, changes } = unbroken(case);
    for (torn, first) in [("0", 1), ("1", every().min(5))] {
        for at in (first..=changes).step_by(every()) {
            let name = format!("{}, killed at change {at} (torn: {torn})", case.command);
            let folder = copied(before.path());
            let output = watched(folder.path(), case, &[("KILL_AT", at.to_string()), ("KILL_TORN", torn.into())]);
            assert!(!output.status.success() || at + 3 > changes, "{name}: it was not killed");
            go_on(folder.path(), case, &name);
            assert_same(folder.path(), after.path(), &name);
        }
    }
}

/// Lets every change fail, alone and with all that follow it, as on a disk that is full or broken.
fn fail_everywhere(case: &Case) {
    if shim().is_none() {
        return;
    }
    let Unbroken { before, after, changes } = unbroken(case);
    for (errno, cause, full) in [("28", "No space left on device", "1"), ("5", "Input/output error", "0")] {
        for at in (1..=changes).step_by(every()) {
            let name = format!("{}, errno {errno} at change {at}", case.command);
            let folder = copied(before.path());
            let settings = [("KILL_FAIL", at.to_string()), ("KILL_ERRNO", errno.into()), ("KILL_FULL", full.into())];
            let output = watched(folder.path(), case, &settings);
            // A removal is made all the same, and so is what comes after the last change that can fail.
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error:")).collect();
                assert!(errors.len() == 1 && errors[0].contains(cause) && errors[0].contains("out"), "{name}:\n{said}");
                assert!(!said.contains("panicked"), "{name}:\n{said}");
            }
            go_on(folder.path(), case, &name);
            assert_same(folder.path(), after.path(), &name);
        }
    }
}

const TRAINS: Case = Case { command: TRAIN, before: &[], then: None };
const CONVERTS: Case = Case {
    command: "convert run --mixer performer --run out",
    before: &["train --run run --set policy.mixer=transformer"],
    then: Some(RESUME),
};

#[test]
fn a_killed_training_goes_on_from_any_change() {
    kill_everywhere(&TRAINS);
}

#[test]
fn a_killed_conversion_goes_on_from_any_change() {
    kill_everywhere(&CONVERTS);
}

#[test]
fn a_training_names_the_file_that_could_not_be_written() {
    fail_everywhere(&TRAINS);
}

/// The other commands that write.
const OTHERS: &[Case] = &[
    Case { command: PPO, before: &[], then: None },
    Case { command: "collect job.json --output out", before: &[], then: None },
    Case { command: "collect collect.json --output out", before: &[], then: None },
    Case { command: "evaluate out --episodes 3", before: &["train --run out"], then: None },
    Case { command: "compare run other --output out", before: &["train --run run", "train --run other --seed 2"], then: None },
    Case { command: "export run out", before: &["train --run run"], then: None },
];

#[test]
#[ignore = "long; scripts/torture.sh runs it"]
fn other_killed_commands_go_on_from_any_change() {
    let wanted = std::env::var("AAREN_KILL_COMMAND").unwrap_or_default();
    OTHERS.iter().filter(|case| case.command.contains(&wanted)).for_each(kill_everywhere);
}

#[test]
#[ignore = "long; scripts/torture.sh runs it"]
fn other_commands_name_the_file_that_could_not_be_written() {
    let wanted = std::env::var("AAREN_KILL_COMMAND").unwrap_or_default();
    OTHERS.iter().filter(|case| case.command.contains(&wanted)).for_each(fail_everywhere);
}
