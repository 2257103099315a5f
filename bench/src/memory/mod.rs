//! Tasks that need memory: every mixer trained with the same budget and about the same number of parameters, and played.

mod task;

use super::{Machine, publish, with_threads};
use aaren_agents::{
    config::JobConfig,
    device::{CPU, Cpu},
    offline::{data, train},
    play::{evaluate::median, spaces::action_spec},
    run::{
        RunDir,
        interrupt::{self, Interrupted},
        report::{self, EvaluationReport, TrainSummary, align_right, bytes, duration, number},
        write_json_atomically,
    },
};
use aaren_policy::{DecisionNetwork, Description, Normalizer, PolicyConfig};
use anyhow::{Context, Result, ensure};
use burn::module::Module;
use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::BTreeSet, io::Write, num::NonZeroUsize, path::PathBuf};
use task::MemoryTask;

/// Options of `aaren bench memory`.
///
/// Each cell is an ordinary job in a run folder of its own: a decision policy is trained on whole scripted episodes, one token a
/// timestep, and evaluated in the task by actor threads, streaming. All mixers have the same width, and about the same number of
/// parameters: the width of their feed-forward layers is chosen so that the number comes nearest to that of aaren with
/// feed-forward layers of four times the width. Ctrl-C keeps what is finished; the same command goes on from there.
#[derive(Debug, Args)]
pub struct MemoryArgs {
    /// Tasks, with a comma between, each with difficulties behind colons or its usual ones: for example tmaze:20:2000,repeat-previous:4.
    /// There are tmaze (corridor), repeat-previous (k), noisy-pendulum (noise), delayed-pendulum (steps from one payment to the next)
    /// and cart-pole (time limit)
    #[arg(long, value_name = "TASK[:DIFFICULTY..]", value_delimiter = ',', default_value = "tmaze,repeat-previous")]
    tasks: Vec<String>,
    /// Difficulties of a single task, with a comma between
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = task::difficulty)]
    difficulty: Vec<f64>,
    /// Mixers, with a comma between; several in turn are joined by + [default: all mixers and stacks]
    #[arg(long, value_name = "MIXER[+MIXER..]", value_delimiter = ',')]
    mixers: Vec<String>,
    /// Seeds 1 to N
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Optimizer steps
    #[arg(long, value_name = "N", default_value_t = 300)]
    steps: u64,
    /// Timesteps of a batch; as many whole episodes as fit, but at least four
    #[arg(long, value_name = "N", default_value_t = 2048)]
    batch: usize,
    /// AdamW's step size, after a tenth of the steps
    #[arg(long, default_value_t = 2e-3)]
    learning_rate: f64,
    /// Blocks; a stack of more mixers has as many as it needs
    #[arg(long, default_value = "2")]
    layers: NonZeroUsize,
    /// Width of the residual stream
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Attention heads, where there are some
    #[arg(long, default_value_t = 1)]
    heads: usize,
    /// Parameters to come near to [default: those of aaren]
    #[arg(long, value_name = "N")]
    parameters: Option<usize>,
    /// How often the scripted player of tmaze, repeat-previous and cart-pole does the right thing
    #[arg(long, value_name = "PROBABILITY", default_value_t = 1.0)]
    quality: f64,
    /// Episodes that a policy is judged by
    #[arg(long, value_name = "N", default_value_t = 100)]
    episodes: usize,
    /// Set one key of every job, for example --set policy.options.window.tokens=128
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// Threads for tensor operations, and actors; scores do not depend on it
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Folder of the run folders
    #[arg(long, value_name = "DIR", default_value = "runs/bench-memory")]
    runs: PathBuf,
    /// Also write the figures to this file; after every row
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Episodes of data, and the most timesteps that they may come to; there are always enough for a few batches of their own.
const DATA_EPISODES: usize = 1000;
const DATA_TIMESTEPS: usize = 400_000;
const LEAST_EPISODES: usize = 100;

/// Episodes of a batch at least, however long they are.
const LEAST_ROWS: usize = 4;

