//! Processes that make the runs of a table, several at a time.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::ended::{Ended, How};
use super::piece::{Piece, State};
use crate::run::interrupt::{self, Interrupted, Leftovers, Steps};
use crate::run::process::{TRY_AGAIN, message, this_program};
use crate::run::progress::say;

/// Between two looks at the processes.
const PERIOD: Duration = Duration::from_millis(50);

/// How long a run that another process is at is left to it, at first and at most.
const PATIENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];

/// How many threads a process computes with, unless the user has set it already.
const THREADS: &str = "RAYON_NUM_THREADS";

/// Folder of the logs, in that of the run folders.
const LOGS: &str = "logs";

/// The processes by the numbers of their runs. A second Ctrl-C kills them, from another thread.
type Children = Arc<Mutex<BTreeMap<usize, Child>>>;

/// What a worker is told to do, but for the run: words of the command line.
#[derive(Clone, Debug)]
pub(super) struct Order<'a> {
    /// The manifest.
    pub manifest: &'a Path,
    /// Folder of the run folders.
    pub runs: &'a Path,
    /// Settings over the manifest.
    pub set: &'a [String],
    /// Threads of each process.
    pub threads: usize,
}

impl Order<'_> {
    /// The command that makes one run, whatever becomes of the order of the manifest's rows.
    pub(super) fn arguments(&self, piece: &Piece) -> Vec<String> {
        let mut words = vec!["table".to_owned(), self.manifest.display().to_string()];
        let mut flag = |flag: &str, value: &str| words.extend([flag.to_owned(), value.to_owned()]);
        for (name, value) in [("--rows", &piece.row), ("--agents", &piece.agent)] {
            if !value.is_empty() {
                flag(name, value);
            }
        }
        flag("--seeds", &piece.seed.to_string());
        flag("--runs", &self.runs.display().to_string());
        self.set.iter().for_each(|setting| flag("--set", setting));
        flag("--index", "0");
        words
    }
}

/// A run under way, of which the log has so many bytes from before.
struct Under<'a> {
    piece: &'a Piece,
    began: Instant,
    log_begins: u64,
    patience: Duration,
}

/// A run that another process is at.
struct Elsewhere<'a> {
    piece: &'a Piece,
    again: Instant,
    patience: Duration,
}

/// Makes runs in processes of their own, `jobs` at a time, and tells how each ended.
///
/// # Errors
/// What `told` returned, or [`Interrupted`], when all processes have saved their runs and ended.
pub(super) fn make(
    pieces: &[Piece],
    order: &Order,
    jobs: usize,
    told: &mut dyn FnMut(&Ended) -> Result<()>,
) -> Result<Vec<Ended>> {
    let _steps = Steps::new();
    let children = Children::default();
    let _leftovers = Leftovers::new({
        let children = Arc::clone(&children);
        move || lock(&children).values_mut().for_each(|child| drop(child.kill()))
    });
    let mut workers = Workers { order, children, under: BTreeMap::new(), elsewhere: Vec::new(), ended: Vec::new(), told };
    let made = workers.make(pieces.iter().collect(), jobs);
    // Whatever went wrong here, nothing goes on without us.
    workers.stop();
    made.map(|()| workers.ended)
}

struct Workers<'a, 'b> {
    order: &'b Order<'b>,
    children: Children,
    under: BTreeMap<usize, Under<'a>>,
    elsewhere: Vec<Elsewhere<'a>>,
    ended: Vec<Ended>,
    told: &'b mut dyn FnMut(&Ended) -> Result<()>,
}

