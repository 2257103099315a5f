//! Finding devices.

use thiserror::Error;

/// Why a device cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no driver, or it finds no device.
    #[error("no {api} device: {reason}")]
    Absent {
        /// "Vulkan"
        api: &'static str,
        /// What was looked for in vain.
        reason: String,
    },
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

/// The backend of Vulkan devices: kernels compiled to SPIR-V, no fusion, no autotuning.
#[cfg(feature = "vulkan")]
pub type Vulkan = burn_wgpu::Vulkan<f32, i32, u8>;

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
    match found {
        Ok((name, is_software)) => Ok(Found { device: WgpuDevice::DefaultDevice, name: name.clone(), is_software: *is_software }),
        Err(reason) => Err(DeviceError::Absent { api: "Vulkan", reason: reason.clone() }),
    }
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
