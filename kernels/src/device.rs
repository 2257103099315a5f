//! Finding devices: nothing here panics where a driver or a library is missing.

use crate::cube::failure;
use burn::tensor::backend::Backend;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a device cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no driver, or it finds no device.
    #[error("no {api} device: {reason}")]
    Absent {
        /// "Vulkan" or "CUDA"
        api: &'static str,
        /// What was looked for in vain.
        reason: String,
    },
    /// A tensor does not fit, be it that memory is full or that the driver has no buffers of that size.
    #[error("no memory for a buffer of {bytes} bytes")]
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
    /// A device does not do what it is asked.
    #[error("the device failed: {0}")]
    Failed(String),
}

/// What went wrong on the devices' own threads since the last call. Where something did, results read since then are garbage.
pub fn take_failure() -> Option<DeviceError> {
    failure::take()
}

/// A device that can be used.
#[derive(Clone, Debug)]
pub struct Found<D> {
    /// What a tensor is put on.
    pub device: D,
    /// As the driver names it.
    pub name: String,
    /// Whether a processor plays the graphics card: right answers, slowly.
    pub is_software: bool,
}

pub use crate::cube::LaunchLog;

/// Bytes of a device's memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// In tensors.
    pub in_use: u64,
    /// Taken from the driver, and kept for tensors to come.
    pub reserved: u64,
}

/// A backend of graphics cards, with what can be asked of its device.
pub trait Card: Backend {
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

impl<R, F, I, BT> Card for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
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

/// The backend of NVIDIA cards: kernels compiled by NVRTC when they are first launched.
#[cfg(feature = "cuda")]
pub type Cuda = burn_cuda::Cuda<f32, i32>;

/// The default Vulkan device, a graphics card rather than software.
///
/// # Errors
/// [`DeviceError::Absent`] if there is no driver or no device.
#[cfg(feature = "vulkan")]
pub fn vulkan() -> Result<Found<burn_wgpu::WgpuDevice>, DeviceError> {
    use burn_wgpu::{WgpuDevice, graphics, init_setup};
    use std::sync::OnceLock;

    // The runtime is set up once; without a driver it would panic, so the driver is asked first.
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

/// The first CUDA device.
///
/// # Errors
/// [`DeviceError::Absent`] if the driver or NVRTC, which compiles the kernels, cannot be loaded, or there is no device.
#[cfg(feature = "cuda")]
pub fn cuda() -> Result<Found<burn_cuda::CudaDevice>, DeviceError> {
    use cudarc::driver::result;

    let absent = |reason: String| DeviceError::Absent { api: "CUDA", reason };
    // Anything else of these libraries panics where they are missing.
    let (driver, compiler) = unsafe { (cudarc::driver::sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present()) };
    if !driver {
        return Err(absent("the driver's library libcuda.so cannot be loaded; install the NVIDIA driver".to_owned()));
    }
    if !compiler {
        return Err(absent(
            "libnvrtc.so cannot be loaded; install NVRTC (part of the CUDA toolkit, or the nvidia-cuda-nvrtc wheel)".to_owned(),
        ));
    }
    let failed = |error: cudarc::driver::DriverError| absent(format!("the driver reports {error}"));
    result::init().map_err(failed)?;
    if result::device::get_count().map_err(failed)? == 0 {
        return Err(absent("the driver finds no card".to_owned()));
    }
    let card = result::device::get(0).map_err(failed)?;
    let name = result::device::get_name(card).map_err(failed)?;
    failure::watch();
    Ok(Found { device: burn_cuda::CudaDevice::new(0), name, is_software: false })
}

/// Runs a future that never waits for anything but this thread's own work, as the loader's do.
#[cfg(feature = "vulkan")]
fn block_on<F: std::future::Future>(future: F) -> F::Output {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        std::thread::yield_now();
    }
}
