//! The benchmark from outside, and what it leaves behind.
#![allow(dead_code)] // every test file compiles this for itself and uses a part

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// `aaren-bench`, in a folder, with arguments.
pub fn bench(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aaren-bench"));
    command.args(arguments).current_dir(folder).env_remove("AAREN_LOG").stdin(Stdio::null());
    command
}

/// The output of a command, which must succeed.
pub fn stdout(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?} ended with {status}:\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Runs a command that must fail with one line that has all these words, and change nothing in its folder, which is empty.
pub fn fails(arguments: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.starts_with("error: ") && said.trim_end().lines().count() == 1, "{arguments:?}: {said}");
    assert!(!said.contains("panicked") && words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?}");
}
