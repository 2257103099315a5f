//! Counting launches: what CubeCL logs of its executions, read back between two marks.

use super::failure::DeviceError;
use burn_cubecl::{CubeRuntime, cubecl};
use cubecl::config::profiling::ProfilingLogLevel;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use cubecl::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the log may lag behind the device.
const PATIENCE: Duration = Duration::from_secs(30);

/// A log of everything that is launched by this process.
#[derive(Debug)]
pub struct LaunchLog {
    path: PathBuf,
    marks: usize,
}

/// Writes nothing: a line in the log.
#[cube(launch_unchecked)]
fn launch_log_mark(nothing: &mut Array<u32>, writes: u32) {
    if writes > 0 {
        nothing[0] = writes;
    }
}

const MARK: &str = "LaunchLogMark";

impl LaunchLog {
    /// Has launches logged to a file, for as long as the process lives.
    ///
    /// # Errors
    /// [`DeviceError::Failed`] if a device has been used before.
    pub fn start(path: &Path) -> Result<Self, DeviceError> {
        if CubeClRuntimeConfig::storage().lock().is_some() {
            return Err(DeviceError::Failed("launches can be logged only from before a device is first used".into()));
        }
        let mut config = CubeClRuntimeConfig::default();
        config.profiling.logger.level = ProfilingLogLevel::Minimal;
        config.profiling.logger.file = Some(path.to_owned());
        CubeClRuntimeConfig::set(config);
        Ok(Self { path: path.to_owned(), marks: 0 })
    }

    /// What `work` launches on the device: how often each kernel, by name.
    ///
    /// # Errors
    /// [`DeviceError::Failed`] if the log cannot be read.
    pub(crate) fn of<R: CubeRuntime>(
        &mut self,
        client: &cubecl::client::ComputeClient<R>,
        work: impl FnOnce(),
    ) -> Result<BTreeMap<String, usize>, DeviceError> {
        let mark = || {
            let nothing = client.empty(4);
            // SAFETY: the array is of the 4 bytes that were just allocated, and with 0 writes nothing is written to it.
            unsafe {
                launch_log_mark::launch_unchecked::<R>(
                    client,
                    CubeCount::Static(1, 1, 1),
                    CubeDim { x: 1, y: 1, z: 1 },
                    ArrayArg::from_raw_parts(nothing, 1),
                    0,
                );
            }
        };
        mark();
        work();
        mark();
        self.marks += 2;
        client.flush().map_err(|error| DeviceError::Failed(format!("{error:?}")))?;
        let started = Instant::now();
        loop {
            let log = fs::read_to_string(&self.path).unwrap_or_default();
            let names = log.lines().filter_map(|line| line.strip_prefix("Executing ")?.split(" | ").next());
            let mut counts = BTreeMap::new();
            let mut marks = 0;
            for name in names {
                if name.starts_with(MARK) {
                    marks += 1;
                } else if marks + 1 == self.marks {
                    *counts.entry(name.to_owned()).or_insert(0) += 1;
                }
            }
            if marks >= self.marks {
                return Ok(counts);
            }
            if started.elapsed() > PATIENCE {
                return Err(DeviceError::Failed(format!("{} lacks launches that were made", self.path.display())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
