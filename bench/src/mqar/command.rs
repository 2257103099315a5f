//! Multi-query associative recall: every mixer trained with the same budget and about the same number of parameters.

use super::stack::{Sizes, Stack};
use super::training::{Recipe, StepCost, step_cost};
use crate::measure::{Column, mean_of_found, median, or_dash, processor_seconds, publish, table, with_threads, write};
use aaren_agents::config::Mqar;
use aaren_agents::offline::SequenceTrainer;
use aaren_agents::run::interrupt;
use aaren_agents::run::interrupt::Interrupted;
use aaren_agents::run::progress::watch;
use aaren_agents::run::report::{bytes, duration, number};
use aaren_agents::sequence::{MqarTask, Split, scores};
use aaren_policy::PolicyConfig;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use std::{io::Write, path::Path, time::Instant};

/// Options of `aaren-bench mqar`.
///
/// Keys and values are shown in pairs, then every key comes back and its value is due. All mixers learn from as many fresh examples in as
/// many optimizer steps. They have the same width, and about the same number of parameters: the width of their MLPs is chosen so
/// that the number comes nearest to that of short-conv+attention with MLPs of twice the width (it is 1 where the mixers alone have
/// more). Positions are learned where there is softmax attention (transformer, also called attention, and window), and nowhere else.
/// Ctrl-C keeps the rows that are finished. The file of --json is written after every row; it has learning curves.
#[derive(Debug, Args)]
pub struct MqarArgs {
    /// Mixers, with a comma between; one for all blocks, or as many in turn as are joined by +, with options behind colons: for
    /// example attention,short-conv+mamba:states=8 [default: all mixers and stacks, and all mixers under short-conv]
    #[arg(long, value_name = "MIXER[+MIXER..]", value_delimiter = ',')]
    mixers: Vec<String>,
    /// Tokens and pairs of an example, with a comma between sizes; four tokens a pair are the fewest
    #[arg(long, value_name = "T:N", value_delimiter = ',', value_parser = parse_size, default_value = "32:4")]
    sizes: Vec<(usize, usize)>,
    /// Tokens there are, more than an example has
    #[arg(long, default_value_t = 128)]
    vocabulary: usize,
    /// Fill examples up with random tokens rather than blanks
    #[arg(long)]
    noise: bool,
    /// Widths, with a comma between
    #[arg(long, value_delimiter = ',', default_value = "64")]
    width: Vec<usize>,
    /// Heads of mixers that have some
    #[arg(long, default_value_t = 2)]
    heads: usize,
    /// Blocks
    #[arg(long, default_value_t = 2)]
    layers: usize,
    /// Parameters to come near to [default: those of short-conv+attention]
    #[arg(long, value_name = "N")]
    parameters: Option<usize>,
    #[command(flatten)]
    recipe: Recipe,
    /// Seeds 1 to N
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Examples that accuracy is measured on, of seeds of their own
    #[arg(long, value_name = "N", default_value_t = 1000)]
    test_examples: usize,
    /// Steps between two measurements of accuracy
    #[arg(long, value_name = "N", default_value_t = 100)]
    every: u64,
    /// Threads for tensor operations; figures of accuracy do not depend on it
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once(':').and_then(|(length, pairs)| Some((length.parse().ok()?, pairs.parse().ok()?)));
    parts.ok_or_else(|| "expected tokens and pairs, for example 64:4".into())
}

/// From this accuracy on the task counts as solved.
const SOLVED: f64 = 0.99;

/// A training with one seed.
#[derive(Debug, Default, Serialize)]
struct Training {
    seed: u64,
    /// After the last step; none if a loss was not finite.
    accuracy: Option<f64>,
    /// Steps, mean loss since the last point, and accuracy.
    curve: Vec<(u64, f64, f64)>,
    /// Optimizer steps after which a loss was not finite.
    diverged_after: Option<u64>,
    /// Without measurements.
    seconds: f64,
    tokens_per_second: f64,
    /// The same of processor time, which is less disturbed by other work on the machine; with one thread only, where it can be read.
    tokens_per_processor_second: Option<f64>,
}

