//! Ctrl-C ends a process with exit code 130: at its next clean point, or at once when pressed again. SIGTERM and SIGHUP do the same with
//! theirs, and only ever at a clean point. A training goes on from there.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::common::*;

/// Sends a collection of so many episodes a signal `times` times; gives the exit code and what was said.
fn interrupted(episodes: &str, signal: &str, times: usize) -> (Option<i32>, String) {
    // A signal that comes before the handler is there kills the process; then try again, later in its life.
    for delay in [50, 150, 400, 1500, 5000] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_aaren"))
            .args(["collect", "--set", &format!("data.scripted.episodes={episodes}"), "--output", "out"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..times {
            sleep(Duration::from_millis(delay));
            Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status().unwrap();
        }
        let deadline = (0..600).find(|_| {
            sleep(Duration::from_millis(100));
            child.try_wait().unwrap().is_some()
        });
        if deadline.is_none() {
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert!(!folder.path().join("out").exists(), "an interrupted collection writes nothing");
        if output.status.code().is_some() {
            return (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    panic!("the process never handled the signal")
}

#[test]
fn the_second_ctrl_c_ends_the_process_at_once() {
    let (code, said) = interrupted("100000000", "-INT", 2);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("press Ctrl-C again"), "{said}");
}

#[test]
fn the_first_ctrl_c_ends_it_at_the_next_clean_point() {
    let (code, said) = interrupted("3000000", "-INT", 1);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.ends_with("error: interrupted\n"), "{said}");
}

#[test]
fn other_signals_end_it_at_the_next_clean_point_however_often_they_come() {
    // `timeout` and systemd send two at once.
    for (signal, code) in [("-TERM", 143), ("-HUP", 129)] {
        let (found, said) = interrupted("3000000", signal, 2);
        assert_eq!(found, Some(code), "{signal}: {said}");
        assert!(said.ends_with("error: interrupted\n"), "{signal}: {said}");
    }
}

/// The signal that a command ended by, or its exit code, and what it left; the signal comes when `begun` holds.
fn killed(folder: &Path, arguments: &[&str], overrides: &[&str], signal: &str) -> (Option<i32>, Option<i32>) {
    let mut command = aaren(folder, arguments, overrides);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_millis(700));
    Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap();
    let ended = (0..500).any(|_| {
        sleep(Duration::from_millis(10));
        process.try_wait().unwrap().is_some()
    });
    process.kill().ok();
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(ended, "{arguments:?} goes on after {signal}: {said}");
    assert!(!said.contains("next step"), "{arguments:?}: {said}");
    (std::os::unix::process::ExitStatusExt::signal(&output.status), output.status.code())
}

#[test]
fn a_command_without_steps_dies_of_a_signal_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Steps that take minutes, and data that are never whole.
    let huge = ["policy.width=2048", "policy.feed_forward=8192", "policy.layers=8", "policy.heads=16", "train.batch_size=64"];
    let endless = ["data.scripted.episodes=100000000"];
    for (arguments, overrides) in [(["inspect"], &huge[..]), (["inspect"], &endless), (["train"], &endless)] {
        for (signal, number) in [("-INT", 2), ("-TERM", 15)] {
            assert_eq!(killed(folder.path(), &arguments, overrides, signal), (Some(number), None), "{arguments:?} {overrides:?}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_config_without_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("job.toml")).status().unwrap().success());
    for config in ["job.toml", "/dev/zero"] {
        let output = aaren(folder.path(), &["train", config], &[]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("error: cannot read the config") && said.contains("/dev/stdin"), "{said}");
    }
    // A pipe that the process was given does.
    let mut command = aaren(folder.path(), &["inspect", "/dev/stdin"], &[]);
    let mut process = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stdin.take());
    let output = process.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("env is missing"));
}

#[test]
fn nohup_keeps_a_process_running() {
    let folder = tempfile::tempdir().unwrap();
    let mut train = Command::new("nohup");
    train.arg(env!("CARGO_BIN_EXE_aaren")).args(["train", "--run", "run"]).current_dir(folder.path());
    small(&["train.steps=1000000", "train.checkpoint_every=10"]).iter().for_each(|set| _ = train.args(["--set", set]));
    let mut child = train.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = wait_for(|| checkpoint(&folder.path().join("run"), 10).exists());
    Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap();
    sleep(Duration::from_millis(300));
    let goes_on = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(began && goes_on);
}

/// Waits until a condition holds, a minute at most.
fn wait_for(mut holds: impl FnMut() -> bool) -> bool {
    let held = (0..6000).find(|_| {
        sleep(Duration::from_millis(10));
        holds()
    });
    held.is_some()
}

/// Signals, and the exit codes that they end a process with.
const CTRL_C: (&str, i32) = ("-INT", 130);
const TERMINATE: (&str, i32) = ("-TERM", 143);

/// Trains in the folder `broken`, sends a signal when a condition holds, and gives what was said.
fn train_until(folder: &Path, (signal, code): (&str, i32), overrides: &[&str], holds: impl FnMut() -> bool) -> String {
    let mut train = aaren(folder, &["train", "--run", "broken"], overrides);
    let mut process = train.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let held = wait_for(holds);
    Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap();
    if !wait_for(|| process.try_wait().unwrap().is_some()) {
        process.kill().unwrap();
    }
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(held, "the condition never held; it said:\n{said}");
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains("press Ctrl-C again") && said.contains("aaren train --resume --run broken"), "{said}");
    assert!(checkpoint(&folder.join("broken"), stopped_at(&said)).exists(), "{said}");
    said
}

/// Where it stopped, as it says.
fn stopped_at(said: &str) -> u64 {
    said.split("stopped at step ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Resumes `broken` with some overrides and trains `unbroken` with all of them: both must be the same.
fn assert_goes_on(folder: &Path, overrides: &[&str], at_resume: &[&str], steps: u64) {
    stdout(&mut aaren(folder, &["train", "--resume", "--run", "broken"], at_resume));
    stdout(&mut aaren(folder, &["train", "--run", "unbroken"], &[overrides, at_resume].concat()));
    let (broken, unbroken) = (folder.join("broken"), folder.join("unbroken"));
    for name in ["train/loss", "evaluation/return_mean"] {
        assert_eq!(lines_with(&broken, name), lines_with(&unbroken, name), "{at_resume:?}");
    }
    assert!(weights(&broken, steps) == weights(&unbroken, steps), "{at_resume:?}: other weights");
}

#[test]
fn the_first_signal_saves_the_run_and_it_goes_on() {
    for (more, signal) in [("evaluation.every=1000000", CTRL_C), ("evaluation.every=2", TERMINATE)] {
        let folder = tempfile::tempdir().unwrap();
        // No checkpoint is due before the signal comes, whenever it comes; and logged means are over several steps.
        let carried = ["policy.dropout=0.2", "train.row_length=5", "train.cut_segments=continue"];
        let settings = small(&[&carried[..], &[more, "train.log_every=7", "train.checkpoint_every=1000000"]].concat());
        let said = train_until(folder.path(), signal, &[&settings[..], &["train.steps=1000000"]].concat(), || {
            let lines = fs::read_to_string(folder.path().join("broken/metrics.jsonl"));
            lines.is_ok_and(|lines| lines.lines().count() >= 3)
        });
        let steps = stopped_at(&said) + 9;
        assert_goes_on(folder.path(), &settings, &[&format!("train.steps={steps}")], steps);
    }
}

/// Episodes that nobody waits for.
const ENDLESS: [&str; 2] = ["evaluation.episodes=1000000", "evaluation.final_episodes=1000000"];

#[test]
fn an_evaluation_stops_at_ctrl_c_and_is_made_when_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let settings = small(&["train.steps=6", "evaluation.every=4"]);
    let said = train_until(folder.path(), CTRL_C, &[&settings[..], &ENDLESS].concat(), || {
        checkpoint(&folder.path().join("broken"), 4).exists() // the evaluation comes next
    });
    assert_eq!(stopped_at(&said), 4);
    assert!(!folder.path().join("broken/train.json").exists());
    assert_goes_on(folder.path(), &settings, &["evaluation.episodes=2", "evaluation.final_episodes=3"], 6);
    assert_eq!(steps_with(&folder.path().join("broken"), "evaluation/return_mean"), [4, 6]);
}

#[test]
fn the_evaluation_at_the_end_is_made_when_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let settings = small(&["train.steps=6"]);
    let said = train_until(folder.path(), TERMINATE, &[&settings[..], &ENDLESS].concat(), || {
        folder.path().join("broken/train.json").exists() // the evaluation comes next
    });
    assert_eq!(stopped_at(&said), 6);
    let summary = json(&folder.path().join("broken/train.json"));
    assert!(!folder.path().join("broken/evaluation.json").exists());
    assert_goes_on(folder.path(), &settings, &["evaluation.episodes=2", "evaluation.final_episodes=3"], 6);
    assert_eq!(json(&folder.path().join("broken/train.json")), summary);
}

#[test]
fn an_evaluation_beside_the_training_ends_before_a_stopped_run_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let beside = ["evaluation.beside=true", "evaluation.every=30", "evaluation.episodes=300", "train.checkpoint_every=1000000"];
    let settings = small(&beside);
    let said = train_until(folder.path(), CTRL_C, &[&settings[..], &["train.steps=1000000"]].concat(), || {
        checkpoint(&folder.path().join("broken"), 30).exists() // the evaluation comes next
    });
    assert!(steps_with(&folder.path().join("broken"), "evaluation/return_mean").contains(&30), "{said}");
    let steps = stopped_at(&said) + 9;
    assert_goes_on(folder.path(), &settings, &[&format!("train.steps={steps}")], steps);
}