/// What one training with one seed came to.
#[derive(Debug, Serialize)]
struct Outcome {
    seed: u64,
    /// Mean return of the episodes; none where the training or the evaluation failed.
    score: Option<f64>,
    /// Their standard deviation.
    score_std: Option<f64>,
    /// Episodes that the time limit ended and the task did not.
    truncated: Option<usize>,
    final_loss: Option<f64>,
    /// Seconds of training.
    seconds: Option<f64>,
    tokens_per_second: Option<f64>,
    failure: Option<String>,
}

/// A mixer on a task.
#[derive(Debug, Serialize)]
struct Row {
    task: &'static str,
    difficulty: f64,
    mixer: String,
    layers: usize,
    width: usize,
    feed_forward: usize,
    parameters: usize,
    /// Rows and timesteps of a batch.
    batch: (usize, usize),
    outcomes: Vec<Outcome>,
    /// Median over seeds.
    tokens_per_second: Option<f64>,
    /// Acting for one environment: at the last of the measured steps, and how many they were.
    step_microseconds: Option<f64>,
    latency_steps: Option<usize>,
    state_bytes_first: Option<usize>,
    state_bytes_last: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Figures {
    machine: Machine,
    threads: usize,
    steps: u64,
    learning_rate: f64,
    episodes: usize,
    rows: Vec<Row>,
}

/// What will be trained, checked: the job of seed 1.
struct Plan {
    task: &'static MemoryTask,
    difficulty: f64,
    mixer: String,
    job: JobConfig,
    parameters: usize,
    /// Timesteps of a row.
    length: usize,
}

pub(super) fn run(args: &MemoryArgs) -> Result<()> {
    let plans = plans(args)?;
    let count = plans.len();
    let &MemoryArgs { threads, steps, learning_rate, episodes, .. } = args;
    let mut figures = Figures { machine: Machine::here(), threads, steps, learning_rate, episodes, rows: Vec::new() };
    for (index, plan) in plans.iter().enumerate() {
        match with_threads(args.threads, || measure(plan, args, (index + 1, count)))? {
            Ok(row) => figures.rows.push(row),
            // What was finished is not lost.
            Err(error) => {
                if !figures.rows.is_empty() {
                    publish(figures.render(), args.json.as_ref(), &figures)?;
                }
                let kept = format!("finished runs are in {}, the same command goes on from there", args.runs.display());
                return Err(if error.is::<Interrupted>() { error.context(kept) } else { error });
            }
        }
        if let Some(path) = &args.json {
            write_json_atomically(path, &figures)?;
        }
    }
    publish(figures.render(), args.json.as_ref(), &figures)
}

/// Everything that can be wrong with the arguments shows here, before anything is trained.
fn plans(args: &MemoryArgs) -> Result<Vec<Plan>> {
    for (option, value) in [("--seeds", args.seeds), ("--batch", args.batch as u64), ("--threads", args.threads as u64)] {
        ensure!(value > 0, "{option}: found 0, expected at least 1");
    }
    ensure!(!args.tasks.is_empty(), "--tasks: found none, expected at least one");
    let all = || aaren_policy::mixer::choices().into_iter().map(String::from).collect();
    let mixers: Vec<String> = if args.mixers.is_empty() { all() } else { args.mixers.clone() };
    let mut plans = Vec::new();
    for (task, difficulty) in task::selected(&args.tasks, &args.difficulty)? {
        let mut parameters = args.parameters;
        for mixer in &mixers {
            let context = || format!("{} at {} {} with {mixer}", task.name, task.difficulty, number(difficulty));
            let parameters = match parameters {
                Some(parameters) => parameters,
                None => *parameters.insert(usual_parameters(task, difficulty, args).with_context(context)?),
            };
            plans.push(plan(task, difficulty, mixer, parameters, args).with_context(context)?);
        }
    }
    let mut names = BTreeSet::new();
    for plan in &plans {
        ensure!(names.insert(plan.run_name(1)), "{} is asked for twice", plan.run_name(1));
    }
    Ok(plans)
}

/// Parameters of Aaren with feed-forward layers of the usual width.
fn usual_parameters(task: &MemoryTask, difficulty: f64, args: &MemoryArgs) -> Result<usize> {
    // Options are other mixers'.
    let overrides = args.overrides.iter().filter(|setting| !setting.starts_with("policy.options")).cloned().collect::<Vec<_>>();
    let (mut job, _) = job(task, difficulty, "aaren", &overrides, args)?;
    job.policy.feed_forward = 4 * args.width;
    parameters(&job)
}

/// The job of a mixer with the feed-forward width at which it comes nearest to a number of parameters.
fn plan(task: &'static MemoryTask, difficulty: f64, mixer: &str, wanted: usize, args: &MemoryArgs) -> Result<Plan> {
    let (mut job, length) = job(task, difficulty, mixer, &args.overrides, args)?;
    // The number is linear in the width.
    let mut with = |feed_forward: usize| {
        job.policy.feed_forward = feed_forward;
        parameters(&job)
    };
    let (least, next) = (with(1)?, with(2)?);
    let feed_forward = 1 + (wanted.saturating_sub(least) + (next - least) / 2) / (next - least);
    let parameters = with(feed_forward)?;
    Ok(Plan { task, difficulty, mixer: mixer.into(), job, parameters, length })
}

/// The job of seed 1, but for the width of the feed-forward layers; and the timesteps of its rows.
fn job(task: &MemoryTask, difficulty: f64, mixer: &str, overrides: &[String], args: &MemoryArgs) -> Result<(JobConfig, usize)> {
    let mut keys = task.keys(difficulty);
    let options = keys["env"]["options"].as_object().cloned().unwrap_or_default();
    let env = aaren_envs::make(keys["env"]["id"].as_str().unwrap_or_default(), &options)?;
    // The player walks straight; elsewhere episodes are as long as they may be.
    let length = match task.name {
        "tmaze" => difficulty as usize + 1,
        _ => env.spec().max_episode_steps.context("a task of the benchmark has a time limit")?,
    };
    let rows = (args.batch / length).max(LEAST_ROWS);
    let episodes = (DATA_TIMESTEPS / length).clamp(LEAST_EPISODES, DATA_EPISODES);
    let mixers: Vec<&str> = mixer.split('+').collect();
    let named = match &mixers[..] {
        [single] => json!({ "mixer": single }),
        several => json!({ "mixers": several }),
    };
    let blocks = PolicyConfig { mixer: mixers[0].into(), layers: 64, ..PolicyConfig::default() }.mixer_of_blocks();
    let distinct = blocks.map_or(1, |names| names.into_iter().collect::<BTreeSet<_>>().len()).max(mixers.len());
    lay(&mut keys, json!({"data": {"scripted": {"episodes": episodes}}, "policy": named}));
    lay(
        &mut keys,
        json!({
            "seed": 1,
            "policy": {
                "layers": if mixers.len() > 1 { args.layers.get().next_multiple_of(mixers.len()) } else { args.layers.get().max(distinct) },
                "width": args.width,
                "heads": args.heads,
                "feed_forward": args.width,
                "dropout": 0.0,
                "tokens": "merged",
                "max_timesteps": length,
            },
            "train": {
                "steps": args.steps,
                "batch_size": rows,
                "context_length": "episode",
                "row_length": length,
                "learning_rate": args.learning_rate,
                "warmup_steps": args.steps / 10,
                "gradient_clip": 1.0,
                "log_every": 10,
                "checkpoint_every": 100,
                "keep_checkpoints": 1,
            },
            "evaluation": {"episodes": args.episodes, "actors": args.threads, "envs_per_actor": args.episodes.clamp(1, 25)},
        }),
    );
    if task.takes_quality {
        lay(&mut keys, json!({"data": {"scripted": {"quality": args.quality}}}));
    }
    let job = JobConfig::parse(&keys.to_string(), overrides)?;
    Ok((job, length))
}

/// Lays an object over another, key by key.
fn lay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            over.into_iter().for_each(|(key, value)| lay(under.entry(key).or_insert(Value::Null), value));
        }
        (under, over) => *under = over,
    }
}

