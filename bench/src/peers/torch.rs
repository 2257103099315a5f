//! The same policies, attention and scan in PyTorch.

use super::python::{figures, python, version_of};
use crate::measure::{Size, Spread};
use aaren_agents::config::Device;
use anyhow::Result;
use serde::{Deserialize, Serialize};

const SCAN_SCRIPT: &str = include_str!("scan_peer.py");
const SCRIPT: &str = concat!(include_str!("torch_mixers.py"), "\n", include_str!("torch_peer.py"));

/// PyTorch's version, if Python has it and it runs on the device.
pub fn version(device: Device) -> Option<String> {
    if device == Device::Vulkan { None } else { version_of("torch") }
}

/// How PyTorch runs the policy, and its sizes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Width of the blocks.
    pub width: usize,
    /// How many there are.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Where.
    pub device: Device,
    /// Whether it compiles the model.
    pub compile: bool,
    /// Whether it computes in bfloat16 where autocast allows it.
    pub bf16: bool,
}

/// Milliseconds of an optimizer step; `None` for a mixer that the script does not have.
///
/// # Errors
/// If Python fails or prints something else than figures.
pub fn train(mixer: &str, size: Size, threads: usize, repeats: usize, options: Options) -> Result<Option<Spread>> {
    let mut command = python();
    command.args(["-", "train", "--mixer", mixer, "--device", &options.device.to_string()]);
    command.args(options.compile.then_some("--compile")).args(options.bf16.then_some("--bf16"));
    let numbers = [
        ("--batch", size.batch),
        ("--context", size.context),
        ("--threads", threads),
        ("--repeats", repeats),
        ("--width", options.width),
        ("--layers", options.layers),
        ("--heads", options.heads),
    ];
    for (key, number) in numbers {
        command.args([key, &number.to_string()]);
    }
    command.env("OMP_NUM_THREADS", threads.to_string());
    figures("the PyTorch peer", &mut command, SCRIPT.as_bytes())
}

/// A scan's size.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shape {
    pub batch: usize,
    pub heads: usize,
    pub time: usize,
    pub head_dim: usize,
}

/// Milliseconds of PyTorch; absent where it was not run.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Torch {
    /// `torch.nn.functional.scaled_dot_product_attention`, causal.
    pub attention_ms: Option<f64>,
    /// `torch._higher_order_ops.associative_scan`, compiled.
    pub scan_ms: Option<f64>,
}

/// Times causal attention, unless it is left out, and the associative scan.
///
/// # Errors
/// If Python fails or prints something else than figures.
pub fn scan(shape: Shape, device: Device, repeats: usize, with_attention: bool) -> Result<Torch> {
    let sizes = [shape.batch, shape.heads, shape.time, shape.head_dim].map(|size| size.to_string());
    let mut command = python();
    command.args(["-c", SCAN_SCRIPT]).args(sizes).args([device.to_string(), repeats.to_string(), with_attention.to_string()]);
    figures("the scan's PyTorch peer", &mut command, &[])
}
