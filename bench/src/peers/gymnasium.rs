//! The same environments in Gymnasium and EnvPool: a script of ours, run by the Python that is there, that steps them on request.

use super::python::{python, version_of};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

const SCRIPT: &str = include_str!("env_peer.py");

/// A library with the same environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Library {
    module: &'static str,
    /// Its name as the library spells it.
    pub name: &'static str,
}

pub const GYMNASIUM: Library = Library { module: "gymnasium", name: "Gymnasium" };
pub const ENVPOOL: Library = Library { module: "envpool", name: "EnvPool" };
/// Gymnasium's vector of environments in a process each; threads are environments and steps are those of the vector.
pub const ASYNC_VECTOR: Library = Library { module: "gymnasium", name: "AsyncVectorEnv" };
/// Gymnasium's vector of environments in one process, the script's own.
pub const SYNC_VECTOR: Library = Library { module: "gymnasium", name: "SyncVectorEnv" };

impl Library {
    /// Its version, if Python has it.
    pub fn version(self) -> Option<String> {
        version_of(self.module)
    }
}

/// How long a slice took.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Slice {
    /// Environment steps over all threads.
    pub steps: usize,
    /// By the clock.
    pub seconds: f64,
    /// Processor time of all threads.
    pub processor_seconds: Option<f64>,
}

impl Slice {
    /// Slices that ran at the same time, as one.
    pub fn join(slices: impl IntoIterator<Item = Slice>) -> Self {
        let none = Slice { steps: 0, seconds: 0.0, processor_seconds: Some(0.0) };
        slices.into_iter().fold(none, |sum, slice| Slice {
            steps: sum.steps + slice.steps,
            seconds: sum.seconds.max(slice.seconds),
            processor_seconds: sum.processor_seconds.zip(slice.processor_seconds).map(|(sum, seconds)| sum + seconds),
        })
    }
}

/// A running script. It ends when this value is dropped, which closes its input.
pub struct Peer {
    library: Library,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start(library: Library) -> Result<Self> {
        let mut command = python();
        command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Gymnasium's simulator writes a log file into the current directory.
        let mut child = command.current_dir(std::env::temp_dir()).spawn().context("cannot run python3")?;
        let requests = Some(child.stdin.take().context("python3 has no standard input")?);
        let answers = BufReader::new(child.stdout.take().context("python3 has no standard output")?);
        Ok(Self { library, child, requests, answers })
    }

    /// Asks for a slice, which begins at once: so many steps of each thread, of which EnvPool has several, in the environment of a
    /// registered name; the seed is that of the first reset and of the actions.
    pub fn ask(&mut self, env: &str, threads: usize, steps: usize, seed: u64) -> Result<()> {
        let Library { module, name } = self.library;
        let line = json!({"env": env, "threads": threads, "steps": steps, "seed": seed, "library": module, "name": name});
        let requests = self.requests.as_mut().context("the peer has ended")?;
        writeln!(requests, "{line}").with_context(|| self.failed())
    }

    /// Waits for the answer to [`Peer::ask`].
    pub fn answer(&mut self) -> Result<Slice> {
        let mut line = String::new();
        self.answers.read_line(&mut line).with_context(|| self.failed())?;
        serde_json::from_str(&line).with_context(|| self.failed())
    }

    fn failed(&self) -> String {
        format!("the {} peer gave no figures", self.library.module)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.requests.take());
        // Whatever it ends with, its figures have been read.
        let _ = self.child.wait();
    }
}
