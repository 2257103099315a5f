//! The time of one optimizer step at the Decision Transformer's sizes and on whole episodes, beside PyTorch.

use super::{Machine, description, peer, publish, with_threads};
use aaren_agents::{
    config::{Device, TrainConfig},
    device::{self, Graph, TrainBackend},
    offline::{
        learner::{Learner, Prepared},
        segments::Batch,
    },
    play::evaluate::median,
    run::{
        interrupt,
        report::{self, align_right, number},
    },
};
use aaren_policy::{ActionValue, Description, Timesteps};
use anyhow::Result;
use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use std::{num::NonZeroUsize, path::PathBuf, time::Instant};

/// Options of `aaren bench train`.
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
    /// Leave PyTorch out
    #[arg(long)]
    no_peer: bool,
    /// Have PyTorch compile its model
    #[arg(long)]
    peer_compile: bool,
    /// Have PyTorch compute in bfloat16 where it deems that safe
    #[arg(long)]
    peer_bf16: bool,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Size {
    pub batch: usize,
    pub context: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.batch, self.context)
    }
}

pub(super) fn parse_size(text: &str) -> Result<Size, String> {
    let parts = text.split_once('x').and_then(|(batch, context)| Some((batch.parse().ok()?, context.parse().ok()?)));
    let size = parts.map(|(batch, context)| Size { batch, context }).filter(|size| size.batch > 0 && size.context > 0);
    let size = size.ok_or("expected a batch and a context, for example 64x20")?;
    // As many timesteps as a job may ask for.
    match size.batch.checked_mul(size.context) {
        Some(timesteps) if timesteps <= 1 << 40 => Ok(size),
        _ => Err("no machine has memory for so many timesteps".into()),
    }
}

/// Milliseconds of an optimizer step.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    size: Size,
    mixer: String,
    device: Device,
    threads: usize,
    aaren_milliseconds: Spread,
    timesteps_per_second: f64,
    torch_milliseconds: Option<Spread>,
    /// Our median divided by PyTorch's: below 1 we are faster.
    ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Figures {
    machine: Machine,
    torch: Option<String>,
    rows: Vec<Row>,
}

/// Optimizer steps between two looks at the clock on a card, where a look waits for the card.
const STEPS_A_LOOK: usize = 5;

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    device::require(args.device)?;
    let torch = if args.no_peer || args.device == Device::Vulkan { None } else { peer::version() };
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
                let ours = with_threads(threads, || time(args.device, mixer, size, repeats))??;
                let theirs = match &torch {
                    Some(_) => {
                        let options = peer::Options { device: args.device, compile: args.peer_compile, bf16: args.peer_bf16 };
                        peer::train(mixer, size.batch, size.context, threads, repeats, options)?
                    }
                    None => None,
                };
                rows.push(Row {
                    size,
                    mixer: mixer.clone(),
                    device: args.device,
                    threads,
                    aaren_milliseconds: ours,
                    timesteps_per_second: (size.batch * size.context) as f64 / (ours.median / 1e3),
                    torch_milliseconds: theirs,
                    ratio: theirs.map(|theirs| ours.median / theirs.median),
                });
            }
        }
    }
    let figures = Figures { machine: Machine::here(), torch, rows };
    publish(figures.render(), args.json.as_ref(), &figures)
}

fn time(device: Device, mixer: &str, size: Size, repeats: usize) -> Result<Spread> {
    match device {
        Device::Cpu => time_steps::<Graph>(description(mixer), size, repeats),
        #[cfg(feature = "vulkan")]
        Device::Vulkan => time_steps::<burn::backend::Autodiff<aaren_kernels::device::Vulkan>>(description(mixer), size, repeats),
        #[cfg(feature = "cuda")]
        Device::Cuda => time_steps::<burn::backend::Autodiff<aaren_kernels::device::Cuda>>(description(mixer), size, repeats),
        #[allow(unreachable_patterns, reason = "a build with every feature has every device")]
        missing => anyhow::bail!("this build has no {missing} backend"),
    }
}

/// Optimizer steps of a policy on random batches, after a warm-up.
pub(super) fn time_steps<B: TrainBackend>(description: Description, size: Size, repeats: usize) -> Result<Spread> {
    let config = TrainConfig { warmup_steps: 1, ..TrainConfig::default() };
    let mut learner = Learner::<B>::new(description, &config, 1)?;
    let mut milliseconds = Vec::with_capacity(repeats);
    let steps = if B::READS_EVERY_STEP { 1 } else { STEPS_A_LOOK };
    let warm_up = 3;
    for repeat in 0..warm_up + repeats {
        let batches = (0..steps).map(|step| random_batch(learner.description(), size, (repeat * steps + step) as u64));
        let batches = batches.map(|batch| Prepared::<B>::new(batch, learner.description())).collect::<Result<Vec<_>>>()?;
        let started = Instant::now();
        for batch in batches {
            learner.update_prepared(batch)?;
        }
        learner.settle()?;
        if repeat >= warm_up {
            milliseconds.push(started.elapsed().as_secs_f64() * 1e3 / steps as f64);
        }
        interrupt::check()?;
    }
    Ok(Spread {
        median: median(&milliseconds),
        min: milliseconds.iter().copied().fold(f64::INFINITY, f64::min),
        max: milliseconds.iter().copied().fold(0.0, f64::max),
    })
}

pub(super) fn random_batch(description: &Description, size: Size, seed: u64) -> Batch {
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let mut batch = Batch { timesteps: Timesteps::new(), actions: Vec::new(), cut: vec![None; size.batch] };
    for _ in 0..size.batch {
        for t in 0..size.context {
            let observation: Vec<f64> = (0..11).map(|_| generator.random_range(-1.0..1.0)).collect();
            let action: Vec<f32> = (0..3).map(|_| generator.random_range(-1.0..1.0)).collect();
            let action = ActionValue::Continuous(&action);
            batch.timesteps.push(
                description,
                &observation,
                (t > 0).then_some(action),
                generator.random_range(0.0..3600.0),
                t,
                t == 0,
            );
            description.action.encode(action, &mut batch.actions);
        }
    }
    batch
}

impl Spread {
    pub(super) fn render(&self) -> String {
        format!("{} ({}, {})", number(self.median), number(self.min), number(self.max))
    }
}

impl Figures {
    fn render(&self) -> String {
        let mut table = report::table(&[
            "batch x context",
            "mixer",
            "device",
            "threads",
            "aaren ms (min, max)",
            "timesteps a second",
            "PyTorch ms (min, max)",
            "ratio",
        ]);
        for row in &self.rows {
            table.add_row([
                row.size.to_string(),
                row.mixer.clone(),
                row.device.to_string(),
                row.threads.to_string(),
                row.aaren_milliseconds.render(),
                number(row.timesteps_per_second),
                row.torch_milliseconds.as_ref().map_or("-".into(), Spread::render),
                row.ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")),
            ]);
        }
        align_right(&mut table, 3);
        let torch = self.torch.as_ref().map_or("no PyTorch".into(), |version| format!("PyTorch {version}"));
        format!("{}, {torch}; medians of one optimizer step, ratio below 1: aaren is faster\n{table}", self.machine.render())
    }
}