/// Trained numbers of a job's policy.
fn parameters(job: &JobConfig) -> Result<usize> {
    let env = aaren_envs::make(&job.env.id, &job.env.options)?;
    let description = Description {
        format: Description::FORMAT,
        config: job.policy.clone(),
        normalizer: Normalizer::identity(env.spec().observation_space.width()),
        action: action_spec(&env.spec().action_space),
        environment: Value::Null,
    };
    Ok(DecisionNetwork::<Cpu>::new(&description, 0, &CPU)?.num_params())
}

impl Plan {
    fn run_name(&self, seed: u64) -> String {
        format!("{}-{}-{}-{seed}", self.task.name, number(self.difficulty), self.mixer)
    }
}

fn measure(plan: &Plan, args: &MemoryArgs, (place, count): (usize, usize)) -> Result<Row> {
    let policy = &plan.job.policy;
    let mut row = Row {
        task: plan.task.name,
        difficulty: plan.difficulty,
        mixer: plan.mixer.clone(),
        layers: policy.layers,
        width: policy.width,
        feed_forward: policy.feed_forward,
        parameters: plan.parameters,
        batch: (plan.job.train.batch_size, plan.length),
        outcomes: Vec::new(),
        tokens_per_second: None,
        step_microseconds: None,
        latency_steps: None,
        state_bytes_first: None,
        state_bytes_last: None,
    };
    for seed in 1..=args.seeds {
        interrupt::check()?;
        let label = format!("{place}/{count} {}", plan.run_name(seed));
        let job = JobConfig { seed, ..plan.job.clone() };
        let outcome = match train_and_play(&job, &args.runs.join(plan.run_name(seed))) {
            Ok((summary, report)) => {
                let target = &report.targets[0];
                if let Some(latency) = &report.latency {
                    row.step_microseconds = Some(latency.last_microseconds);
                    row.latency_steps = Some(latency.steps);
                    row.state_bytes_first = Some(latency.state_bytes_first);
                    row.state_bytes_last = Some(latency.state_bytes_last);
                }
                say(&format!("{label}: score {}, {}", number(target.return_mean), duration(summary.wall_seconds)));
                Outcome {
                    seed,
                    score: Some(target.return_mean),
                    score_std: Some(target.return_std),
                    truncated: Some(target.truncated),
                    final_loss: Some(summary.final_loss),
                    seconds: Some(summary.wall_seconds),
                    tokens_per_second: Some(summary.timesteps_per_second),
                    failure: None,
                }
            }
            Err(error) if error.is::<Interrupted>() || error.is::<BegunOtherwise>() => return Err(error),
            Err(error) => {
                // One mixer that fails, say because its loss is not finite, is a result; the others go on.
                let failure = format!("{error:#}");
                say(&format!("{label}: {failure}"));
                Outcome {
                    seed,
                    score: None,
                    score_std: None,
                    truncated: None,
                    final_loss: None,
                    seconds: None,
                    tokens_per_second: None,
                    failure: Some(failure),
                }
            }
        };
        row.outcomes.push(outcome);
    }
    let speeds: Vec<f64> = row.outcomes.iter().filter_map(|outcome| outcome.tokens_per_second).collect();
    row.tokens_per_second = (!speeds.is_empty()).then(|| median(&speeds));
    Ok(row)
}

