//! The scan beside a copy of the same bytes, plain tensor ops, Burn's causal attention and PyTorch, at one shape after the other.

use crate::measure::{Column, Spread, library, on_device, or_dash, percent, publish, table};
use crate::peers::torch;
use crate::peers::torch::{Shape, Torch};
use aaren_agents::config::{Device, Precision};
use aaren_agents::device;
use aaren_agents::device::{CPU, Cpu, TrainBackend};
use aaren_agents::run::interrupt;
use aaren_agents::run::report::number;
use aaren_kernels::scan::{ScanInputs, ScanOutputs};
use aaren_kernels::{KernelBackend, ScanCarry, attention_scan};
use anyhow::{Context, Result, ensure};
use burn::tensor::{Bool, Tensor, TensorData, backend::Backend, module::attention, ops::AttentionModuleOptions};
use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use serde_json::json;
use std::{num::NonZeroUsize, path::Path, time::Instant};

/// From the Decision Transformer's sizes (64 or 1,024 segments of 20 timesteps) over whole episodes to very long ones.
const GRID: [Shape; 8] = [
    Shape { batch: 64, heads: 1, time: 60, head_dim: 128 },
    Shape { batch: 1024, heads: 1, time: 60, head_dim: 128 },
    Shape { batch: 64, heads: 4, time: 1024, head_dim: 32 },
    Shape { batch: 64, heads: 1, time: 3000, head_dim: 128 },
    Shape { batch: 64, heads: 8, time: 3000, head_dim: 64 },
    Shape { batch: 8, heads: 8, time: 16_384, head_dim: 64 },
    Shape { batch: 1, heads: 8, time: 131_072, head_dim: 64 },
    Shape { batch: 16, heads: 8, time: 131_072, head_dim: 64 },
];

/// The largest difference from the CPU's scan that is taken for rounding: f32, outputs of size 1.
const TOLERANCE: f64 = 1e-4;

/// Options of `aaren-bench scan`.
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// Where tensors live
    #[arg(long, default_value_t = Device::Cpu)]
    device: Device,
    /// A shape; may be repeated [default: a grid from 64x1x60x128 to 16x8x131072x64]
    #[arg(long = "shape", value_name = "BATCHxHEADSxTIMExHEAD_DIM", value_parser = parse_shape)]
    shapes: Vec<Shape>,
    /// Leave out shapes whose values are more bytes than this; three to eight times as many are needed
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 28)]
    most_bytes: usize,
    /// Leave out comparisons that are quadratic in time where their weights are more bytes than this
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 28)]
    most_quadratic_bytes: usize,
    /// Timed repetitions
    #[arg(long, default_value = "10")]
    repeats: NonZeroUsize,
    /// Leave PyTorch out
    #[arg(long)]
    no_peer: bool,
}

impl Shape {
    fn tokens(self) -> usize {
        self.batch * self.heads * self.time
    }

    fn values(self) -> usize {
        self.tokens() * self.head_dim
    }

    /// Scores and values in, outputs and log-sums out.
    fn forward_bytes(self) -> usize {
        4 * (2 * self.values() + 2 * self.tokens())
    }

    /// Scores, log-sums, values, outputs and output gradients in, two gradients out.
    fn backward_bytes(self) -> usize {
        4 * (4 * self.values() + 3 * self.tokens())
    }

    fn weights_bytes(self) -> usize {
        4 * self.tokens() * self.time
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}x{}", self.batch, self.heads, self.time, self.head_dim)
    }
}

fn parse_shape(text: &str) -> Result<Shape, String> {
    let sizes: Option<Vec<usize>> = text.split('x').map(|size| size.parse().ok().filter(|&size| size > 0)).collect();
    let Some(&[batch, heads, time, head_dim]) = sizes.as_deref() else {
        return Err("expected four sizes, for example 64x4x1024x32".into());
    };
    // Bytes are counted in `usize`, of weights (quadratic in time) and of several tensors of values.
    let most = [batch, heads, time, time.max(head_dim)].iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    match most.and_then(|elements| elements.checked_mul(64)) {
        Some(_) => Ok(Shape { batch, heads, time, head_dim }),
        None => Err("no machine has memory for so many numbers".into()),
    }
}

#[derive(Debug, Serialize)]
struct Row {
    shape: Shape,
    largest_error: f64,
    forward_ms: Spread,
    forward_bytes: usize,
    /// Bytes a second over those of a copy.
    forward_share_of_copy: f64,
    backward_ms: Spread,
    backward_bytes: usize,
    backward_share_of_copy: f64,
    tensor_ops_ms: Option<Spread>,
    attention_ms: Option<Spread>,
    torch: Torch,
}

