//! What makes a run: the program and the machine.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use aaren_envs::read_text;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::RunDir;
use super::files::if_there;

/// In a run folder: what made it, one entry for each program or machine that went on with it.
pub(crate) const FILE: &str = "made_by.json";

static COMMIT: OnceLock<String> = OnceLock::new();

/// Says which commit the running binary was built from.
pub fn set_commit(commit: &str) {
    let _ = COMMIT.set(commit.into()); // the first one stands
}

/// A program on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MadeBy {
    /// Version of aaren.
    pub aaren: String,
    /// Commit that the binary was built from, where it says so.
    #[serde(default)]
    pub commit: Option<String>,
    /// Features of the build.
    #[serde(default)]
    pub features: Vec<String>,
    /// Version of MuJoCo, in builds with it.
    #[serde(default)]
    pub mujoco: Option<String>,
    /// Name of the processor, or its architecture where the system does not say.
    #[serde(default)]
    pub processor: String,
    /// Threads that the system gives the process.
    #[serde(default)]
    pub threads: usize,
}

impl MadeBy {
    /// This program on this machine.
    pub(crate) fn this() -> Self {
        let features = [
            ("arrow", cfg!(feature = "arrow")),
            ("mujoco", cfg!(feature = "mujoco")),
            ("cuda", cfg!(feature = "cuda")),
            ("vulkan", cfg!(feature = "vulkan")),
        ];
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            aaren: env!("CARGO_PKG_VERSION").into(),
            commit: COMMIT.get().cloned(),
            features: features.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name.to_string()).collect(),
            mujoco: aaren_envs::mujoco_version().map(|version| version.to_string()),
            processor: model.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).into(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Notes in a run's folder what goes on with it, where that is not what did before.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn note(run: &RunDir) -> Result<()> {
    let (mut all, this) = (read(run.path())?, MadeBy::this());
    if all.last() == Some(&this) {
        return Ok(());
    }
    all.push(this);
    run.write_json(FILE, &all)
}

/// What made a run, the last one last; nothing where it does not say.
///
/// # Errors
/// If the file is damaged.
pub(crate) fn read(run: &Path) -> Result<Vec<MadeBy>> {
    let path = run.join(FILE);
    let Some(text) = if_there(&path, read_text(&path))? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).with_context(|| format!("{}: not what made a run", path.display()))
}