/// A line on stderr; a closed one is no reason to stop working.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A run folder of another command.
#[derive(Debug, thiserror::Error)]
#[error("choose another folder with --runs, or remove that run")]
struct BegunOtherwise;

/// Trains a job in its run folder and evaluates it, or goes on where that was stopped, or reads what came of it.
fn train_and_play(job: &JobConfig, folder: &std::path::Path) -> Result<(TrainSummary, EvaluationReport)> {
    if !folder.join("config.json").exists() {
        let dataset = data::trajectories(job)?;
        return train::train(job, dataset, &RunDir::create(folder, job)?, false);
    }
    let begun = RunDir::open(folder)?.config(&[])?;
    let differing = aaren_agents::run::differing_keys(&serde_json::to_value(&begun)?, &serde_json::to_value(job)?);
    if !differing.is_empty() {
        let context = format!("the run {} was begun with another {}", folder.display(), differing.join(" and "));
        return Err(anyhow::Error::new(BegunOtherwise).context(context));
    }
    if let (Some(summary), Some(report)) = (read(&folder.join("train.json"))?, read(&folder.join("evaluation.json"))?) {
        return Ok((summary, report));
    }
    let dataset = data::trajectories(job)?;
    train::train(job, dataset, &RunDir::resume(folder)?, true)
}

