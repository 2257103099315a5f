//! Ctrl-C ends a process with exit code 130: at its next clean point, or at once when pressed again.
#![cfg(unix)]

use std::{
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

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
