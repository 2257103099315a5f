//! What a training multiplies in.

use aaren_kernels::Precision as Rounding;
use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::Device;

/// What the factors of dense layers' matrix products are rounded to while training. Weights, sums, attention and the optimizer stay in
/// single precision, and policies act in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Nothing: single precision.
    #[default]
    F32,
    /// 10 bits behind the point. On CUDA every product of matrices is computed so, on tensor cores.
    Tf32,
    /// bfloat16, 7 bits behind the point; on CUDA on tensor cores.
    Bf16,
}

impl From<Precision> for Rounding {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Tf32 => Self::Tf32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Rounding::from(*self).fmt(f)
    }
}

/// That a kind of device has the precision. Whether a card has it is seen when it is found.
pub(super) fn check_precision(precision: Precision, device: Device) -> Result<()> {
    ensure!(
        precision == Precision::F32 || device != Device::Vulkan,
        "train.precision: found \"{precision}\", and on Vulkan there is \"f32\" only; use that, or device \"cuda\""
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OfflineJob;

    #[test]
    fn a_job_says_its_precision_and_single_is_the_default() {
        let precision = |set: &[String]| OfflineJob::quickstart(set).map(|job| job.train.precision);
        assert_eq!(precision(&[]).unwrap(), Precision::F32);
        assert_eq!(precision(&["train.precision=bf16".into()]).unwrap(), Precision::Bf16);
        assert_eq!(precision(&["train.precision=\"tf32\"".into()]).unwrap(), Precision::Tf32);
        let refused = format!("{:#}", precision(&["train.precision=f16".into()]).unwrap_err());
        assert!(["train.precision", "f16", "f32", "tf32", "bf16"].iter().all(|said| refused.contains(said)), "{refused}");
    }

    #[test]
    fn vulkan_has_single_precision_only() {
        for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
            assert!([Device::Cpu, Device::Cuda].iter().all(|&device| check_precision(precision, device).is_ok()));
            let refused = check_precision(precision, Device::Vulkan);
            assert_eq!(refused.is_err(), precision != Precision::F32);
            refused.err().into_iter().for_each(|error| assert!(error.to_string().contains(&precision.to_string()), "{error}"));
        }
    }
}
