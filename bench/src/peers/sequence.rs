//! What the PyTorch peer of a task on sequences learns from, and what it reaches.

use std::fs::File;
use std::io::{BufWriter, Write};

use aaren_agents::config::SequenceJob;
use aaren_agents::run::report::Score;
use aaren_agents::sequence::{Lengths, SequenceTask, Split, push};
use aaren_policy::{SequenceDescription, SequenceRows};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::python::{figures, python};
use crate::measure::Spread;

const SCRIPT: &str = include_str!("sequence_peer.py");

/// All batches of a training, and those of the test split, as files: numbers in little-endian, and a list in JSON of what is where.
#[derive(Debug)]
pub struct Recording {
    folder: TempDir,
    numbers: BufWriter<File>,
    batches: Vec<Batch>,
    job: Value,
    spec: Value,
}

/// A batch in the file, whose arrays follow each other there.
#[derive(Debug, Serialize)]
struct Batch {
    split: &'static str,
    rows: usize,
    /// Of all rows together.
    tokens: usize,
    due: usize,
    /// Numbers of each array: numbers, ids, positions, resets, due, weights, classes, gains, targets, and three of each gap.
    arrays: [usize; 10],
    learning_rate: f64,
}

/// What the peer prints.
#[derive(Debug, Deserialize)]
pub struct Learnt {
    pub milliseconds: Spread,
    pub microseconds: Spread,
    pub scores: Vec<Score>,
}

impl Recording {
    /// Of no batch.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn new(job: &SequenceJob) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the batches")?;
        let file = File::create(folder.path().join("batches.bin")).context("cannot make a file for the batches")?;
        let (numbers, job) = (BufWriter::new(file), serde_json::to_value(job)?);
        Ok(Self { folder, numbers, batches: Vec::new(), job, spec: Value::Null })
    }

    /// Adds the batch of an optimizer step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn step(&mut self, rows: &SequenceRows, learning_rate: f64) -> Result<()> {
        let count = self.job["train"]["batch_size"].as_u64().unwrap_or(1) as usize;
        self.add("train", rows, count, learning_rate)
    }

    /// Adds the test split, in batches of one length.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn test(&mut self, task: &dyn SequenceTask, description: &SequenceDescription, batch: usize) -> Result<()> {
        self.spec = serde_json::to_value(&description.spec)?;
        let Lengths::Each(lengths) = task.lengths(Split::Test) else { return Ok(()) };
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&sequence| lengths[sequence]);
        for alike in order.chunk_by(|&a, &b| lengths[a] == lengths[b]) {
            for sequences in alike.chunks(batch) {
                let mut rows = SequenceRows::default();
                sequences.iter().for_each(|&sequence| push(task, &mut rows, Split::Test, sequence, 0..lengths[sequence], true));
                self.add("test", &rows, sequences.len(), 0.0)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, split: &'static str, rows: &SequenceRows, count: usize, learning_rate: f64) -> Result<()> {
        let ints = |numbers: &[usize]| numbers.iter().map(|number| *number as i32).collect::<Vec<_>>();
        let (positions, due) = (ints(&rows.positions), ints(&rows.due));
        let resets: Vec<i32> = rows.resets.iter().map(|reset| i32::from(*reset)).collect();
        let gaps: Vec<[f32; 3]> = rows.gaps.iter().map(|gap| gap.numbers()).collect();
        let arrays: [&[u8]; 10] = [
            bytemuck::cast_slice(&rows.numbers),
            bytemuck::cast_slice(&rows.ids),
            bytemuck::cast_slice(&positions),
            bytemuck::cast_slice(&resets),
            bytemuck::cast_slice(&due),
            bytemuck::cast_slice(&rows.weights),
            bytemuck::cast_slice(&rows.classes),
            bytemuck::cast_slice(&rows.gains),
            bytemuck::cast_slice(&rows.targets),
            bytemuck::cast_slice(&gaps),
        ];
        for array in arrays {
            self.numbers.write_all(array).context("cannot write the batches")?;
        }
        let (tokens, due, arrays) = (rows.len(), rows.due.len(), arrays.map(|array| array.len() / 4));
        self.batches.push(Batch { split, rows: count, tokens, due, arrays, learning_rate });
        Ok(())
    }
}

/// Has PyTorch learn what was recorded.
///
/// # Errors
/// If Python fails or prints something else than figures.
pub fn learn(mut recording: Recording, threads: usize) -> Result<Learnt> {
    recording.numbers.flush().context("cannot write the batches")?;
    let header = json!({"job": recording.job, "spec": recording.spec, "batches": recording.batches});
    let path = recording.folder.path().join("batches.json");
    std::fs::write(&path, header.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = python();
    command.arg("-").arg(recording.folder.path()).arg(threads.to_string()).env("OMP_NUM_THREADS", threads.to_string());
    figures("the PyTorch peer", &mut command, SCRIPT.as_bytes())
}