const COLUMNS: &[Column<Row>] = &[
    ("batch x heads x time x head_dim", |row| row.shape.to_string()),
    ("error", |row| format!("{:.0e}", row.largest_error)),
    ("forward ms", |row| number(row.forward_ms.median)),
    ("of copy", |row| percent(row.forward_share_of_copy, 0)),
    ("backward ms", |row| number(row.backward_ms.median)),
    ("of copy", |row| percent(row.backward_share_of_copy, 0)),
    ("tensor ops", |row| row.times_forward(row.tensor_ops_ms.map(|spread| spread.median))),
    ("Burn attention", |row| row.times_forward(row.attention_ms.map(|spread| spread.median))),
    ("torch attention", |row| row.times_forward(row.torch.attention_ms)),
    ("torch scan", |row| row.times_forward(row.torch.scan_ms)),
];

pub fn run(args: &ScanArgs, json: Option<&Path>) -> Result<()> {
    device::require(args.device, Precision::F32)?;
    on_device!(args.device, Trained => run_on::<Trained>(args, json))
}

fn run_on<B: TrainBackend>(args: &ScanArgs, json: Option<&Path>) -> Result<()> {
    let torch = if args.no_peer { None } else { torch::version(args.device) };
    let copied = copy_bandwidth::<B::InnerBackend>(args.most_bytes.min(1 << 30), args.repeats.get());
    let copy_bytes_per_second = explained::<B, _>(copied)?;
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    let shapes = if args.shapes.is_empty() { &GRID[..] } else { &args.shapes };
    for &shape in shapes {
        interrupt::check()?;
        if 4 * shape.values() > args.most_bytes {
            left_out.push(shape.to_string());
            continue;
        }
        let torch = if torch.is_some() {
            let is_small = shape.weights_bytes() <= args.most_quadratic_bytes;
            torch::scan(shape, args.device, args.repeats.get(), is_small)?
        } else {
            Torch::default()
        };
        let row = measure::<B::InnerBackend>(shape, args, copy_bytes_per_second, torch);
        rows.push(explained::<B, _>(row).with_context(|| format!("at {shape}"))?);
    }
    let left = if left_out.is_empty() {
        String::new()
    } else {
        format!("\nleft out for their size: {} (see --most-bytes)", left_out.join(", "))
    };
    let (shown, copy, table) = (library("PyTorch", torch.as_ref()), copy_bytes_per_second / 1e9, table(&rows, 1, COLUMNS));
    let text = format!(
        "device {}, {shown}; a copy moves {copy:.1} GB/s; medians, other columns: times our forward pass\n{table}{left}",
        args.device
    );
    let figures = json!({
        "device": args.device,
        "torch": torch,
        // Counting what is read and what is written.
        "copy_bytes_per_second": copy_bytes_per_second,
        "left_out": left_out,
        "rows": rows,
    });
    publish(&figures, &text, json)
}

/// With what failed on the device's own thread in place of what that led to.
fn explained<B: TrainBackend, T>(measured: Result<T>) -> Result<T> {
    measured.map_err(|error| match B::check() {
        Ok(()) => error,
        Err(failure) => anyhow::anyhow!("{failure:#}; lower --most-bytes if it has not the memory"),
    })
}

/// Milliseconds of repeated work; before and after it the device is waited for.
fn milliseconds<B: Backend>(repeats: usize, mut work: impl FnMut()) -> Result<Spread> {
    let device = Default::default();
    let mut times = Vec::with_capacity(repeats);
    for repeat in 0..repeats + 2 {
        B::sync(&device).map_err(|error| anyhow::anyhow!("{error:?}")).context("the device failed")?;
        let started = Instant::now();
        work();
        B::sync(&device).map_err(|error| anyhow::anyhow!("{error:?}")).context("the device failed")?;
        if repeat >= 2 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        interrupt::check()?;
    }
    Ok(Spread::of(&times))
}

fn copy_bandwidth<B: Backend>(bytes: usize, repeats: usize) -> Result<f64> {
    let tensor = Tensor::<B, 1>::zeros([bytes / 4], &Default::default());
    // Held by two, so that the sum cannot be written over it.
    let time = milliseconds::<B>(repeats, || drop(tensor.clone() + 1.0))?;
    Ok(2.0 * bytes as f64 / (time.median / 1e3))
}

struct Problem<B: Backend> {
    scores: Tensor<B, 3>,
    values: Tensor<B, 4>,
    reset: Tensor<B, 2, Bool>,
}

