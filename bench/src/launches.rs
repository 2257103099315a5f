//! What an optimizer step asks of a GPU: kernels launched, and memory. No times: a Vulkan driver in software gives the same answer.

use crate::measure::{Column, Size, description, parse_size, publish, table};
use crate::train::random_batch;
use aaren_agents::config::{Device, Precision, TrainConfig};
use aaren_agents::device;
use aaren_agents::device::TrainBackend;
use aaren_agents::offline::Learner;
use aaren_agents::run::interrupt;
use aaren_agents::session::Trained as _;
use aaren_kernels::KernelBackend;
use aaren_kernels::device::{Gpu, LaunchLog};
use anyhow::Result;
use burn::backend::Autodiff;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::{collections::BTreeMap, path::Path};

/// Options of `aaren-bench launches`.
#[derive(Debug, Args)]
pub struct LaunchesArgs {
    /// Where tensors live
    #[arg(long)]
    device: Device,
    /// Mixers; may be repeated
    #[arg(long = "mixer", default_values_t = ["aaren".to_owned(), "transformer".to_owned()])]
    mixers: Vec<String>,
    /// Batch and context in timesteps; may be repeated
    #[arg(long = "size", value_name = "BATCHxCONTEXT", value_parser = parse_size, default_values_t = [Size { batch: 64, context: 20 }, Size { batch: 4, context: 250 }, Size { batch: 4, context: 500 }])]
    sizes: Vec<Size>,
}

#[derive(Debug, Serialize)]
struct Row {
    mixer: String,
    size: Size,
    parameters: usize,
    launches: usize,
    /// Reserved after the step, for all that it held at once.
    memory_bytes: u64,
    kernels: BTreeMap<String, usize>,
}

const COLUMNS: &[Column<Row>] = &[
    ("mixer", |row| row.mixer.clone()),
    ("batch x context", |row| row.size.to_string()),
    ("launches a step", |row| row.launches.to_string()),
    ("memory MB", |row| format!("{:.1}", row.memory_bytes as f64 / 1e6)),
];

pub fn run(args: &LaunchesArgs, json: Option<&Path>) -> Result<()> {
    // Before anything is put on a device.
    let path = std::env::temp_dir().join(format!("aaren-launches-{}.log", std::process::id()));
    let result = match args.device {
        #[cfg(feature = "vulkan")]
        Device::Vulkan => run_on::<aaren_kernels::device::Vulkan>(args, LaunchLog::start(&path)?, json),
        #[cfg(feature = "cuda")]
        Device::Cuda => run_on::<aaren_kernels::device::Cuda>(args, LaunchLog::start(&path)?, json),
        device => anyhow::bail!("device {device}: launches are counted on GPUs"),
    };
    // Best effort: the file is in the folder for such files.
    let _ = std::fs::remove_file(path);
    result
}

fn run_on<B: KernelBackend + Gpu>(args: &LaunchesArgs, mut log: LaunchLog, json: Option<&Path>) -> Result<()>
where
    Autodiff<B>: TrainBackend + burn::tensor::backend::AutodiffBackend<InnerBackend = B>,
{
    device::require(args.device, Precision::F32)?;
    let mut rows = Vec::new();
    for mixer in &args.mixers {
        for &size in &args.sizes {
            interrupt::check()?;
            rows.push(count::<B>(mixer, size, &mut log)?);
        }
    }
    publish(&json!({"device": args.device, "rows": rows}), &shown(args.device, &rows), json)
}

fn count<B: KernelBackend + Gpu>(mixer: &str, size: Size, log: &mut LaunchLog) -> Result<Row>
where
    Autodiff<B>: TrainBackend,
{
    let device = Default::default();
    let config = TrainConfig { warmup_steps: 1, ..TrainConfig::default() };
    let description = description(mixer);
    let mut learner = Learner::<Autodiff<B>>::new(description.clone(), &config, 1)?;
    let batch = |step: u64| random_batch(&description, size, step);
    // The first step also tries kernels and makes the optimizer's moments.
    for step in 0..2 {
        learner.update(batch(step)?)?;
    }
    learner.read_metrics()?;
    B::release_memory(&device);
    let third = batch(2)?;
    let mut outcome = Ok(());
    let kernels = B::launches(log, &device, || outcome = learner.update(third))?;
    outcome?;
    learner.read_metrics()?;
    Ok(Row {
        mixer: mixer.to_owned(),
        size,
        parameters: learner.summary().parameters,
        launches: kernels.values().sum(),
        memory_bytes: B::memory(&device)?.reserved,
        kernels,
    })
}

/// The table, and the kernels of each mixer.
fn shown(device: Device, rows: &[Row]) -> String {
    let mut text = format!("device {device}\n{}", table(rows, 1, COLUMNS));
    // The same kernels at every size: those of the first will do.
    let mut seen = Vec::new();
    for row in rows {
        if !seen.contains(&&row.mixer) {
            seen.push(&row.mixer);
            let mut kernels: Vec<_> = row.kernels.iter().collect();
            kernels.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
            let list: Vec<String> = kernels.iter().map(|(name, count)| format!("{count} {name}")).collect();
            text += &format!("\n{}, {}: {}", row.mixer, row.size, list.join(", "));
        }
    }
    text
}
