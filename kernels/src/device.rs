//! Finding GPUs: nothing here panics where a driver or a library is missing.
//!
//! ```
//! // A failure is taken once; nothing has failed yet.
//! assert!(aaren_kernels::device::take_failure().is_none());
//! # #[cfg(feature = "vulkan")]
//! match aaren_kernels::device::vulkan() {
//!     Ok(found) => println!("{} (in software: {})", found.name, found.is_software),
//!     Err(error) => println!("{error}"),
//! }
//! ```

#[cfg(feature = "cuda")]
mod cache;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod toolkit;

use crate::cube::failure;
use burn::tensor::backend::Backend;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};
use std::collections::BTreeMap;

pub use crate::cube::{LaunchLog, failure::DeviceError};
#[cfg(feature = "cuda")]
pub use cuda::{Cuda, check_precision, cuda, set_precision};

/// What went wrong on the devices' own threads since the last call. Where something did, results read since then are garbage.
pub fn take_failure() -> Option<DeviceError> {
    failure::take()
}

/// A device that can be used.
#[derive(Clone, Debug)]
pub struct Found<D> {
    /// The device as tensors name it.
    pub device: D,
    /// The driver's name for it.
    pub name: String,
    /// Whether a processor plays the GPU: right answers, slowly.
    pub is_software: bool,
}

/// Bytes of a device's memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes that tensors take.
    pub in_use: u64,
    /// Bytes taken from the driver, and kept for tensors to come.
    pub reserved: u64,
}

/// A backend of GPUs: its memory and its launches.
pub trait Gpu: Backend {
    /// The memory that this thread's tensors take.
    ///
    /// # Errors
    /// [`DeviceError::Failed`]
    fn memory(device: &Self::Device) -> Result<Memory, DeviceError>;

    /// Gives back to the driver what is not in use.
    fn release_memory(device: &Self::Device);

    /// What `work` launches: how often each kernel, by name.
    ///
    /// # Errors
    /// [`DeviceError::Failed`] if the log cannot be read.
    fn launches(log: &mut LaunchLog, device: &Self::Device, work: impl FnOnce()) -> Result<BTreeMap<String, usize>, DeviceError>;
}

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> Gpu for CubeBackend<R, F, I, BT> {
    fn memory(device: &Self::Device) -> Result<Memory, DeviceError> {
        let usage = R::client(device).memory_usage().map_err(|error| DeviceError::Failed(format!("{error:?}")))?;
        Ok(Memory { in_use: usage.bytes_in_use, reserved: usage.bytes_reserved })
    }

    fn release_memory(device: &Self::Device) {
        R::client(device).memory_cleanup();
    }

    fn launches(log: &mut LaunchLog, device: &Self::Device, work: impl FnOnce()) -> Result<BTreeMap<String, usize>, DeviceError> {
        log.of(&R::client(device), work)
    }
}

/// The backend of Vulkan devices: kernels compiled to SPIR-V, no fusion, no autotuning.
#[cfg(feature = "vulkan")]
pub type Vulkan = burn_wgpu::Vulkan<f32, i32, u8>;

/// The default Vulkan device, a GPU rather than software.
///
/// # Errors
/// [`DeviceError::Absent`] if there is no driver or no device.
#[cfg(feature = "vulkan")]
pub fn vulkan() -> Result<Found<burn_wgpu::WgpuDevice>, DeviceError> {
    use burn_wgpu::{WgpuDevice, graphics, init_setup};
    use std::sync::OnceLock;

    // The runtime is set up once; without a driver it would panic, so look for a driver first.
    static FOUND: OnceLock<Result<(String, bool), String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let descriptor = wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        };
        let adapters = block_on(wgpu::Instance::new(descriptor).enumerate_adapters(wgpu::Backends::VULKAN));
        if adapters.is_empty() {
            return Err(
                "the Vulkan loader finds no driver (Debian has one in software: apt install mesa-vulkan-drivers)".to_owned()
            );
        }
        let setup = init_setup::<graphics::Vulkan>(&WgpuDevice::DefaultDevice, Default::default());
        let info = setup.adapter.get_info();
        Ok((info.name, info.device_type == wgpu::DeviceType::Cpu))
    });
    failure::watch();
    match found {
        Ok((name, is_software)) => Ok(Found { device: WgpuDevice::DefaultDevice, name: name.clone(), is_software: *is_software }),
        Err(reason) => Err(DeviceError::Absent { api: "Vulkan", reason: reason.clone() }),
    }
}

/// Runs a future that never waits for anything but this thread's own work, as the loader's do.
#[cfg(feature = "vulkan")]
fn block_on<F: std::future::Future>(future: F) -> F::Output {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        std::thread::yield_now();
    }
}
