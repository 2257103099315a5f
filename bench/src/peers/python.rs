//! The Python that is there, and a script's answer.

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use std::io::Write;
use std::process::{Command, Stdio};

/// The Python of `$PYTHON`, or `python3`.
pub fn python() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// A module's version, if Python has it.
pub fn version_of(module: &str) -> Option<String> {
    // Some libraries print on import, so the version is the last line.
    let probe = format!("import {module}; print(); print({module}.__version__)");
    let output = python().args(["-c", &probe]).stderr(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.lines().last()?.trim().to_owned();
    (output.status.success() && !version.is_empty()).then_some(version)
}

/// Runs a script with some input and reads the JSON that it prints.
///
/// # Errors
/// If Python fails or prints something else than figures.
pub fn figures<T: DeserializeOwned>(name: &str, command: &mut Command, input: &[u8]) -> Result<T> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot run python3")?;
    let mut stdin = child.stdin.take().context("python3 has no standard input")?;
    stdin.write_all(input).with_context(|| format!("cannot hand python3 what {name} needs"))?;
    drop(stdin);
    let output = child.wait_with_output().context("python3 did not finish")?;
    ensure!(output.status.success(), "{name} failed: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{name} printed no figures"))
}
