//! Training on the task, and what is measured of a trained model.

use super::stack::Stack;
use super::task::{Examples, Mqar, Split};
use super::token_model::TokenModel;
use crate::measure::{Graph, Spread};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::optim::AdamW;
use aaren_envs::derive_seed;
use aaren_kernels::{Dropout, KernelBackend};
use anyhow::{Result, ensure};
use burn::backend::flex::FlexDevice;
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor, TensorData, activation};
use clap::Args;
use serde::Serialize;
use std::f64::consts::PI;
use std::time::{Duration, Instant};

/// PyTorch's value of Adam's epsilon, which the published runs use.
const ADAM_EPSILON: f64 = 1e-8;

/// The place of initial weights in the tree of seeds.
const WEIGHTS: u64 = 1;

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

    /// The learning rate of a step: linear from 0, then half a cosine to 0.
    fn learning_rate(&self, step: u64) -> f64 {
        let share = if step < self.warmup_steps {
            (step + 1) as f64 / self.warmup_steps as f64
        } else {
            let done = (step - self.warmup_steps) as f64 / (self.steps - self.warmup_steps) as f64;
            0.5 * (1.0 + (PI * done).cos())
        };
        self.learning_rate * share
    }
}

/// A model in training.
pub struct Trainer {
    model: TokenModel<Graph>,
    optimizer: AdamW<Graph, TokenModel<Graph>>,
    task: Mqar,
    recipe: Recipe,
    seed: u64,
    step: u64,
}

impl Trainer {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the stack does not check.
    pub fn new(stack: &Stack, task: &Mqar, recipe: &Recipe, seed: u64) -> Result<Self> {
        let weights = derive_seed(seed, &[WEIGHTS]);
        let model = TokenModel::new(&stack.config, task.vocabulary, stack.positions(task), weights, &CPU)?;
        let optimizer = AdamW::new(ADAM_EPSILON, recipe.weight_decay, Vec::new());
        Ok(Self { model, optimizer, task: *task, recipe: *recipe, seed, step: 0 })
    }

    /// One optimizer step on fresh examples; gives its loss, of which nothing is learnt if it is not finite.
    pub fn step(&mut self) -> f64 {
        let batch = self.recipe.batch as u64;
        let examples = self.task.examples(self.seed, Split::Train, self.step * batch..(self.step + 1) * batch);
        let logits = logits_of_answers(&self.model, &examples, self.task.length);
        let answers =
            Tensor::<Graph, 2, Int>::from_data(TensorData::new(examples.answers.clone(), [examples.answers.len(), 1]), &CPU);
        let loss = activation::log_softmax(logits, 1).gather(1, answers).mean().neg();
        let value = f64::from(loss.clone().into_scalar());
        if value.is_finite() {
            let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
            // Nothing is clipped.
            let factor = Tensor::ones([1], &CPU);
            self.model = self.optimizer.step(self.recipe.learning_rate(self.step), self.model.clone(), gradients, factor);
            self.step += 1;
        }
        value
    }

    /// The model as it is now.
    pub fn model(&self) -> TokenModel<Cpu> {
        self.model.valid()
    }
}

/// `[answers, vocabulary]`: what the model says where an answer is due.
fn logits_of_answers<B>(model: &TokenModel<B>, examples: &Examples, length: usize) -> Tensor<B, 2>
where
    B: KernelBackend<Device = FlexDevice>,
{
    let batch = examples.inputs.len() / length;
    let inputs = Tensor::<B, 2, Int>::from_data(TensorData::new(examples.inputs.clone(), [batch, length]), &CPU);
    let places = Tensor::<B, 1, Int>::from_data(TensorData::new(examples.places.clone(), [examples.places.len()]), &CPU);
    let (features, _) = model.forward(inputs, 0, model.initial_state(batch, &CPU), Dropout::OFF);
    model.logits(features.select(0, places))
}

/// The share of right answers among the first examples of the test split: the likeliest token of the whole vocabulary counts.
///
/// # Panics
/// If `count` or `batch` is 0.
pub fn accuracy(model: &TokenModel<Cpu>, task: &Mqar, seed: u64, count: usize, batch: usize) -> f64 {
    let mut right = 0;
    for start in (0..count).step_by(batch) {
        let examples = task.examples(seed, Split::Test, start as u64..count.min(start + batch) as u64);
        let logits: Vec<f32> = logits_of_answers(model, &examples, task.length).into_data().to_vec().expect("logits");
        // Every example has as many queries, so the mean over examples of their means is the mean over all.
        right += logits
            .chunks_exact(task.vocabulary)
            .zip(&examples.answers)
            .filter(|(row, answer)| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])) == Some(**answer as usize))
            .count();
    }
    right as f64 / (count * task.pairs) as f64
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
pub fn step_cost(model: &TokenModel<Cpu>, task: &Mqar) -> StepCost {
    let input = task.example(0, Split::Test, 0).input;
    let mut microseconds = Vec::new();
    let mut state_bytes = 0;
    let started = Instant::now();
    // Whole examples only, so that the early and the late tokens of an example count alike.
    while microseconds.is_empty() || started.elapsed() < WARM_UP + TIMED {
        let is_timed = started.elapsed() >= WARM_UP;
        let mut state = model.initial_state(1, &CPU);
        for (t, &token) in input.iter().enumerate() {
            let before = Instant::now();
            let token = Tensor::from_data(TensorData::new(vec![token], [1, 1]), &CPU);
            let (features, next) = model.forward(token, t, state, Dropout::OFF);
            std::hint::black_box(model.logits(features).into_data());
            state = next;
            if is_timed {
                microseconds.push(before.elapsed().as_secs_f64() * 1e6);
            }
        }
        state_bytes = state.bytes();
    }
    StepCost { microseconds: Spread::of(&microseconds), state_bytes }
}
