//! What all measurements share: figures with a spread, the policy and batch sizes that are measured, and the record that is written.

use aaren_agents::config::Device;
use aaren_agents::device;
pub use aaren_agents::run::report::median;
use aaren_agents::run::report::{align_right, number};
use aaren_agents::run::{report, write_json_atomically};
use aaren_policy::{ActionSpec, Description, Normalizer, PolicyConfig};
use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{fmt::Display, path::Path, process::Command};

/// What trains on the CPU.
pub type Graph = burn::backend::Autodiff<aaren_agents::device::Cpu>;

/// Repeated measurements of one number, in the unit of its name.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Spread {
    /// Of all repetitions.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// The spread of at least one positive number.
    pub fn of(numbers: &[f64]) -> Self {
        let extreme = |pick: fn(f64, f64) -> f64, from| numbers.iter().copied().fold(from, pick);
        Self { median: median(numbers), min: extreme(f64::min, f64::INFINITY), max: extreme(f64::max, 0.0) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {})", number(self.median), number(self.min), number(self.max))
    }
}

/// A column of a table: its heading, and what it shows of a row.
pub type Column<R> = (&'static str, fn(&R) -> String);

/// A table of rows. The columns from `first_number` on are numbers, which stand on the right.
pub fn table<R>(rows: &[R], first_number: usize, columns: &[Column<R>]) -> impl Display + use<R> {
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let mut table = report::table(&headings);
    for row in rows {
        table.add_row(columns.iter().map(|(_, cell)| cell(row)));
    }
    align_right(&mut table, first_number);
    table
}

/// What is shown of a figure, or a dash where there is none.
pub fn or_dash<T>(figure: Option<T>, shown: impl Fn(T) -> String) -> String {
    figure.map_or("-".into(), shown)
}

/// A share as a percentage.
pub fn percent(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * share)
}

/// A library and its version, or that it is not there.
pub fn library(name: &str, version: Option<&String>) -> String {
    version.map_or(format!("no {name}"), |version| format!("{name} {version}"))
}

/// The mean of the repetitions that gave a number, with the least and the most behind it where there are several; and how many
/// gave none, which `missing` says what they did.
pub fn mean_of_found(numbers: impl Iterator<Item = Option<f64>>, missing: &str, shown: impl Fn(f64) -> String) -> String {
    let all: Vec<Option<f64>> = numbers.collect();
    let found: Vec<f64> = all.iter().copied().flatten().collect();
    let mean = shown(found.iter().sum::<f64>() / found.len().max(1) as f64);
    let (least, most) = found.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &x| (least.min(x), most.max(x)));
    let mean = if found.len() < 2 { mean } else { format!("{mean} ({}, {})", shown(least), shown(most)) };
    match (found.len(), all.len() - found.len()) {
        (0, _) => missing.into(),
        (_, 0) => mean,
        (_, count) => format!("{mean}, {count} {missing}"),
    }
}

/// The width of feed-forward layers that brings a number of parameters, which `count` gives and which is linear in the width,
/// nearest to the one that is wanted; at least 1.
pub fn nearest_width(wanted: usize, mut count: impl FnMut(usize) -> Result<usize>) -> Result<usize> {
    let least = count(1)?;
    let per_unit = count(2)? - least;
    Ok(1 + (wanted.saturating_sub(least) + per_unit / 2) / per_unit)
}

/// The size of a training batch.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    /// Rows.
    pub batch: usize,
    /// Timesteps of a row.
    pub context: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.batch, self.context)
    }
}

/// A size on the command line, `BATCHxCONTEXT`.
///
/// # Errors
/// If it is no size, or of more timesteps than a job may have.
pub fn parse_size(text: &str) -> Result<Size, String> {
    let parts = text.split_once('x').and_then(|(batch, context)| Some((batch.parse().ok()?, context.parse().ok()?)));
    let size = parts.map(|(batch, context)| Size { batch, context }).filter(|size| size.batch > 0 && size.context > 0);
    let size = size.ok_or("expected a batch and a context, for example 64x20")?;
    match size.batch.checked_mul(size.context) {
        Some(timesteps) if timesteps <= 1 << 40 => Ok(size),
        _ => Err("no machine has memory for so many timesteps".into()),
    }
}

/// A policy of the Decision Transformer's size for a task with 11 observations and 3 actions, as Hopper has.
pub fn description(mixer: &str) -> Description {
    Description {
        format: Description::FORMAT,
        config: PolicyConfig { mixer: mixer.into(), ..PolicyConfig::default() },
        normalizer: Normalizer::identity(11),
        action: ActionSpec::Continuous { low: vec![-1.0; 3], high: vec![1.0; 3] },
        environment: serde_json::Value::Null,
    }
}

