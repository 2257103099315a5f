//! The PyTorch peer: a script of ours that does the same optimizer step, run by the Python that is there.

use super::train::Spread;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::{
    io::Write,
    process::{Command, Stdio},
};

const SCRIPT: &str = include_str!("torch_peer.py");

/// The peer knows these mixers.
const MIXERS: [&str; 2] = ["aaren", "transformer"];

fn python() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// PyTorch's version, if Python has it.
pub(super) fn version() -> Option<String> {
    let output = python().args(["-c", "import torch; print(torch.__version__)"]).stderr(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !version.is_empty()).then_some(version)
}

#[derive(Deserialize)]
struct Line {
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
}

/// Times the peer's optimizer step; `None` for a mixer that it does not have.
///
/// # Errors
/// If Python fails or prints something else than a line of figures.
pub(super) fn train(mixer: &str, batch: usize, context: usize, threads: usize, repeats: usize) -> Result<Option<Spread>> {
    if !MIXERS.contains(&mixer) {
        return Ok(None);
    }
    let numbers = [("--batch", batch), ("--context", context), ("--threads", threads), ("--repeats", repeats)];
    let mut command = python();
    command.args(["-", "train", "--mixer", mixer]);
    numbers.iter().for_each(|(key, number)| {
        command.args([*key, &number.to_string()]);
    });
    command.env("OMP_NUM_THREADS", threads.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot run python3")?;
    child
        .stdin
        .take()
        .context("python3 has no standard input")?
        .write_all(SCRIPT.as_bytes())
        .context("cannot hand python3 the peer")?;
    let output = child.wait_with_output().context("python3 did not finish")?;
    anyhow::ensure!(output.status.success(), "the PyTorch peer failed: {}", output.status);
    let line: Line = serde_json::from_slice(&output.stdout).context("the PyTorch peer printed no figures")?;
    Ok(Some(Spread { median: line.median_ms, min: line.min_ms, max: line.max_ms }))
}
