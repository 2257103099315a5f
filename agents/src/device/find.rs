//! `aaren devices`: what policies can be trained on here, and why not on the rest.

use crate::config::{Device, Precision};
use anyhow::{Result, anyhow};

/// A device by the name that `--device` takes, and what there is of it, or why there is nothing.
pub fn find(device: Device) -> Result<String> {
    match device {
        Device::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            Ok(format!("{cores} threads"))
        }
        #[cfg(feature = "vulkan")]
        Device::Vulkan => {
            let found = aaren_kernels::device::vulkan()?;
            Ok(if found.is_software { format!("{} (software: right answers, slowly)", found.name) } else { found.name })
        }
        #[cfg(feature = "cuda")]
        Device::Cuda => Ok(aaren_kernels::device::cuda()?.name),
        #[allow(unreachable_patterns, reason = "a build with every feature has every device")]
        missing => Err(anyhow!("this build has no {missing} backend; build with `--features {missing}`")),
    }
}

/// That a device is built in and there, and multiplies as a training wants it to.
///
/// # Errors
/// Why it is not, or does not, and what to do. A process has one CUDA device, which multiplies matrices of single precision either as
/// they are or in TF32: after a training in the one, a training in the other needs another process.
pub fn require(device: Device, precision: Precision) -> Result<()> {
    #[cfg(feature = "cuda")]
    if device == Device::Cuda {
        let settled = aaren_kernels::device::set_precision(precision.into());
        settled.map_err(|reason| anyhow!("train.precision: found \"{precision}\": {reason}; train in another process"))?;
        require_found(device)?;
        let has = aaren_kernels::device::check_precision(precision.into());
        return has.map_err(|reason| anyhow!("train.precision: found \"{precision}\": {reason}; use \"f32\""));
    }
    let _ = precision;
    require_found(device)
}

fn require_found(device: Device) -> Result<()> {
    find(device).map(drop).map_err(|reason| anyhow!("device {device}: {reason}; `aaren devices` lists what is usable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_usable_and_what_is_not_says_why() {
        assert!(require(Device::Cpu, Precision::Bf16).is_ok());
        for device in [Device::Cuda, Device::Vulkan] {
            if let Err(reason) = require(device, Precision::F32) {
                let reason = format!("{reason:#}");
                let named = if device.is_built_in() { "no " } else { "--features" };
                assert!(reason.contains(&device.to_string()) && reason.contains(named), "{reason}");
            }
        }
    }
}
