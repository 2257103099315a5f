//! What a model reaches on sequences that it did not learn from.

use std::collections::BTreeMap;

use aaren_kernels::Dropout;
use aaren_policy::{Model, PolicyState, SequenceBatch, SequencePolicy, SequenceRows};
use anyhow::{Result, bail};
use burn::tensor::ElementConversion;

use super::task::{Lengths, Scorer, SequenceTask, Split, push};
use crate::config::Execution;
use crate::device::{CPU, Cpu};
use crate::run::report::{Better, EvaluationReport, Score, SequenceReport};

/// Tokens of a stream that are looked at together.
const PIECE: usize = 256;

/// Adds to a report what a model reaches: on the validation split, and in the end on the test split too, which chooses nothing.
///
/// - `batch`: sequences that are looked at together
/// - `execution`: by windows as it was trained, or token by token over the streams that windows are of
///
/// # Errors
/// If it is no model of sequences, or there are no such streams.
pub(crate) fn report(
    model: &Model<Cpu>,
    task: &dyn SequenceTask,
    batch: usize,
    execution: Execution,
    is_final: bool,
    report: &mut EvaluationReport,
) -> Result<()> {
    let Model::Sequence(policy) = model else { bail!("a policy that acts has no scores on sequences") };
    let of = |split: Split| match execution {
        Execution::Window => Ok(scores(policy, task, split, batch)),
        Execution::Streaming => stream_scores(policy, task, split),
    };
    let test = if is_final { of(Split::Test)? } else { Vec::new() };
    let baselines = if is_final { task.baselines(Split::Test) } else { Vec::new() };
    report.execution = if execution == Execution::Streaming { "streaming" } else { "whole sequences" }.into();
    report.sequences = Some(SequenceReport { validation: of(Split::Validation)?, test, baselines });
    Ok(())
}

/// The scores of a split, and last of all the training's loss on it.
pub fn scores(policy: &SequencePolicy<Cpu>, task: &dyn SequenceTask, split: Split, batch: usize) -> Vec<Score> {
    let mut of_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    if let Lengths::Each(lengths) = task.lengths(split) {
        lengths.iter().enumerate().for_each(|(sequence, length)| of_length.entry(*length).or_default().push(sequence));
    }
    let mut sum = Sum::new(policy, task);
    for (length, sequences) in of_length.iter().filter(|(length, _)| **length > 0) {
        for sequences in sequences.chunks(batch) {
            let mut rows = SequenceRows::default();
            sequences.iter().for_each(|sequence| push(task, &mut rows, split, *sequence, 0..*length, true));
            sum.add(&rows, sequences.len(), policy.network.initial_state(sequences.len(), &CPU));
        }
    }
    sum.scores()
}

/// The same where a model goes over the streams that the sequences of a split are windows of, token by token or many at once, with its state
/// carried on from the first token of a stream to the last.
///
/// # Errors
/// If there are no such streams.
pub fn stream_scores(policy: &SequencePolicy<Cpu>, task: &dyn SequenceTask, split: Split) -> Result<Vec<Score>> {
    let Some(streams) = task.streams(split) else {
        bail!(
            "the sequences of the task are no windows of a stream that could be looked at token by token: whole sequences are what it is \
             evaluated on (a table is one with task.scaling = \"running\" or \"dataset\")"
        );
    };
    let mut sum = Sum::new(policy, task);
    for (stream, &length) in streams.iter().enumerate() {
        let mut state = policy.network.initial_state(1, &CPU);
        for start in (0..length).step_by(PIECE) {
            let (mut rows, tokens) = (SequenceRows::default(), start..(start + PIECE).min(length));
            task.push_stream(&mut rows, split, stream, tokens.clone());
            rows.resets.extend(tokens.clone().map(|token| token == 0));
            rows.positions.extend(tokens);
            state = sum.add(&rows, 1, state);
        }
    }
    Ok(sum.scores())
}

/// Scores so far.
struct Sum<'a> {
    policy: &'a SequencePolicy<Cpu>,
    scorer: Box<dyn Scorer>,
    loss: f64,
    weight: f64,
}

impl<'a> Sum<'a> {
    fn new(policy: &'a SequencePolicy<Cpu>, task: &dyn SequenceTask) -> Self {
        Self { policy, scorer: task.scorer(), loss: 0.0, weight: 0.0 }
    }

    /// Looks at rows of one length, and gives the state after them.
    fn add(&mut self, rows: &SequenceRows, count: usize, state: PolicyState<Cpu>) -> PolicyState<Cpu> {
        let network = &self.policy.network;
        let tensors = SequenceBatch::new(rows, count, &self.policy.description.spec, &CPU);
        let (outputs, state) = network.forward(&tensors, state, Dropout::OFF);
        if !rows.due.is_empty() {
            let weight = f64::from(rows.weight());
            self.loss += weight * network.loss_of(outputs.clone(), &tensors).into_scalar().elem::<f64>();
            self.weight += weight;
            let outputs: Vec<f32> = outputs.into_data().to_vec().expect("models compute in f32");
            let width = outputs.len() / rows.due.len();
            outputs.chunks_exact(width).enumerate().for_each(|(due, output)| self.scorer.add(output, rows, due));
        }
        state
    }

    fn scores(&self) -> Vec<Score> {
        let value = self.loss / self.weight;
        let loss = Score { name: SequenceReport::LOSS.into(), condition: None, value, better: Better::Lower };
        self.scorer.scores().into_iter().chain([loss]).collect()
    }
}

/// The share of right classes: the likeliest counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassScorer {
    right: usize,
    all: usize,
}

impl Scorer for ClassScorer {
    fn add(&mut self, output: &[f32], rows: &SequenceRows, due: usize) {
        let likeliest = (0..output.len()).max_by(|&a, &b| output[a].total_cmp(&output[b]));
        self.right += usize::from(likeliest == Some(rows.classes[due] as usize));
        self.all += 1;
    }

    fn scores(&self) -> Vec<Score> {
        let value = self.right as f64 / self.all as f64;
        vec![Score { name: "accuracy".into(), condition: None, value, better: Better::Higher }]
    }
}
