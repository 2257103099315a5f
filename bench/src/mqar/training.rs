//! How stacks are trained on the task, and what is measured of a trained model.

use super::stack::Stack;
use crate::measure::Spread;
use aaren_agents::config::{
    ContextLength, Device, JudgeConfig, LearningRateSchedule, LogConfig, Mqar, SequenceJob, TaskConfig, TrainConfig,
};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::sequence::{MqarTask, Split, push};
use aaren_policy::{SequencePolicy, SequenceRows, Stream};
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How a model is trained.
#[derive(Args, Clone, Copy, Debug, Serialize)]
pub struct Recipe {
    /// Optimizer steps
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub steps: u64,
    /// Examples of a step, fresh ones each time
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub batch: usize,
    /// The largest learning rate of AdamW
    #[arg(long, default_value_t = 3e-3)]
    pub learning_rate: f64,
    /// Steps until it is reached; then it falls to 0 as half a cosine
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub warmup_steps: u64,
    /// AdamW's weight decay, of all parameters
    #[arg(long, default_value_t = 0.1)]
    pub weight_decay: f64,
}

impl Recipe {
    /// Whether the numbers make a training.
    ///
    /// # Errors
    /// Names the option that does not.
    pub fn check(&self) -> Result<()> {
        let &Self { steps, batch, learning_rate, warmup_steps, weight_decay } = self;
        ensure!(steps > 0, "--steps: found 0, expected at least 1");
        ensure!(
            warmup_steps < steps,
            "--warmup-steps: found {warmup_steps}, expected fewer than the {steps} steps of the training (--steps)"
        );
        ensure!(batch > 0, "--batch: found 0, expected at least 1");
        let is_positive = |number: f64| number.is_finite() && number > 0.0;
        ensure!(is_positive(learning_rate), "--learning-rate: found {learning_rate}, expected a positive number");
        ensure!(
            weight_decay == 0.0 || is_positive(weight_decay),
            "--weight-decay: found {weight_decay}, expected a number of at least 0"
        );
        Ok(())
    }

    /// The job that trains a stack so.
    pub fn job(&self, stack: &Stack, task: &Mqar, seed: u64) -> SequenceJob {
        let &Self { steps, batch, learning_rate, warmup_steps, weight_decay } = self;
        SequenceJob {
            seed,
            strict: false,
            device: Device::Cpu,
            task: TaskConfig::Mqar(*task),
            policy: stack.config.clone(),
            train: TrainConfig {
                steps,
                batch_size: batch,
                context_length: ContextLength::Episode,
                learning_rate,
                warmup_steps,
                weight_decay,
                schedule: LearningRateSchedule::Cosine,
                // Nothing is clipped.
                gradient_clip: 1e30,
                ..TrainConfig::default()
            },
            evaluation: JudgeConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// What it takes to go through an example token by token.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepCost {
    /// Over all tokens.
    pub microseconds: Spread,
    /// After the last token.
    pub state_bytes: usize,
}

/// How long steps are made before any is timed, and then timed.
const WARM_UP: Duration = Duration::from_millis(100);
const TIMED: Duration = Duration::from_millis(300);

/// Steps through test examples, one token at a time.
pub fn step_cost(policy: &SequencePolicy<Cpu>, task: &Mqar) -> StepCost {
    let source = MqarTask { config: *task, seed: 0 };
    let of_token = |token: usize| {
        let mut rows = SequenceRows::default();
        push(&source, &mut rows, Split::Test, 0, token..token + 1, token == 0);
        rows
    };
    let tokens: Vec<SequenceRows> = (0..task.length).map(of_token).collect();
    let mut microseconds = Vec::new();
    let mut state_bytes = 0;
    let started = Instant::now();
    // Whole examples only, so that the early and the late tokens of an example count alike.
    while microseconds.is_empty() || started.elapsed() < WARM_UP + TIMED {
        let is_timed = started.elapsed() >= WARM_UP;
        let mut stream = Stream::new(policy.clone(), CPU);
        for token in &tokens {
            let before = Instant::now();
            std::hint::black_box(stream.push(token));
            if is_timed {
                microseconds.push(before.elapsed().as_secs_f64() * 1e6);
            }
        }
        state_bytes = stream.state().bytes();
    }
    StepCost { microseconds: Spread::of(&microseconds), state_bytes }
}