impl<'a> Workers<'a, '_> {
    fn make(&mut self, mut queue: VecDeque<&'a Piece>, jobs: usize) -> Result<()> {
        let all = queue.len();
        loop {
            if interrupt::requested() {
                self.stop();
                let done = self.ended.iter().filter(|ended| ended.is_finished()).count();
                let what = format!(
                    "stopped; {done} of {all} runs have finished, those under way are saved, and the same command goes on"
                );
                return Err(anyhow::Error::new(Interrupted).context(what));
            }
            while self.under.len() < jobs {
                let Some((piece, patience)) =
                    queue.pop_front().map(|piece| (piece, PATIENCE[0])).or_else(|| self.left_to_others())
                else {
                    break;
                };
                self.begin(piece, patience)?;
            }
            self.look()?;
            if queue.is_empty() && self.under.is_empty() && self.elsewhere.is_empty() {
                return Ok(());
            }
            std::thread::sleep(PERIOD);
        }
    }

    /// A run that another process was at, when it is time to look again.
    fn left_to_others(&mut self) -> Option<(&'a Piece, Duration)> {
        let ready = self.elsewhere.iter().position(|elsewhere| elsewhere.again <= Instant::now())?;
        let Elsewhere { piece, patience, .. } = self.elsewhere.swap_remove(ready);
        Some((piece, (2 * patience).min(PATIENCE[1])))
    }

    /// Starts a process for a run, unless there is nothing to do.
    fn begin(&mut self, piece: &'a Piece, patience: Duration) -> Result<()> {
        match piece.state() {
            State::Finished => return self.end(piece, None, How::Before),
            State::Refused(error) => return self.end(piece, None, How::Failed { error, log: None }),
            State::New | State::Begun => {}
        }
        match start(piece, self.order) {
            Ok((child, log_begins)) => {
                lock(&self.children).insert(piece.index, child);
                self.under.insert(piece.index, Under { piece, began: Instant::now(), log_begins, patience });
                Ok(())
            }
            Err(error) => self.end(piece, None, How::Failed { error: message(&error), log: None }),
        }
    }

    /// Takes what has ended.
    fn look(&mut self) -> Result<()> {
        let mut over = Vec::new();
        for (index, child) in lock(&self.children).iter_mut() {
            if let Some(status) = child.try_wait().context("cannot wait for the process of a run")? {
                over.push((*index, status));
            }
        }
        for (index, status) in over {
            lock(&self.children).remove(&index);
            let Some(Under { piece, began, log_begins, patience }) = self.under.remove(&index) else { continue };
            let how = match status.code() {
                Some(0) => How::of_run(&piece.run),
                Some(code) if code == i32::from(TRY_AGAIN) => {
                    if patience == PATIENCE[0] {
                        say(&format!("{}: another process is at it, which is waited for", piece.name));
                    }
                    self.elsewhere.push(Elsewhere { piece, again: Instant::now() + patience, patience });
                    continue;
                }
                _ => {
                    let log = log(piece, self.order.runs);
                    let said = last_error(&log, log_begins);
                    How::Failed {
                        error: said.unwrap_or_else(|| format!("its process ended without a word ({status})")),
                        log: Some(log),
                    }
                }
            };
            self.end(piece, Some(began.elapsed().as_secs_f64()), how)?;
        }
        Ok(())
    }

    fn end(&mut self, piece: &Piece, seconds: Option<f64>, how: How) -> Result<()> {
        let ended = Ended { name: piece.name.clone(), run: piece.run.clone(), seconds, how };
        (self.told)(&ended)?;
        self.ended.push(ended);
        Ok(())
    }

    /// Has all processes save their runs and end: each does when its input ends.
    fn stop(&mut self) {
        lock(&self.children).values_mut().for_each(|child| drop(child.stdin.take()));
        // The lock is free in between, so that a second Ctrl-C can kill them.
        while !lock(&self.children).values_mut().all(|child| !matches!(child.try_wait(), Ok(None))) {
            std::thread::sleep(PERIOD);
        }
        lock(&self.children).clear();
        self.under.clear();
    }
}

/// Starts a process for a run; gives the bytes of its log before it, too.
fn start(piece: &Piece, order: &Order) -> Result<(Child, u64)> {
    let log = log(piece, order.runs);
    let folder = log.parent().expect("logs are in a folder");
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let context = || format!("cannot write the log {}", log.display());
    let file = File::options().create(true).append(true).open(&log).with_context(context)?;
    let begins = file.metadata().with_context(context)?.len();
    let mut command = this_program()?;
    command.args(order.arguments(piece)).arg("--stop-with-input").stdin(Stdio::piped());
    command.stdout(file.try_clone().with_context(context)?).stderr(file);
    if std::env::var_os(THREADS).is_none() {
        command.env(THREADS, order.threads.to_string());
    }
    // A Ctrl-C of the terminal is for this process, which passes it on once.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    Ok((command.spawn().context("cannot start a process for the run")?, begins))
}

fn log(piece: &Piece, runs: &Path) -> PathBuf {
    runs.join(LOGS).join(format!("{}.log", piece.name))
}

/// The error that a process said last, after so many bytes of its log.
fn last_error(log: &Path, begins: u64) -> Option<String> {
    let mut file = File::open(log).ok()?;
    file.seek(SeekFrom::Start(begins)).ok()?;
    let mut said = Vec::new();
    file.read_to_end(&mut said).ok()?;
    let said = String::from_utf8_lossy(&said);
    said.lines().rev().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned)
}

fn lock(children: &Children) -> MutexGuard<'_, BTreeMap<usize, Child>> {
    children.lock().unwrap_or_else(PoisonError::into_inner)
}
