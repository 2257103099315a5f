//! The time of one optimizer step at the Decision Transformer's sizes and on whole episodes, beside PyTorch.

use crate::measure::{Column, Size, Spread, description, library, on_device, or_dash, parse_size, publish, table, with_threads};
use crate::peers::torch;
use crate::products;
use aaren_agents::config::{Device, Precision, TrainConfig};
use aaren_agents::device;
use aaren_agents::device::TrainBackend;
use aaren_agents::offline::DeviceBatch;
use aaren_agents::offline::Learner;
use aaren_agents::run::interrupt;
use aaren_agents::run::report::number;
use aaren_agents::session::Trained as _;
use aaren_policy::{ActionValue, Description, Timesteps};
use anyhow::Result;
use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use serde_json::json;
use std::{num::NonZeroUsize, path::Path, time::Instant};

/// Options of `aaren-bench train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Timed optimizer steps at each size
    #[arg(long, default_value = "20")]
    repeats: NonZeroUsize,
    /// Mixers to time; may be repeated
    #[arg(long = "mixer", default_values_t = ["aaren".to_owned(), "transformer".to_owned()])]
    mixers: Vec<String>,
    /// Threads for tensor operations; may be repeated
    #[arg(long = "threads", default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Batch and context in timesteps; may be repeated
    #[arg(long = "size", value_name = "BATCHxCONTEXT", value_parser = parse_size, default_values_t = [Size { batch: 64, context: 20 }, Size { batch: 4, context: 1000 }])]
    sizes: Vec<Size>,
    /// Where tensors live; `cpu` and `cuda` have a peer
    #[arg(long, default_value_t = Device::Cpu)]
    device: Device,
    /// What our dense layers multiply in
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
    /// Leave PyTorch out
    #[arg(long)]
    no_peer: bool,
    /// Have PyTorch compile its model
    #[arg(long)]
    peer_compile: bool,
    /// Have PyTorch compute in bfloat16 where its autocast allows it
    #[arg(long)]
    peer_bf16: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    size: Size,
    mixer: String,
    device: Device,
    precision: Precision,
    threads: usize,
    aaren_milliseconds: Spread,
    timesteps_per_second: f64,
    /// What the matrix products of the step would take alone, at the best rate that a product had in this run; of the processor only.
    products_milliseconds: Option<f64>,
    torch_milliseconds: Option<Spread>,
    /// Our median divided by PyTorch's: below 1 we are faster.
    ratio: Option<f64>,
}

/// Optimizer steps that are timed together on a GPU, because reading the clock waits for it.
const STEPS_TOGETHER: usize = 5;

const COLUMNS: &[Column<Row>] = &[
    ("batch x context", |row| row.size.to_string()),
    ("mixer", |row| row.mixer.clone()),
    ("device", |row| row.device.to_string()),
    ("precision", |row| row.precision.to_string()),
    ("threads", |row| row.threads.to_string()),
    ("aaren ms (min, max)", |row| row.aaren_milliseconds.to_string()),
    ("timesteps a second", |row| number(row.timesteps_per_second)),
    ("products alone, ms", |row| or_dash(row.products_milliseconds, number)),
    ("PyTorch ms (min, max)", |row| or_dash(row.torch_milliseconds, |spread| spread.to_string())),
    ("ratio", |row| or_dash(row.ratio, |ratio| format!("{ratio:.2}"))),
];

pub fn run(args: &TrainArgs, json: Option<&Path>) -> Result<()> {
    device::require(args.device, args.precision)?;
    let torch = if args.no_peer { None } else { torch::version(args.device) };
    if !args.no_peer && args.device != Device::Vulkan && torch.is_none() {
        tracing::warn!("PyTorch is not installed for python3 (or $PYTHON); its column stays empty");
    }
    let mut rows = Vec::new();
    for &size in &args.sizes {
        // A step on whole episodes takes seconds with PyTorch's Transformer.
        let repeats = args.repeats.get();
        let repeats = if size.batch * size.context > 2000 { repeats.div_ceil(4) } else { repeats };
        for mixer in &args.mixers {
            for &threads in &args.threads {
                interrupt::check()?;
                let ours = with_threads(
                    threads,
                    || on_device!(args.device, Trained => time_steps::<Trained>(description(mixer), size, args.precision, repeats)),
                )??;
                let products = match args.device {
                    Device::Cpu => {
                        Some(1e3 * products::operations(&description(mixer), size)? / with_threads(threads, products::best_rate)?)
                    }
                    _ => None,
                };
                let sizes = description(mixer).config;
                let options = torch::Options {
                    width: sizes.width,
                    layers: sizes.layers,
                    heads: sizes.heads,
                    device: args.device,
                    compile: args.peer_compile,
                    bf16: args.peer_bf16,
                };
                let theirs = torch.as_ref().map(|_| torch::train(mixer, size, threads, repeats, options)).transpose()?.flatten();
                rows.push(Row {
                    size,
                    mixer: mixer.clone(),
                    device: args.device,
                    precision: args.precision,
                    threads,
                    aaren_milliseconds: ours,
                    timesteps_per_second: (size.batch * size.context) as f64 / (ours.median / 1e3),
                    products_milliseconds: products,
                    torch_milliseconds: theirs,
                    ratio: theirs.map(|theirs| ours.median / theirs.median),
                });
            }
        }
    }
    let (shown, table) = (library("PyTorch", torch.as_ref()), table(&rows, 3, COLUMNS));
    let text = format!("{shown}; medians of one optimizer step, ratio below 1: aaren is faster\n{table}");
    publish(&json!({"torch": torch, "rows": rows}), &text, json)
}

/// Optimizer steps of a policy on random batches, after a warm-up.
pub fn time_steps<B: TrainBackend>(description: Description, size: Size, precision: Precision, repeats: usize) -> Result<Spread> {
    let config = TrainConfig { precision, warmup_steps: 1, ..TrainConfig::default() };
    let mut learner = Learner::<B>::new(description.clone(), &config, 1)?;
    let mut milliseconds = Vec::with_capacity(repeats);
    let steps = if B::IS_SYNCHRONOUS { 1 } else { STEPS_TOGETHER };
    let warm_up = 3;
    for repeat in 0..warm_up + repeats {
        let batches = (0..steps).map(|step| random_batch::<B>(&description, size, (repeat * steps + step) as u64));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let started = Instant::now();
        for batch in batches {
            learner.update(batch)?;
        }
        learner.read_metrics()?;
        if repeat >= warm_up {
            milliseconds.push(started.elapsed().as_secs_f64() * 1e3 / steps as f64);
        }
        interrupt::check()?;
    }
    Ok(Spread::of(&milliseconds))
}

/// Observations, actions and returns-to-go of no meaning.
pub fn random_batch<B: TrainBackend>(description: &Description, size: Size, seed: u64) -> Result<DeviceBatch<B>> {
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let (mut timesteps, mut actions) = (Timesteps::new(), Vec::new());
    for _ in 0..size.batch {
        for t in 0..size.context {
            let observation: Vec<f64> = (0..11).map(|_| generator.random_range(-1.0..1.0)).collect();
            let action: Vec<f32> = (0..3).map(|_| generator.random_range(-1.0..1.0)).collect();
            let action = ActionValue::Continuous(&action);
            timesteps.push(description, &observation, (t > 0).then_some(action), generator.random_range(0.0..3600.0), t, t == 0);
            description.action.encode(action, &mut actions);
        }
    }
    DeviceBatch::new(timesteps, actions, size.batch, description)
}
