//! A task on sequences, learnt here and by PyTorch from the very same batches: what an optimizer step and an answer take, and what both
//! reach on the test split.

use crate::measure::{Column, Spread, library, or_dash, publish, table, with_threads};
use crate::peers::sequence::{self as peer, Recording};
use crate::peers::torch;
use aaren_agents::config::{Changes, Device, Job, SequenceJob};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::offline::SequenceTrainer;
use aaren_agents::run::interrupt;
use aaren_agents::run::report::{Score, number};
use aaren_agents::sequence::{Lengths, SequenceTask, Split, push, scores};
use aaren_policy::{SequencePolicy, SequenceRows, Stream};
use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Answers that are timed.
const ANSWERS: usize = 200;

/// Options of `aaren-bench sequence`.
#[derive(Debug, Args)]
pub struct SequenceArgs {
    /// Jobs with a task on sequences, each laid over those before it
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// Threads for tensor operations
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Leave PyTorch out
    #[arg(long)]
    no_peer: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    /// Of an optimizer step.
    milliseconds: Spread,
    /// Of an answer when the whole sequence is looked at anew.
    whole_microseconds: Spread,
    /// Of an answer to one token more, the state carried.
    stream_microseconds: Option<Spread>,
    /// On the test split, the loss last.
    scores: Vec<Score>,
}

const COLUMNS: &[Column<Row>] = &[
    ("", |row| row.what.into()),
    ("ms a step (min, max)", |row| row.milliseconds.to_string()),
    ("us an answer, whole", |row| row.whole_microseconds.to_string()),
    ("us an answer, stream", |row| or_dash(row.stream_microseconds, |spread| spread.to_string())),
    ("test", |row| {
        let headlines = row.scores.iter().filter(|score| score.condition.is_none());
        headlines.map(|score| format!("{} {}", score.name, number(score.value))).collect::<Vec<_>>().join(", ")
    }),
];

pub fn run(args: &SequenceArgs, json: Option<&Path>) -> Result<()> {
    let Job::Sequence(job) = Job::load(&args.files, &args.changes)? else {
        bail!("the job has no task on sequences (`task`); `aaren-bench train` is for policies");
    };
    ensure!(
        job.train.shards == 1,
        "train.shards: found {}, and the peer learns from whole batches; expected 1",
        job.train.shards
    );
    let torch = if args.no_peer { None } else { torch::version(Device::Cpu) };
    if !args.no_peer && torch.is_none() {
        tracing::warn!("PyTorch is not installed for python3 (or $PYTHON); its row stays away");
    }
    let mut recording = torch.as_ref().map(|_| Recording::new(&job)).transpose()?;
    let ours = with_threads(args.threads, || learn(&job, recording.as_mut()))??;
    let theirs = recording.map(|recording| peer::learn(recording, args.threads)).transpose()?;
    let theirs = theirs.map(|theirs| Row {
        what: "PyTorch",
        milliseconds: theirs.milliseconds,
        whole_microseconds: theirs.microseconds,
        stream_microseconds: None,
        scores: theirs.scores,
    });
    let ratio = theirs.as_ref().map(|theirs| ours.milliseconds.median / theirs.milliseconds.median);
    let rows: Vec<Row> = [Some(ours), theirs].into_iter().flatten().collect();
    let (shown, table) = (library("PyTorch", torch.as_ref()), table(&rows, 1, COLUMNS));
    let beside = or_dash(ratio, |ratio| format!("{ratio:.2}"));
    let (steps, mixer) = (job.train.steps, job.policy.mixer_name());
    let text = format!(
        "{mixer}, {steps} steps, {} threads; {shown}; ratio of steps, below 1 aaren is faster: {beside}\n{table}",
        args.threads
    );
    publish(&json!({"torch": torch, "job": job, "threads": args.threads, "ratio": ratio, "rows": rows}), &text, json)
}

/// Learns, and records what is learnt from.
fn learn(job: &SequenceJob, mut recording: Option<&mut Recording>) -> Result<Row> {
    let mut trainer = SequenceTrainer::new(job)?;
    let mut milliseconds = Vec::new();
    for _ in 0..job.train.steps {
        interrupt::check()?;
        if let Some(recording) = recording.as_deref_mut() {
            recording.step(&trainer.batch()[0], trainer.learning_rate())?;
        }
        let started = Instant::now();
        trainer.step()?;
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (policy, task) = (trainer.policy(), trainer.task());
    if let Some(recording) = recording {
        recording.test(task, &policy.description, job.train.batch_size)?;
    }
    let (whole_microseconds, stream_microseconds) = time_answers(&policy, task);
    Ok(Row {
        what: "aaren",
        milliseconds: Spread::of(&milliseconds),
        whole_microseconds,
        stream_microseconds: Some(stream_microseconds),
        scores: scores(&policy, task, Split::Test, job.train.batch_size),
    })
}

/// Microseconds of an answer: to whole sequences of the test split, and to one token more.
fn time_answers(policy: &SequencePolicy<Cpu>, task: &dyn SequenceTask) -> (Spread, Spread) {
    let lengths = match task.lengths(Split::Test) {
        Lengths::Each(lengths) => lengths,
        Lengths::Fresh(length) => vec![length; ANSWERS],
    };
    let mut stream = Stream::new(policy.clone(), CPU);
    let (mut whole, mut pushed) = (Vec::new(), Vec::new());
    for (sequence, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0).take(ANSWERS) {
        let tokens = |range: std::ops::Range<usize>| {
            let (mut rows, begins) = (SequenceRows::default(), range.start == 0);
            push(task, &mut rows, Split::Test, sequence, range, begins);
            rows
        };
        let rows = tokens(0..length);
        let started = Instant::now();
        std::hint::black_box(stream.ask(&rows));
        whole.push(started.elapsed().as_secs_f64() * 1e6);
        stream.begin();
        for token in 0..length.min(ANSWERS.div_ceil(lengths.len()).max(4)) {
            let rows = tokens(token..token + 1);
            let started = Instant::now();
            std::hint::black_box(stream.push(&rows));
            pushed.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    (Spread::of(&whole), Spread::of(&pushed))
}