/// What a finished run left, if it is there.
fn read<T: DeserializeOwned>(path: &std::path::Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let context = || format!("cannot read {}", path.display());
    let text = std::fs::read(path).with_context(context)?;
    Ok(Some(serde_json::from_slice(&text).with_context(context)?))
}

impl Figures {
    fn render(&self) -> String {
        let mut text = format!(
            "{}, {} threads; {} optimizer steps, learning rate {}, {} episodes",
            self.machine.render(),
            self.threads,
            self.steps,
            self.learning_rate,
            self.episodes
        );
        for task in task::TASKS {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.task == task.name).collect();
            if !rows.is_empty() {
                text += &format!("\n\n{}: {}\n{}", task.name, task.score, table(task, &rows));
            }
        }
        text
    }
}

/// One task: a row a mixer, the score at each difficulty, and costs at the last.
fn table(task: &MemoryTask, rows: &[&Row]) -> comfy_table::Table {
    let (mut difficulties, mut mixers) = (Vec::new(), Vec::new());
    for row in rows {
        if !difficulties.contains(&row.difficulty) {
            difficulties.push(row.difficulty);
        }
        if !mixers.contains(&&row.mixer) {
            mixers.push(&row.mixer);
        }
    }
    let scores = difficulties.iter().map(|&difficulty| format!("{} {}", task.difficulty, number(difficulty)));
    let header: Vec<String> = ["mixer".into(), "parameters".into()]
        .into_iter()
        .chain(scores)
        .chain(["tokens a second", "µs a step", "state, first and last"].map(String::from))
        .collect();
    let mut table = report::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for mixer in mixers {
        let of_mixer: Vec<&&Row> = rows.iter().filter(|row| row.mixer == *mixer).collect();
        // Costs are those of the last difficulty that was measured.
        let Some(last) = of_mixer.last() else { continue };
        let cell =
            |difficulty: &f64| of_mixer.iter().find(|row| row.difficulty == *difficulty).map_or("".into(), |row| row.score());
        let or_none = |value: Option<String>| value.unwrap_or("-".into());
        let state = last.state_bytes_first.zip(last.state_bytes_last);
        table.add_row(
            [mixer.to_string(), last.parameters.to_string()]
                .into_iter()
                .chain(difficulties.iter().map(cell))
                .chain([
                    or_none(last.tokens_per_second.map(number)),
                    or_none(last.step_microseconds.map(number)),
                    or_none(state.map(|(first, last)| format!("{}, {}", bytes(first), bytes(last)))),
                ])
                .collect::<Vec<_>>(),
        );
    }
    align_right(&mut table, 1);
    table
}

impl Row {
    /// Mean over seeds, and the least and the most where there are several.
    fn score(&self) -> String {
        let found: Vec<f64> = self.outcomes.iter().filter_map(|outcome| outcome.score).collect();
        let failed = self.outcomes.len() - found.len();
        let mean = found.iter().sum::<f64>() / found.len().max(1) as f64;
        let (least, most) =
            found.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &x| (least.min(x), most.max(x)));
        let shown = |value: f64| if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        let score = match found.len() {
            0 => return "failed".into(),
            1 => shown(mean),
            _ => format!("{} ({}, {})", shown(mean), shown(least), shown(most)),
        };
        if failed > 0 { format!("{score}, {failed} failed") } else { score }
    }
}