/// Runs work with a given number of threads for tensor operations.
///
/// # Errors
/// If the thread pool cannot be made.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot make a thread pool")?;
    Ok(pool.install(work))
}

/// Cores of this machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Processor time of this thread so far, in seconds.
pub fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The value of a key in a file of Linux such as /proc/cpuinfo.
fn value_in(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.split_once(':')?.1.trim().to_owned()))
}

/// What a program prints, if there is such a program and it succeeds.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn processor() -> String {
    value_in("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Where a measurement was made.
fn machine() -> Value {
    let memory = value_in("/proc/meminfo", "MemTotal").and_then(|size| size.strip_suffix(" kB")?.parse::<u64>().ok());
    let usable = |device: Device| device::find(device).ok();
    let gpus: Vec<String> = [Device::Cuda, Device::Vulkan].into_iter().filter_map(usable).collect();
    json!({
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": memory.map(|kilobytes| 1024 * kilobytes),
        "os": output_of("uname", &["-sr"]),
        "gpus": gpus,
    })
}

/// The commit of the package's folder, which Cargo names to what it runs, or of the current folder, and whether files that git
/// tracks differ from it; none without git.
fn commit() -> Option<Value> {
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    let git = |arguments: &[&str]| output_of("git", &[&["-C", &folder], arguments].concat());
    let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(json!({"hash": git(&["rev-parse", "HEAD"])?, "is_dirty": !changes.is_empty()}))
}

/// All that is needed to measure again: `date` is UTC, when this was written, `profile` is `dev` with debug assertions.
fn circumstances() -> Value {
    let features = [("cuda", cfg!(feature = "cuda")), ("mujoco", cfg!(feature = "mujoco")), ("vulkan", cfg!(feature = "vulkan"))];
    json!({
        "date": output_of("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "command": std::iter::once(env!("CARGO_PKG_NAME").to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>(),
        "version": env!("CARGO_PKG_VERSION"),
        "commit": commit(),
        "profile": if cfg!(debug_assertions) { "dev" } else { "release" },
        "features": features.into_iter().filter_map(|(name, is_on)| is_on.then_some(name)).collect::<Vec<_>>(),
        "machine": machine(),
    })
}

/// Figures, and all that is needed to measure them again.
#[derive(Serialize)]
struct Record<'a, F> {
    #[serde(flatten)]
    circumstances: Value,
    #[serde(flatten)]
    figures: &'a F,
}

/// Writes figures as JSON with the command, the commit and the machine that made them, if there is a file to write.
///
/// # Errors
/// If the file cannot be written.
pub fn write(figures: &impl Serialize, json: Option<&Path>) -> Result<()> {
    let Some(path) = json else { return Ok(()) };
    // A folder that is missing is no reason to lose minutes of measuring.
    path.parent().map_or(Ok(()), std::fs::create_dir_all).with_context(|| format!("cannot write {}", path.display()))?;
    write_json_atomically(path, &Record { circumstances: circumstances(), figures })
}

/// Prints a table below the machine that it was measured on, and writes the same as JSON if there is a file to write.
///
/// # Errors
/// If the file cannot be written, or the output.
pub fn publish(figures: &impl Serialize, text: &str, json: Option<&Path>) -> Result<()> {
    let profile =
        if cfg!(debug_assertions) { "a build with debug assertions; quote figures of a release build" } else { "release build" };
    report::print(format!("{}, {} cores, aaren {}, {profile}; {text}", processor(), cores(), env!("CARGO_PKG_VERSION")))?;
    write(figures, json)
}

/// Evaluates an expression in which a name stands for the backend that trains on a device.
macro_rules! on_device {
    ($device:expr, $backend:ident => $work:expr) => {
        match $device {
            aaren_agents::config::Device::Cpu => {
                type $backend = crate::measure::Graph;
                $work
            }
            #[cfg(feature = "vulkan")]
            aaren_agents::config::Device::Vulkan => {
                type $backend = burn::backend::Autodiff<aaren_kernels::device::Vulkan>;
                $work
            }
            #[cfg(feature = "cuda")]
            aaren_agents::config::Device::Cuda => {
                type $backend = burn::backend::Autodiff<aaren_kernels::device::Cuda>;
                $work
            }
            #[allow(unreachable_patterns, reason = "a build with every feature has every device")]
            missing => anyhow::bail!("this build has no {missing} backend"),
        }
    };
}
pub(crate) use on_device;
