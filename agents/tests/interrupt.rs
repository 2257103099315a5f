//! Ctrl-C ends a process with exit code 130: at its next clean point, or at once when pressed again. A training goes on from there.
#![cfg(unix)]

mod common;

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use common::*;

/// Presses Ctrl-C `presses` times on a collection of so many episodes; gives the exit code and what was said.
fn interrupted(episodes: &str, presses: usize) -> (Option<i32>, String) {
    // A signal that comes before the handler is there kills the process; then try again, later in its life.
    for delay in [50, 150, 400] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_aaren"))
            .args(["collect", "--set", &format!("data.scripted.episodes={episodes}"), "--output", "out"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..presses {
            sleep(Duration::from_millis(delay));
            Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status().unwrap();
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
    let (code, said) = interrupted("100000000", 2);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("press Ctrl-C again"), "{said}");
}

#[test]
fn the_first_ctrl_c_ends_it_at_the_next_clean_point() {
    let (code, said) = interrupted("100000", 1);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.ends_with("error: interrupted\n"), "{said}");
}

/// Waits until a condition holds, a minute at most.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("waited a minute for {what}");
}

#[test]
fn the_first_ctrl_c_saves_the_run_and_it_goes_on() {
    for more in [&["evaluation.every=1000000"], &["evaluation.every=2"]] {
        let folder = tempfile::tempdir().unwrap();
        let (broken, unbroken) = (folder.path().join("broken"), folder.path().join("unbroken"));
        // No checkpoint is due before the signal comes, whenever it comes; and logged means are over several steps.
        let settings = [
            &small(&["policy.dropout=0.2", "train.row_length=5", "train.cut_segments=continue"])[..],
            more,
            &["train.log_every=7", "train.checkpoint_every=1000000"],
        ]
        .concat();
        let endless = [&settings[..], &["train.steps=1000000"]].concat();
        let mut process = aaren(folder.path(), &["train", "--run", "broken"], &endless)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("a line of the log", || {
            fs::read_to_string(broken.join("metrics.jsonl")).is_ok_and(|text| text.lines().count() >= 3)
        });
        let kill = Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
        assert!(kill.success());
        wait_for("the end of the process", || process.try_wait().unwrap().is_some());
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("press Ctrl-C again") && said.contains("aaren train --resume --run broken"), "{said}");

        let step: u64 = said.split("stopped at step ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let steps = format!("train.steps={}", step + 9);
        stdout(&mut aaren(folder.path(), &["train", "--resume", "--run", "broken"], &[&steps]));
        stdout(&mut aaren(folder.path(), &["train", "--run", "unbroken"], &[&settings[..], &[&steps]].concat()));
        for name in ["train/loss", "evaluation/return_mean"] {
            assert_eq!(lines_with(&broken, name), lines_with(&unbroken, name), "{more:?}, stopped at step {step}");
        }
        assert!(weights(&broken, step + 9) == weights(&unbroken, step + 9), "{more:?}, stopped at step {step}");
    }
}
