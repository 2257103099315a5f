//! The dry run of a job that learns a task on sequences.

use aaren_kernels::Dropout;
use aaren_policy::{SequenceBatch, SequenceNetwork, SequenceRows, SequenceSpec};
use anyhow::Result;
use burn::module::Module;

use super::offline::parameters;
use super::plan::{Budget, EvaluationPlan, Memory, Plan, Schedule, Time};
use crate::config::{SequenceJob, caution, memory};
use crate::device::{CPU, Cpu};
use crate::offline::describe_sequences;
use crate::offline::sequences::trial_sequences;
use crate::sequence::{Lengths, Split, make, push};

/// What the training of a job would be.
///
/// # Errors
/// What the training would be refused for.
pub fn sequences(job: &SequenceJob) -> Result<Plan> {
    let task = make(&job.task, job.seed)?;
    let description = describe_sequences(job, &*task)?;
    caution(&task.odd(), job.strict)?;
    let network = SequenceNetwork::<Cpu>::new(&description, 0, &CPU)?;
    let all = network.num_params();
    let lengths = task.lengths(Split::Train);
    let longest = lengths.longest();
    // One that is as long.
    let sequence = (0..).find(|&sequence| lengths.of(sequence).is_none_or(|length| length == longest)).unwrap_or(0);
    let mut state_bytes = (0, 0);
    let mut state = network.initial_state(1, &CPU);
    for token in 0..longest {
        let mut rows = SequenceRows::default();
        push(&*task, &mut rows, Split::Train, sequence, token..token + 1, token == 0);
        state = network.forward(&SequenceBatch::new(&rows, 1, &description.spec, &CPU), state, Dropout::OFF).1;
        state_bytes = (if token == 0 { state.bytes() } else { state_bytes.0 }, state.bytes());
    }
    let made = trial_sequences(job, &task)?;
    let (train, per_update) = (&job.train, made.timesteps as u64);
    let timesteps = train.steps * per_update;
    let epochs = match &lengths {
        Lengths::Each(lengths) => timesteps as f64 / lengths.iter().sum::<usize>() as f64,
        Lengths::Fresh(_) => 0.0,
    };
    let SequenceSpec { numbers, vocabulary, loss, .. } = description.spec;
    let ids = if vocabulary > 0 { format!("one id of {vocabulary}") } else { "no id".into() };
    Ok(Plan {
        job: serde_json::to_value(job)?,
        mixer: job.policy.mixer_name(),
        tokens: Some(format!("tokens of {ids} and {numbers} numbers, outputs of {}", loss.width())),
        env: job.task.describe(),
        observation_width: numbers + usize::from(vocabulary > 0),
        action_width: loss.width(),
        parameters: parameters(network.backbone(), all, &job.policy)?,
        state_bytes,
        steps: longest,
        iterations: None,
        data: None,
        budget: Budget { updates: train.steps, timesteps_per_update: per_update, timesteps, epochs },
        schedule: Schedule::of(train),
        evaluation: EvaluationPlan::new((train.steps, 1, job.evaluation.every), (0, 0), Vec::new(), None),
        memory: Memory {
            parameters: 4 * all as u64,
            optimizer: if train.ema.is_some() { 16 } else { 12 } * all as u64,
            batch: 4 * per_update * (numbers as u64 + 3),
            activations: memory::activations(&job.policy, u128::from(per_update)) as u64
                / job.policy.tokens.per_timestep() as u64,
            states: (train.batch_size * state_bytes.1) as u64,
            machine: memory::there().map(|bytes| bytes as u64),
        },
        time: Time { update_seconds: made.seconds, decision_seconds: None, training_seconds: train.steps as f64 * made.seconds },
    })
}