impl Training {
    /// The first step at which accuracy was measured to be enough.
    fn solved_at(&self) -> Option<u64> {
        self.curve.iter().find(|(.., accuracy)| *accuracy >= SOLVED).map(|(step, ..)| *step)
    }
}

#[derive(Debug, Serialize)]
struct Row {
    mixers: String,
    task: Mqar,
    config: PolicyConfig,
    parameters: usize,
    trainings: Vec<Training>,
    /// Median over seeds.
    tokens_per_second: f64,
    tokens_per_processor_second: Option<f64>,
    /// One token of one sequence.
    step: StepCost,
}

#[derive(Debug, Serialize)]
struct Figures {
    threads: usize,
    recipe: Recipe,
    test_examples: usize,
    rows: Vec<Row>,
}

/// What will be trained, all of it checked.
struct Plan {
    task: Mqar,
    stack: Stack,
}

pub fn run(args: &MqarArgs, json: Option<&Path>) -> Result<()> {
    let plans = plans(args)?;
    let count = plans.len();
    let &MqarArgs { threads, recipe, test_examples, .. } = args;
    let mut figures = Figures { threads, recipe, test_examples, rows: Vec::new() };
    for (index, plan) in plans.into_iter().enumerate() {
        match with_threads(args.threads, || measure(plan, args, (index + 1, count)))? {
            Ok(row) => figures.rows.push(row),
            // What was finished is not lost.
            Err(error) if error.is::<Interrupted>() && !figures.rows.is_empty() => {
                publish(&figures, &figures.render(), json)?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        write(&figures, json)?;
    }
    publish(&figures, &figures.render(), json)
}

/// Everything that can be wrong shows here, before anything is allocated.
fn plans(args: &MqarArgs) -> Result<Vec<Plan>> {
    args.recipe.check()?;
    for (option, value) in [
        ("--seeds", args.seeds),
        ("--every", args.every),
        ("--test-examples", args.test_examples as u64),
        ("--threads", args.threads as u64),
    ] {
        ensure!(value > 0, "{option}: found 0, expected at least 1");
    }
    let names = if args.mixers.is_empty() { Stack::all_names() } else { args.mixers.clone() };
    let mut plans = Vec::new();
    for &width in &args.width {
        let sizes = Sizes { layers: args.layers, width, heads: args.heads };
        for &(length, pairs) in &args.sizes {
            let (vocabulary, noise, test_examples) = (args.vocabulary, args.noise, args.test_examples);
            let task = Mqar { vocabulary, length, pairs, noise, test_examples, ..Mqar::default() };
            task.check().with_context(|| format!("--sizes {length}:{pairs}"))?;
            for name in &names {
                let stack = Stack::new(name, &task, sizes).with_context(|| format!("--mixers {name}"))?;
                plans.push(Plan { task, stack });
            }
        }
    }
    Ok(plans)
}

fn measure(plan: Plan, args: &MqarArgs, (place, count): (usize, usize)) -> Result<Row> {
    let Plan { task, stack } = plan;
    let PolicyConfig { layers, width, heads, .. } = stack.config;
    let parameters = match args.parameters {
        Some(parameters) => parameters,
        None => Stack::usual_parameters(&task, Sizes { layers, width, heads })?,
    };
    let stack = stack.with_parameters(parameters, &task)?;
    let mut trainings = Vec::new();
    let mut step = None;
    for seed in 1..=args.seeds {
        let label = format!("{place}/{count} {} T={} n={} width {width} seed {seed}", stack.name, task.length, task.pairs);
        let mut trainer = SequenceTrainer::new(&args.recipe.job(&stack, &task, seed))?;
        let training = train(&mut trainer, &task, args, seed, &label)?;
        let result = match (training.accuracy, training.diverged_after) {
            (Some(accuracy), _) => format!("accuracy {accuracy:.3}"),
            (None, after) => format!("diverged after {} steps", after.unwrap_or_default()),
        };
        // A closed stderr is no reason to stop working.
        let _ = writeln!(std::io::stderr(), "{label}: {result}, {}", duration(training.seconds));
        trainings.push(training);
        if seed == 1 {
            step = Some(step_cost(&trainer.policy(), &task));
        }
    }
    let speeds: Vec<f64> = trainings.iter().map(|training| training.tokens_per_second).collect();
    let processor_speeds: Option<Vec<f64>> = trainings.iter().map(|training| training.tokens_per_processor_second).collect();
    Ok(Row {
        mixers: stack.name.clone(),
        task,
        parameters: stack.parameters(&task)?,
        config: stack.config,
        trainings,
        tokens_per_second: median(&speeds),
        tokens_per_processor_second: processor_speeds.map(|speeds| median(&speeds)),
        step: step.expect("there is a first seed"),
    })
}

fn train(trainer: &mut SequenceTrainer, task: &Mqar, args: &MqarArgs, seed: u64, label: &str) -> Result<Training> {
    let recipe = &args.recipe;
    let progress = watch(recipe.steps, label);
    let mut training = Training { seed, ..Training::default() };
    let (mut losses, mut made) = (0.0, 0);
    let mut processor_time = (args.threads == 1).then_some(0.0);
    for step in 1..=recipe.steps {
        interrupt::check()?;
        let (started, before) = (Instant::now(), processor_seconds());
        let loss = trainer.step().unwrap_or_else(|error| {
            tracing::debug!("{error:#}");
            f64::NAN
        });
        training.seconds += started.elapsed().as_secs_f64();
        processor_time = processor_time.map(|sum| sum + processor_seconds() - before);
        if !loss.is_finite() {
            training.diverged_after = Some(step - 1);
            break;
        }
        (losses, made) = (losses + loss, made + 1);
        progress(step, format!("loss {loss:.3}"));
        if step % args.every == 0 || step == recipe.steps {
            let of_seed = MqarTask { config: *task, seed };
            let accuracy = scores(&trainer.policy(), &of_seed, Split::Test, recipe.batch)[0].value;
            training.curve.push((step, losses / f64::from(made), accuracy));
            training.accuracy = (step == recipe.steps).then_some(accuracy);
            (losses, made) = (0.0, 0);
        }
    }
    let steps = training.diverged_after.map_or(recipe.steps, |after| after + 1);
    let tokens = (steps as usize * recipe.batch * task.length) as f64;
    training.tokens_per_second = tokens / training.seconds;
    training.tokens_per_processor_second = processor_time.map(|seconds| tokens / seconds);
    Ok(training)
}

impl Row {
    fn accuracy(&self) -> String {
        mean_of_found(self.trainings.iter().map(|training| training.accuracy), "diverged", |value| format!("{value:.3}"))
    }

    fn solved_at(&self) -> String {
        let steps = self.trainings.iter().map(|training| or_dash(training.solved_at(), |step| step.to_string()));
        steps.collect::<Vec<_>>().join(", ")
    }
}

impl Figures {
    fn render(&self) -> String {
        let columns: [Column<Row>; 13] = [
            ("mixers", |row| row.mixers.clone()),
            ("T", |row| row.task.length.to_string()),
            ("n", |row| row.task.pairs.to_string()),
            ("1/n", |row| number(1.0 / row.task.pairs as f64)),
            ("width", |row| row.config.width.to_string()),
            ("MLP", |row| row.config.feed_forward.to_string()),
            ("parameters", |row| row.parameters.to_string()),
            ("accuracy", Row::accuracy),
            ("0.99 at step", Row::solved_at),
            ("tokens a second", |row| format!("{:.0}", row.tokens_per_second)),
            ("of processor time", |row| or_dash(row.tokens_per_processor_second, |speed| format!("{speed:.0}"))),
            ("µs a step", |row| number(row.step.microseconds.median)),
            ("state", |row| bytes(row.step.state_bytes)),
        ];
        let table = table(&self.rows, 1, &columns);
        let Recipe { steps, batch, learning_rate, .. } = self.recipe;
        format!(
            "{} threads\nassociative recall, {steps} steps of {batch} examples, learning rate {learning_rate}; a guess among an \
             example's values is right in 1/n\n{table}",
            self.threads
        )
    }
}
