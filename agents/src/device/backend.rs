//! Which backends the jobs run on.

use super::cpu::{Cpu, Graph};
use aaren_policy::{KernelBackend, Trainable};
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
    fn to_cpu<N: Trains<Self>>(network: &N, description: &N::Description) -> N::On<Cpu>;
}

/// A network that can be trained on a backend.
pub trait Trains<B: TrainBackend>:
    Trainable<B> + AutodiffModule<B, InnerModule = <Self as Trainable<B>>::On<<B as AutodiffBackend>::InnerBackend>> + 'static
{
}

impl<B: TrainBackend, N> Trains<B> for N where
    N: Trainable<B> + AutodiffModule<B, InnerModule = <N as Trainable<B>>::On<<B as AutodiffBackend>::InnerBackend>> + 'static
{
}

impl TrainBackend for Graph {
    const IS_SYNCHRONOUS: bool = true;

    fn check() -> Result<()> {
        Ok(())
    }

    fn to_cpu<N: Trains<Self>>(network: &N, _description: &N::Description) -> N::On<Cpu> {
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

            fn to_cpu<N: Trains<Self>>(network: &N, description: &N::Description) -> N::On<Cpu> {
                crate::device::copy::to_cpu::<_, _, N::On<Cpu>>(&network.valid(), description)
            }
        }
    };
}

train_on_gpu!("vulkan", aaren_kernels::device::Vulkan);
train_on_gpu!("cuda", aaren_kernels::device::Cuda);

/// Calls a function that is generic over the backend, with that of a device.
macro_rules! on_backend {
    ($device:expr, $function:ident($($argument:expr),*)) => {
        match $device {
            $crate::config::Device::Cpu => $function::<$crate::device::Graph>($($argument),*),
            #[cfg(feature = "vulkan")]
            $crate::config::Device::Vulkan => $function::<burn::backend::Autodiff<aaren_kernels::device::Vulkan>>($($argument),*),
            #[cfg(feature = "cuda")]
            $crate::config::Device::Cuda => $function::<burn::backend::Autodiff<aaren_kernels::device::Cuda>>($($argument),*),
            #[allow(unreachable_patterns, reason = "a build with every feature has every device")]
            missing => anyhow::bail!("device: this build has no {missing} backend"),
        }
    };
}
pub(crate) use on_backend;