impl<B: Backend> Problem<B> {
    /// Numbers that every backend makes alike, with an episode border in the middle.
    fn new(shape: Shape) -> Self {
        let device = Default::default();
        let Shape { batch, heads, time, head_dim } = shape;
        let mut generator = Pcg64Mcg::seed_from_u64(1);
        let mut numbers = |count: usize| (0..count).map(|_| generator.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
        let scores = TensorData::new(numbers(shape.tokens()), [batch, heads, time]);
        let values = TensorData::new(numbers(shape.values()), [batch, heads, time, head_dim]);
        let reset: Vec<bool> = (0..batch * time).map(|i| i % time == time / 2).collect();
        Self {
            scores: Tensor::from_data(scores, &device),
            values: Tensor::from_data(values, &device),
            reset: Tensor::from_data(TensorData::new(reset, [batch, time]), &device),
        }
    }

    fn carry(&self) -> ScanCarry<B> {
        let [batch, heads, _, head_dim] = self.values.dims();
        ScanCarry::empty(batch, heads, head_dim, &self.values.device())
    }

    fn inputs(&self) -> ScanInputs<B> {
        let carry = self.carry();
        ScanInputs {
            scores: self.scores.clone().into_primitive().tensor(),
            values: self.values.clone().into_primitive().tensor(),
            reset: self.reset.clone().into_primitive(),
            carry_log_sum: carry.log_sum.into_primitive().tensor(),
            carry_output: carry.output.into_primitive().tensor(),
        }
    }
}

fn measure<B: KernelBackend>(shape: Shape, args: &ScanArgs, copy: f64, torch: Torch) -> Result<Row> {
    let problem = Problem::<B>::new(shape);
    let share = |bytes: usize, time: Spread| bytes as f64 / (time.median / 1e3) / copy;

    // Right before fast.
    let (outputs, _) = attention_scan(problem.scores.clone(), problem.values.clone(), problem.reset.clone(), problem.carry());
    let found = outputs.try_into_data().map_err(|error| anyhow::anyhow!("{error:?}"));
    let found = found.with_context(|| format!("the device failed with {} bytes of values", 4 * shape.values()))?;
    let on_cpu = Problem::<Cpu>::new(shape);
    let (expected, _) = attention_scan(on_cpu.scores.clone(), on_cpu.values.clone(), on_cpu.reset.clone(), on_cpu.carry());
    let found = Tensor::<Cpu, 4>::from_data(found, &CPU);
    let largest_error = f64::from((found - expected).abs().max().into_scalar());
    ensure!(largest_error <= TOLERANCE, "{shape}: the scan is wrong by {largest_error} on {}", args.device);

    let forward_ms = milliseconds::<B>(args.repeats.get(), || drop(B::attention_scan(problem.inputs())))?;
    let ScanOutputs { outputs, log_sums } = B::attention_scan(problem.inputs());
    let grad = problem.values.clone().into_primitive().tensor();
    let backward_ms = milliseconds::<B>(args.repeats.get(), || {
        let outputs = ScanOutputs { outputs: outputs.clone(), log_sums: log_sums.clone() };
        drop(B::attention_scan_backward(problem.inputs(), outputs, grad.clone()));
    })?;

    let is_small = shape.weights_bytes() <= args.most_quadratic_bytes;
    let quadratic =
        |work: &dyn Fn() -> Tensor<B, 4>| is_small.then(|| milliseconds::<B>(args.repeats.get(), || drop(work()))).transpose();
    let tensor_ops_ms = quadratic(&|| tensor_ops(&problem))?;
    let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
    let values = || problem.values.clone();
    let attention_ms = quadratic(&|| attention(values(), values(), values(), None, None, options))?;
    Ok(Row {
        shape,
        largest_error,
        forward_ms,
        forward_bytes: shape.forward_bytes(),
        forward_share_of_copy: share(shape.forward_bytes(), forward_ms),
        backward_ms,
        backward_bytes: shape.backward_bytes(),
        backward_share_of_copy: share(shape.backward_bytes(), backward_ms),
        tensor_ops_ms,
        attention_ms,
        torch,
    })
}

/// The scan without resets as a softmax over a triangle of scores: what tensor ops offer.
fn tensor_ops<B: Backend>(problem: &Problem<B>) -> Tensor<B, 4> {
    let [batch, heads, time, _] = problem.values.dims();
    let later = Tensor::<B, 2, Bool>::tril_mask([time, time], 0, &problem.values.device());
    let later = later.unsqueeze::<4>().expand([batch, heads, time, time]);
    let scores = problem.scores.clone().unsqueeze_dim::<4>(2).expand([batch, heads, time, time]);
    burn::tensor::activation::softmax(scores.mask_fill(later, f32::MIN), 3).matmul(problem.values.clone())
}

impl Row {
    /// How many times our forward pass.
    fn times_forward(&self, time: Option<f64>) -> String {
        or_dash(time, |time| format!("{:.1} x", time / self.forward_ms.median))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_four_sizes() {
        assert_eq!(parse_shape("2x3x5x7").unwrap().to_string(), "2x3x5x7");
        for wrong in ["2x3x5", "2x3x5x0", "2x3x5x7x1", "a"] {
            assert!(parse_shape(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tensor_ops_are_the_scan() {
        let problem = Problem::<Cpu>::new(Shape { batch: 2, heads: 3, time: 17, head_dim: 5 });
        let none = Tensor::<Cpu, 2, Bool>::from_data(TensorData::new(vec![false; 34], [2, 17]), &CPU);
        let (expected, _) = attention_scan(problem.scores.clone(), problem.values.clone(), none, problem.carry());
        assert!((tensor_ops(&problem) - expected).abs().max().into_scalar() < 1e-5);
    }
}
