//! What a model reaches on sequences that it did not learn from.

use std::collections::BTreeMap;

use aaren_kernels::Dropout;
use aaren_policy::{Model, SequenceBatch, SequencePolicy, SequenceRows};
use anyhow::{Result, bail};
use burn::tensor::ElementConversion;

use super::task::{Lengths, Scorer, SequenceTask, Split, push};
use crate::device::{CPU, Cpu};
use crate::run::report::{Better, EvaluationReport, Score, SequenceReport};

/// Adds to a report what a model reaches: on the validation split, and in the end on the test split too, which chooses nothing.
///
/// - `batch`: sequences that are looked at together
///
/// # Errors
/// If it is no model of sequences.
pub(crate) fn report(
    model: &Model<Cpu>,
    task: &dyn SequenceTask,
    batch: usize,
    is_final: bool,
    report: &mut EvaluationReport,
) -> Result<()> {
    let Model::Sequence(policy) = model else { bail!("a policy that acts has no scores on sequences") };
    let test = if is_final { scores(policy, task, Split::Test, batch) } else { Vec::new() };
    let baselines = if is_final { task.baselines(Split::Test) } else { Vec::new() };
    report.execution = "whole sequences".into();
    report.sequences = Some(SequenceReport { validation: scores(policy, task, Split::Validation, batch), test, baselines });
    Ok(())
}

/// The scores of a split, and last of all the training's loss on it.
pub fn scores(policy: &SequencePolicy<Cpu>, task: &dyn SequenceTask, split: Split, batch: usize) -> Vec<Score> {
    let mut of_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    if let Lengths::Each(lengths) = task.lengths(split) {
        lengths.iter().enumerate().for_each(|(sequence, length)| of_length.entry(*length).or_default().push(sequence));
    }
    let (mut scorer, mut sum, mut all) = (task.scorer(), 0.0, 0.0);
    for (length, sequences) in of_length.iter().filter(|(length, _)| **length > 0) {
        for sequences in sequences.chunks(batch) {
            let mut rows = SequenceRows::default();
            sequences.iter().for_each(|sequence| push(task, &mut rows, split, *sequence, 0..*length, true));
            if rows.due.is_empty() {
                continue;
            }
            let tensors = SequenceBatch::new(&rows, sequences.len(), &policy.description.spec, &CPU);
            let state = policy.network.initial_state(sequences.len(), &CPU);
            let (outputs, _) = policy.network.forward(&tensors, state, Dropout::OFF);
            let weight = f64::from(rows.weight());
            sum += weight * policy.network.loss_of(outputs.clone(), &tensors).into_scalar().elem::<f64>();
            all += weight;
            let outputs: Vec<f32> = outputs.into_data().to_vec().expect("models compute in f32");
            let width = outputs.len() / rows.due.len();
            outputs.chunks_exact(width).enumerate().for_each(|(due, output)| scorer.add(output, &rows, due));
        }
    }
    let loss = Score { name: SequenceReport::LOSS.into(), condition: None, value: sum / all, better: Better::Lower };
    scorer.scores().into_iter().chain([loss]).collect()
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
