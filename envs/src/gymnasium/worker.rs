//! A Python process that steps environments, and the frames that are exchanged with it.
//!
//! A frame is a header of two 32-bit numbers, what it is and the bytes that follow, and those bytes; all numbers are little-endian.
//! The worker writes one line before its first frame, so that an interpreter that is none shows. It then answers every request with
//! one frame: 0 and what was asked for, or 1 and an exception as JSON.
//!
//! | request | bytes | answer |
//! |---|---|---|
//! | 0, hello | settings as JSON | spaces and time limit as JSON |
//! | 1, make | how many more environments, 32 bits | nothing |
//! | 2, reset | rows (32 bits each), seeds (64 bits each), whether each has a seed (8 bits each) | observations, rewards, flags, failures |
//! | 3, step | rows (32 bits each), actions `[rows, width]` (64-bit integers or floats) | the same |
//!
//! Observations `[rows, width]` and rewards are 64-bit floats, a flag is 8 bits (1: terminated, 2: truncated, 4: raised an exception),
//! and the rest of the answer says which exceptions, as JSON.

use std::collections::{HashSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::settings::{PREFIX, Settings};
use crate::error::EnvError;

/// What runs in the process.
const SCRIPT: &str = include_str!("worker.py");

/// Reads the script from stdin, which keeps it out of the list of processes.
const BOOTSTRAP: &str = "import os, sys; requests = os.fdopen(os.dup(0), 'rb'); \
                         exec(compile(requests.read(int(sys.argv[1])), '<aaren worker>', 'exec'))";

/// The worker's first line.
const GREETING: &str = "aaren worker 1\n";

/// Lines of stderr that are kept to be quoted.
const KEPT_LINES: usize = 20;

/// Bytes of a line of stderr.
const LONGEST_LINE: u64 = 1 << 14;

/// Different warnings that are said.
const MOST_WARNINGS: usize = 50;

/// How long a process is waited for that has been told to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Variables that make numerical libraries use one thread, unless the user says otherwise: workers run side by side.
const ONE_THREAD: [&str; 3] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"];

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Request {
    Hello = 0,
    Make = 1,
    Reset = 2,
    Step = 3,
}

/// An exception, as a worker tells of it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Raised {
    /// Which row of the request.
    #[serde(default)]
    pub(super) row: usize,
    doing: String,
    exception: String,
    /// The file and line that raised it, where that is not the worker's own.
    r#where: Option<String>,
}

/// The process. Dropping it ends it.
pub(super) struct Worker {
    /// The environment's name and the interpreter, for errors.
    env: String,
    python: String,
    child: Child,
    /// Closed to end the process.
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<()>>,
    last_lines: Arc<Mutex<VecDeque<String>>>,
    is_greeted: bool,
}

