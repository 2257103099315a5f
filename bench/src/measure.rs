//! What all measurements share: figures with a spread, the policy and batch sizes that are measured, and the record that is written.

use aaren_agents::config::Device;
use aaren_agents::device;
use aaren_agents::run::report::number;
use aaren_agents::run::{report, write_json_atomically};
use aaren_policy::{ActionSpec, Description, Normalizer, PolicyConfig};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{path::Path, process::Command};

/// What trains on the CPU.
pub type Graph = burn::backend::Autodiff<aaren_agents::device::Cpu>;

/// The middle number.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

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

/// A mean, with the least and the most behind it where there are several numbers.
pub fn mean_and_range(numbers: &[f64], shown: impl Fn(f64) -> String) -> String {
    let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    let (least, most) = numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &x| (least.min(x), most.max(x)));
    if numbers.len() < 2 { shown(mean) } else { format!("{} ({}, {})", shown(mean), shown(least), shown(most)) }
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

/// Processor time of this thread so far, in seconds, where the system tells.
pub fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? as f64 * 1e-9)
}

/// Where a measurement was made.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    memory_bytes: Option<u64>,
    os: Option<String>,
    /// Those that this build can use.
    gpus: Vec<String>,
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

impl Machine {
    fn here() -> Self {
        let memory = value_in("/proc/meminfo", "MemTotal").and_then(|size| size.strip_suffix(" kB")?.parse::<u64>().ok());
        let usable = |device: Device| device::find(device).ok();
        Self {
            processor: value_in("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: cores(),
            memory_bytes: memory.map(|kilobytes| 1024 * kilobytes),
            os: output_of("uname", &["-sr"]),
            gpus: [Device::Cuda, Device::Vulkan].into_iter().filter_map(usable).collect(),
        }
    }
}

/// The commit of the checkout.
#[derive(Debug, Serialize)]
struct Commit {
    hash: String,
    /// Whether files that git tracks differ from it.
    is_dirty: bool,
}

impl Commit {
    /// Of the package's folder, which Cargo names to what it runs, or of the current folder; none without git.
    fn here() -> Option<Self> {
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
        let git = |arguments: &[&str]| output_of("git", &[&["-C", &folder], arguments].concat());
        let changes = git(&["status", "--porcelain", "--untracked-files=no"])?;
        Some(Self { hash: git(&["rev-parse", "HEAD"])?, is_dirty: !changes.is_empty() })
    }
}

/// Figures, and all that is needed to measure them again.
#[derive(Debug, Serialize)]
struct Record<'a, F> {
    /// UTC, when this was written.
    date: Option<String>,
    command: Vec<String>,
    version: &'static str,
    commit: Option<Commit>,
    /// `release`, or `dev` with debug assertions.
    profile: &'static str,
    features: Vec<&'static str>,
    machine: Machine,
    #[serde(flatten)]
    figures: &'a F,
}

impl<'a, F: Serialize> Record<'a, F> {
    fn new(figures: &'a F) -> Self {
        let features =
            [("cuda", cfg!(feature = "cuda")), ("mujoco", cfg!(feature = "mujoco")), ("vulkan", cfg!(feature = "vulkan"))];
        let arguments = std::env::args().skip(1);
        Self {
            date: output_of("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            command: std::iter::once(env!("CARGO_PKG_NAME").to_owned()).chain(arguments).collect(),
            version: env!("CARGO_PKG_VERSION"),
            commit: Commit::here(),
            profile: if cfg!(debug_assertions) { "dev" } else { "release" },
            features: features.into_iter().filter_map(|(name, is_on)| is_on.then_some(name)).collect(),
            machine: Machine::here(),
            figures,
        }
    }
}

/// Writes figures as JSON with the command, the commit and the machine that made them, if there is a file to write.
///
/// # Errors
/// If the file cannot be written.
pub fn write(figures: &impl Serialize, json: Option<&Path>) -> Result<()> {
    let Some(path) = json else { return Ok(()) };
    // A folder that is missing is no reason to lose minutes of measuring.
    path.parent().map_or(Ok(()), std::fs::create_dir_all).with_context(|| format!("cannot write {}", path.display()))?;
    write_json_atomically(path, &Record::new(figures))
}

/// Prints a table below the machine that it was measured on, and writes the same as JSON if there is a file to write.
///
/// # Errors
/// If the file cannot be written, or the output.
pub fn publish(figures: &impl Serialize, text: &str, json: Option<&Path>) -> Result<()> {
    let profile =
        if cfg!(debug_assertions) { "a build with debug assertions; quote figures of a release build" } else { "release build" };
    let Machine { processor, cores, .. } = Machine::here();
    report::print(format!("{processor}, {cores} cores, aaren {}, {profile}; {text}", env!("CARGO_PKG_VERSION")))?;
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
