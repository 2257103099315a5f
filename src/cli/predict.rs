//! `aaren predict`.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use aaren_agents::config::Execution;
use aaren_agents::jobs::Checkpoint;
use aaren_agents::play::SavedPolicy;
use aaren_agents::run::progress;
use aaren_agents::sequence::Predictor;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

/// Bytes of a line, at most.
const LONGEST_LINE: u64 = 1 << 24;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 18;

/// While rows keep coming, the state is written so often.
const WRITE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Folder of a run that learnt a task on sequences, of a checkpoint or of a saved model
    model: PathBuf,
    /// Checkpoint of the run, by its step [default: latest]
    #[arg(long, value_name = "STEP|latest|best")]
    checkpoint: Option<Checkpoint>,
    /// Where the stream is kept: it goes on from there if the file is there, which is written while rows come and in the end
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The rows begin with the first of the stream: those that --state has seen are passed over, so that the same command goes on where it
    /// was killed
    #[arg(long, requires = "state")]
    from_start: bool,
    /// How the model is run: token by token, or the whole window anew after every row [default: streaming, unless it needs windows]
    #[arg(long)]
    execution: Option<Execution>,
}

/// Reads rows from stdin, and prints a line of JSON for each.
///
/// # Errors
/// What is wrong with the model, the state or a row; the rows before it are answered, and kept in the state.
pub fn run(args: &PredictArgs) -> Result<()> {
    let saved = SavedPolicy::find(&args.model, |run| args.checkpoint.unwrap_or(Checkpoint::Latest).of(run))?;
    ensure!(args.checkpoint.is_none() || saved.run.is_some(), "--checkpoint: {} is no run; leave it out", args.model.display());
    let mut predictor = Predictor::open(&saved.folder, args.execution)?;
    let mut pass_over = 0;
    if let Some(path) = args.state.as_deref()
        && let Some(stored) = stored(path)?
    {
        predictor.restore(&stored).with_context(|| format!("--state {}", path.display()))?;
        progress::say(&format!("goes on after row {}", predictor.rows()));
        pass_over = if args.from_start { predictor.rows() } else { 0 };
    }
    let mut kept = Kept { path: args.state.as_deref(), written: Instant::now(), rows: predictor.rows(), file: None };
    // A state that cannot be written shows before the first row.
    kept.put(&predictor)?;
    answer(&mut predictor, kept, pass_over)
}

/// What a state's file holds; nothing where there is none.
fn stored(path: &Path) -> Result<Option<Vec<u8>>> {
    let found = fs::metadata(path).and_then(|found| if found.is_file() { fs::read(path).map(Some) } else { Ok(None) });
    match found {
        // Devices and pipes may have no end, and are no place to keep anything.
        Ok(None) => bail!("--state: {} is no regular file; name one, or one that is not there yet", path.display()),
        Ok(stored) => Ok(stored),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("--state: cannot read {}", path.display())),
    }
}

/// The file that a state is kept in.
struct Kept<'a> {
    path: Option<&'a Path>,
    written: Instant,
    /// Rows of the state that is written.
    rows: u64,
    /// The file as it was written: when, and its length.
    file: Option<(SystemTime, u64)>,
}

impl Kept<'_> {
    /// Writes the state if it is not the one that is written, or no file has it.
    fn write(&mut self, predictor: &Predictor) -> Result<()> {
        let Some(path) = self.path.filter(|path| predictor.rows() != self.rows || !path.exists()) else { return Ok(()) };
        let found = stamp(path).with_context(|| format!("--state: cannot read {}", path.display()))?;
        ensure!(
            found.is_none() || found == self.file,
            "--state: another process has written {} since row {}; a stream has one file, and a file one stream",
            path.display(),
            self.rows
        );
        self.put(predictor)
    }

    fn put(&mut self, predictor: &Predictor) -> Result<()> {
        let Some(path) = self.path else { return Ok(()) };
        predictor.keep(path).context("--state")?;
        (self.written, self.rows) = (Instant::now(), predictor.rows());
        self.file = stamp(path).with_context(|| format!("--state: cannot read {}", path.display()))?;
        Ok(())
    }
}

/// When a file was written, and its length; nothing where there is none.
fn stamp(path: &Path) -> std::io::Result<Option<(SystemTime, u64)>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((found.modified()?, found.len()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn answer(predictor: &mut Predictor, mut kept: Kept<'_>, mut pass_over: u64) -> Result<()> {
    let mut input = BufReader::with_capacity(BUFFER, std::io::stdin().lock());
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    let (mut line, mut number) = (Vec::new(), 0);
    let outcome = loop {
        line.clear();
        number += 1;
        let read = input.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut line).context("cannot read the rows on stdin");
        match read {
            Err(error) => break Err(error),
            Ok(0) if pass_over > 0 => {
                let seen = predictor.rows();
                break Err(anyhow!("--from-start: the input has {} rows, and --state has seen {seen}", seen - pass_over));
            }
            Ok(0) => break Ok(()),
            Ok(read) if read as u64 > LONGEST_LINE => {
                break Err(anyhow!("standard input, line {number}: longer than {LONGEST_LINE} bytes"));
            }
            Ok(_) => {}
        }
        let ended = line.strip_suffix(b"\n");
        if ended.is_none() && kept.path.is_some() {
            progress::say(&format!("line {number} has no line end; it is taken as if it had, and --state goes on after it"));
        }
        let text = ended.unwrap_or(&line);
        if pass_over > 0 {
            pass_over -= u64::from(predictor.pass(text));
            if pass_over == 0 && !predictor.has_seen_what_passed() {
                let seen = predictor.rows();
                break Err(anyhow!("--from-start: the first {seen} rows of the input are not those that --state has seen"));
            }
            continue;
        }
        match predictor.push(text) {
            Err(error) => break Err(error),
            Ok(None) => {}
            Ok(Some(prediction)) => {
                let written = serde_json::to_writer(&mut output, &prediction).map_err(std::io::Error::from);
                if !is_taken(written.and_then(|()| output.write_all(b"\n")))? {
                    return Ok(());
                }
            }
        }
        // What is said is said before the state says so: after a kill a row can be answered twice, and none is lost.
        let waits = input.buffer().is_empty();
        if waits || kept.path.is_some() && kept.written.elapsed() > WRITE_EVERY {
            if !is_taken(output.flush())? {
                return Ok(());
            }
            kept.write(predictor)?;
        }
    };
    if is_taken(output.flush())? {
        kept.write(predictor)?;
    }
    outcome
}

/// Whether what was written has a reader; that one has gone away is no error.
fn is_taken(written: std::io::Result<()>) -> Result<bool> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to stdout"),
    }
}
