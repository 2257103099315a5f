//! The peers: scripts of ours that do the same with PyTorch or stable-baselines3, run by the Python that is there.

use super::{
    ppo::Trained,
    scan::{Shape, Torch},
    train::Spread,
};
use aaren_agents::config::{Device, JobConfig};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::{
    io::Write,
    process::{Command, Stdio},
};

const SB3_SCRIPT: &str = include_str!("sb3_peer.py");
const SCAN_SCRIPT: &str = include_str!("scan_peer.py");
const SCRIPT: &str = include_str!("torch_peer.py");

/// The peer knows these mixers.
const MIXERS: [&str; 2] = ["aaren", "transformer"];

/// The Python of `$PYTHON`, or `python3`.
pub(super) fn python() -> Command {
    Command::new(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// PyTorch's version, if Python has it.
pub(super) fn version() -> Option<String> {
    version_of("torch")
}

/// stable-baselines3's version, if Python has it and Gymnasium.
pub(super) fn sb3_version() -> Option<String> {
    version_of("gymnasium").and_then(|_| version_of("stable_baselines3"))
}

fn version_of(module: &str) -> Option<String> {
    let script = format!("import {module}; print({module}.__version__)");
    let output = python().args(["-c", &script]).stderr(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !version.is_empty()).then_some(version)
}

/// Trains with stable-baselines3 until the mean of the latest episodes' returns reaches a target.
///
/// # Errors
/// If Python fails or prints something else than the figures.
pub(super) fn ppo(job: &JobConfig, target_return: f64, episodes: usize, threads: usize) -> Result<Trained> {
    let input = serde_json::json!({
        "env_id": job.env.id,
        "seed": job.seed,
        "threads": threads,
        "target_return": target_return,
        "episodes": episodes,
        "ppo": job.ppo,
    });
    let mut command = python();
    command.args(["-c", SB3_SCRIPT]).env("OMP_NUM_THREADS", threads.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot run python3")?;
    let mut stdin = child.stdin.take().context("python3 has no standard input")?;
    stdin.write_all(input.to_string().as_bytes()).context("cannot hand python3 the job")?;
    drop(stdin);
    let output = child.wait_with_output().context("python3 did not finish")?;
    anyhow::ensure!(output.status.success(), "the peer with stable-baselines3 failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("the peer with stable-baselines3 printed no figures")
}

#[derive(Deserialize)]
struct Line {
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
}

/// How PyTorch runs the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub device: Device,
    pub compile: bool,
    pub bf16: bool,
}

/// Times the peer's optimizer step; `None` for a mixer that it does not have.
///
/// # Errors
/// If Python fails or prints something else than a line of figures.
pub(super) fn train(
    mixer: &str,
    batch: usize,
    context: usize,
    threads: usize,
    repeats: usize,
    options: Options,
) -> Result<Option<Spread>> {
    if !MIXERS.contains(&mixer) {
        return Ok(None);
    }
    let numbers = [("--batch", batch), ("--context", context), ("--threads", threads), ("--repeats", repeats)];
    let mut command = python();
    command.args(["-", "train", "--mixer", mixer, "--device", &options.device.to_string()]);
    command.args(options.compile.then_some("--compile")).args(options.bf16.then_some("--bf16"));
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

/// Times PyTorch's causal attention, unless it is left out, and its associative scan.
///
/// # Errors
/// If Python fails or prints something else than the figures.
pub(super) fn scan(shape: Shape, device: Device, repeats: usize, with_attention: bool) -> Result<Torch> {
    let sizes = [shape.batch, shape.heads, shape.time, shape.head_dim].map(|size| size.to_string());
    let mut command = python();
    command.args(["-c", SCAN_SCRIPT]).args(sizes).args([device.to_string(), repeats.to_string(), with_attention.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run python3")?;
    anyhow::ensure!(output.status.success(), "the scan's PyTorch peer failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("the scan's PyTorch peer printed no figures")
}