impl Worker {
    /// Starts a process and says hello, without waiting for the answer: libraries of environments take long to import.
    ///
    /// # Errors
    /// [`EnvError::Python`] if the interpreter cannot be started.
    pub(super) fn start(settings: &Settings) -> Result<Self, EnvError> {
        let env = format!("{PREFIX}{}", settings.id);
        let mut command = Command::new(&settings.python);
        command.args(["-c", BOOTSTRAP, &SCRIPT.len().to_string(), &env]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ONE_THREAD.into_iter().filter(|name| std::env::var_os(name).is_none()) {
            command.env(name, "1");
        }
        // A Ctrl-C is for the job alone, which ends its workers when it has saved what there is.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|source| EnvError::Python {
            env: env.clone(),
            problem: format!(
                "cannot start {}: {source}; say an interpreter that has numpy and gymnasium with env.options.python",
                settings.python
            ),
        })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(requests), Some(replies), Some(stderr)) = pipes else { unreachable!("all three were asked for") };
        let last_lines = Arc::new(Mutex::new(VecDeque::new()));
        let name = format!("{env}, process {}", child.id());
        let (lines, reader) = (last_lines.clone(), std::thread::Builder::new().name("worker stderr".into()));
        let stderr = reader.spawn(move || listen(&name, stderr, &lines)).ok();
        let mut worker = Self {
            env,
            python: settings.python.clone(),
            child,
            requests: Some(requests),
            replies: BufReader::with_capacity(1 << 16, replies),
            stderr,
            last_lines,
            is_greeted: false,
        };
        if worker.stderr.is_none() {
            return Err(worker.error("the system has no room for the thread that reads its stderr".into()));
        }
        let hello = serde_json::to_vec(settings).map_err(|error| worker.error(error.to_string()))?;
        // A process that is no Python, or has ended at once, is told of when its answer is read: what it said comes first.
        let sent = worker.requests.as_mut().map_or(Ok(()), |stdin| stdin.write_all(SCRIPT.as_bytes()));
        let _ = sent.and_then(|()| worker.write(Request::Hello, &[&hello]));
        Ok(worker)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`EnvError::Worker`] if the process has ended.
    pub(super) fn send(&mut self, request: Request, parts: &[&[u8]]) -> Result<(), EnvError> {
        self.write(request, parts).map_err(|_| self.ended())
    }

    fn write(&mut self, request: Request, parts: &[&[u8]]) -> std::io::Result<()> {
        let Some(stdin) = &mut self.requests else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let mut frame = Vec::with_capacity(8 + size);
        frame.extend_from_slice(&(request as u32).to_le_bytes());
        frame.extend_from_slice(&(size as u32).to_le_bytes());
        parts.iter().for_each(|part| frame.extend_from_slice(part));
        stdin.write_all(&frame)
    }

    /// Waits for the answer to the oldest request without one, and puts its bytes into `answer`.
    ///
    /// # Errors
    /// [`EnvError::Worker`] if the process has ended or speaks otherwise, [`EnvError::Python`] for an exception.
    pub(super) fn receive(&mut self, answer: &mut Vec<u8>) -> Result<(), EnvError> {
        if !self.is_greeted {
            let mut greeting = [0; GREETING.len()];
            self.replies.read_exact(&mut greeting).map_err(|_| self.ended())?;
            if greeting != GREETING.as_bytes() {
                return Err(self.error(format!("is no Python interpreter: it said {:?}", String::from_utf8_lossy(&greeting))));
            }
            self.is_greeted = true;
        }
        let mut header = [0; 8];
        self.replies.read_exact(&mut header).map_err(|_| self.ended())?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (status, size) = (number(0), number(4) as usize);
        if status > 1 {
            return Err(self.error("wrote to the pipe that is for answers alone".into()));
        }
        answer.resize(size, 0);
        self.replies.read_exact(answer).map_err(|_| self.ended())?;
        if status == 0 {
            return Ok(());
        }
        let raised: Raised = serde_json::from_slice(answer).map_err(|error| self.error(error.to_string()))?;
        Err(self.raised(&raised))
    }

    /// The error of an exception outside of any episode.
    fn raised(&self, raised: &Raised) -> EnvError {
        let Raised { doing, exception, .. } = raised;
        let python = &self.python;
        let problem = match doing.as_str() {
            "import numpy" | "import gymnasium" => format!(
                "{python} cannot {doing}: {exception}; install both with `{python} -m pip install numpy gymnasium`, or say another \
                 interpreter with env.options.python"
            ),
            import if import.starts_with("import ") => {
                format!("{python} cannot {import} (env.options.module): {}", raised.told())
            }
            // The exception that a space is refused with is ours.
            "serve" => exception.trim_start_matches("Refused: ").to_string(),
            _ => format!("{python} cannot make it: {}", raised.told()),
        };
        EnvError::Python { env: self.env.clone(), problem }
    }

    /// The error of a worker that speaks otherwise than it should.
    pub(super) fn error(&self, problem: String) -> EnvError {
        let worker = format!("worker process {} ({})", self.child.id(), self.python);
        EnvError::Worker { env: self.env.clone(), worker, problem }
    }

    /// The error of a process that answers no more, with how it ended and what it said last.
    fn ended(&mut self) -> EnvError {
        let how = match self.wait(PATIENCE) {
            Some(status) => format!("ended ({status})"),
            None => "closed its pipe".into(),
        };
        // What it wrote may still be on its way; a process that it left behind may hold the pipe for ever.
        let patience = Instant::now() + PATIENCE / 10;
        while self.stderr.as_ref().is_some_and(|reader| !reader.is_finished()) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        let lines = self.last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lines.iter().rev().find(|line| !line.trim().is_empty());
        let said = last.map_or(String::new(), |line| format!("; the last line that it wrote: {}", line.trim()));
        drop(lines);
        self.error(how + &said)
    }

    /// Waits for the process to end, but not for ever.
    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                _ => return None,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.requests.take());
        // One that has not said hello is still busy with imports and holds nothing that must be closed.
        if !self.is_greeted || self.wait(PATIENCE).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Raised {
    /// The exception, and where it was raised.
    pub(super) fn told(&self) -> String {
        match &self.r#where {
            Some(place) => format!("{} ({place})", self.exception),
            None => self.exception.clone(),
        }
    }
}

/// Hands what a worker writes to stderr to the log, and keeps the last lines. Warnings of several workers are said once.
fn listen(name: &str, stderr: ChildStderr, last_lines: &Mutex<VecDeque<String>>) {
    static WARNED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut stderr = BufReader::new(stderr);
    let mut bytes = Vec::new();
    // A line that has no end is cut, or it would fill the memory.
    while stderr.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_string();
        bytes.clear();
        match line.strip_prefix("warning: ") {
            Some(warning) => {
                let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
                let warned = warned.get_or_insert_default();
                // One that has other numbers in every step is not said for ever.
                if warned.len() < MOST_WARNINGS && warned.insert(warning.into()) {
                    tracing::warn!("{}: {warning}", name.split(',').next().unwrap_or(name));
                }
            }
            None => tracing::info!("{name}: {line}"),
        }
        let mut lines = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}
