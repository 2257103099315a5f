//! Which backends the jobs run on.

use super::cpu::{Cpu, Graph};
use aaren_policy::{DecisionNetwork, Description, KernelBackend};
use anyhow::Result;
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;

/// A backend that policies can be trained on.
pub trait TrainBackend: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend {
    /// Whether the loss is looked at after every step. On a GPU that would make it wait for the host.
    const IS_SYNCHRONOUS: bool;

    /// The device that is trained on, which [`crate::device`] has found to be usable.
    fn device() -> Self::Device {
        Self::Device::default()
    }

    /// What went wrong on the device since the last call: it is not where the work was asked for that this shows.
    ///
    /// # Errors
    /// What did.
    fn check() -> Result<()>;

    /// The network's weights where policies act.
    fn to_cpu(network: &DecisionNetwork<Self>, description: &Description) -> DecisionNetwork<Cpu>;
}

impl TrainBackend for Graph {
    const IS_SYNCHRONOUS: bool = true;

    fn check() -> Result<()> {
        Ok(())
    }

    fn to_cpu(network: &DecisionNetwork<Self>, _description: &Description) -> DecisionNetwork<Cpu> {
        network.valid()
    }
}

/// Vulkan and CUDA devices, found by [`crate::device::require`] before anything is put on them.
macro_rules! train_on_gpu {
    ($feature:literal, $backend:ty) => {
        #[cfg(feature = $feature)]
        impl TrainBackend for burn::backend::Autodiff<$backend> {
            const IS_SYNCHRONOUS: bool = false;

            fn check() -> Result<()> {
                aaren_kernels::device::take_failure().map_or(Ok(()), |failure| Err(failure.into()))
            }

            fn to_cpu(network: &DecisionNetwork<Self>, description: &Description) -> DecisionNetwork<Cpu> {
                crate::device::copy::to_cpu(&network.valid(), description)
            }
        }
    };
}

train_on_gpu!("vulkan", aaren_kernels::device::Vulkan);
train_on_gpu!("cuda", aaren_kernels::device::Cuda);
