//! The first NVIDIA GPU, and what its matrix products are computed in.

use super::cache::keep_compiled;
use super::toolkit::{Version, check_card, check_headers, check_versions, loaded_library};
use super::{DeviceError, Found};
use crate::cube::{failure, multiplies};
use crate::precision::Precision;
use burn::tensor::Tensor;
use burn_cubecl::cubecl;
use burn_cuda::CudaDevice;
use cubecl::cuda::CudaRuntime;
use cubecl::device::{Device as _, DeviceService};
use cubecl::ir::{ElemType, FloatKind, StorageType};
use cubecl::prelude::Runtime;
use cubecl::server::ComputeServer;
use cudarc::driver::{DriverError, result, sys};
use std::sync::{Arc, Mutex, PoisonError};

/// The backend of NVIDIA GPUs: kernels compiled by NVRTC when they are first launched. Find the device by [`cuda`] before anything is
/// put on it: what its matrix products are computed in is settled there.
pub type Cuda = burn_cuda::Cuda<f32, i32>;

/// What is settled of the device when it is found for the first time.
struct Settings {
    precision: Precision,
    is_started: bool,
    is_checked: bool,
}

static SETTINGS: Mutex<Settings> = Mutex::new(Settings { precision: Precision::F32, is_started: false, is_checked: false });

/// Says what products of single-precision matrices are to be computed in, before the first call of [`cuda`]: a process has one device,
/// which does it in one way. With [`Precision::Bf16`] that is single precision; dense layers round their factors by themselves.
///
/// # Errors
/// [`DeviceError::PrecisionSettled`] if the device has been found with another.
pub fn set_precision(wanted: Precision) -> Result<(), DeviceError> {
    let wanted = if wanted == Precision::Bf16 { Precision::F32 } else { wanted };
    let mut settings = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    if settings.is_started && settings.precision != wanted {
        return Err(DeviceError::PrecisionSettled { settled: settings.precision, wanted });
    }
    settings.precision = wanted;
    Ok(())
}

/// The first CUDA device. Its products are of single precision, unless [`set_precision`] said otherwise before.
///
/// # Errors
/// [`DeviceError::Absent`] if a library, CUDA's headers or the device is missing, or if they do not fit each other; and
/// [`DeviceError::Failed`] if it does not multiply two matrices.
pub fn cuda() -> Result<Found<CudaDevice>, DeviceError> {
    let (name, capability, compiler) = find().map_err(|reason| DeviceError::Absent { api: "CUDA", reason })?;
    failure::watch();
    let device = CudaDevice::new(0);
    let mut settings = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    if !settings.is_started {
        keep_compiled(capability, compiler);
        let precision = settings.precision;
        on_a_thread_of_devices(move || start(precision))?;
        settings.is_started = true;
    }
    if !settings.is_checked {
        on_a_thread_of_devices(check_product)??;
        settings.is_checked = true;
    }
    Ok(Found { device, name, is_software: false })
}

/// That the device has tensor cores for a precision; [`Precision::F32`] needs none.
///
/// # Errors
/// [`DeviceError::Lacks`] if it has not, and what [`cuda`] returns.
pub fn check_precision(precision: Precision) -> Result<(), DeviceError> {
    let Found { device, name, .. } = cuda()?;
    let kind = match precision {
        Precision::F32 => return Ok(()),
        Precision::Tf32 => FloatKind::TF32,
        Precision::Bf16 => FloatKind::BF16,
    };
    if multiplies(&CudaRuntime::client(&device), kind) { Ok(()) } else { Err(DeviceError::Lacks { name, precision }) }
}

/// The GPU's name and compute capability and NVRTC's version, once everything that they need has been found; else what is missing.
fn find() -> Result<(String, Version, Version), String> {
    // Anything else of these libraries panics where they are missing.
    // SAFETY: both try to load a library of NVIDIA's, whose initialization has no requirements, and report whether they could.
    let (driver, compiler) = unsafe { (sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present()) };
    if !driver {
        return Err("the driver's library libcuda.so cannot be loaded; install the NVIDIA driver".to_owned());
    }
    if !compiler {
        return Err(
            "libnvrtc.so cannot be loaded; install NVRTC (part of the CUDA toolkit, or the wheel nvidia-cuda-nvrtc), and let \
                    LD_LIBRARY_PATH name its folder"
                .to_owned(),
        );
    }
    let failed = |error: DriverError| format!("the driver reports {error}");
    result::init().map_err(failed)?;
    if result::device::get_count().map_err(failed)? == 0 {
        return Err("the driver finds no GPU".to_owned());
    }
    let gpu = result::device::get(0).map_err(failed)?;
    let name = result::device::get_name(gpu).map_err(failed)?;
    let (compiler, known) = compiler_version()?;
    let capability = {
        use sys::CUdevice_attribute::*;
        // SAFETY: the device is one that the driver has just named.
        let read = |attribute| unsafe { result::device::get_attribute(gpu, attribute) }.map_err(failed);
        Version {
            major: read(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            minor: read(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        }
    };
    check_versions(compiler, driver_version().map_err(failed)?).map_err(|obstacle| obstacle.to_string())?;
    check_card(&name, capability, compiler, known).map_err(|obstacle| obstacle.to_string())?;
    check_headers(cubecl::cuda::install::cuda_path(), loaded_library("libnvrtc.so")).map_err(|obstacle| obstacle.to_string())?;
    Ok((name, capability, compiler))
}

/// The release of CUDA that the driver belongs to.
fn driver_version() -> Result<Version, DriverError> {
    let mut version = 0;
    // SAFETY: the call writes one integer.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(Version { major: version / 1000, minor: version % 1000 / 10 })
}

/// NVRTC's release, and the compute capabilities that it compiles for.
fn compiler_version() -> Result<(Version, Vec<Version>), String> {
    use cudarc::nvrtc::sys::{nvrtcGetNumSupportedArchs, nvrtcGetSupportedArchs, nvrtcVersion};
    let failed = |error| format!("NVRTC reports {error:?}");
    let (mut major, mut minor, mut count) = (0, 0, 0);
    // SAFETY: the calls write one integer to each of their arguments.
    unsafe {
        nvrtcVersion(&mut major, &mut minor).result().map_err(failed)?;
        nvrtcGetNumSupportedArchs(&mut count).result().map_err(failed)?;
    }
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the call writes as many integers as the last one has said.
    unsafe { nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result().map_err(failed)?;
    Ok((Version { major, minor }, known.into_iter().map(|known| Version { major: known / 10, minor: known % 10 }).collect()))
}

type Server = <CudaRuntime as Runtime>::Server;

/// Runs what may panic on a thread that is called like those that work for devices: what it panics with is kept, and not printed.
fn on_a_thread_of_devices<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DeviceError> {
    let thread = std::thread::Builder::new().name(format!("{}start", failure::DEVICE_THREADS[0])).spawn(work);
    let thread = thread.map_err(|error| DeviceError::Failed(format!("no thread can be started: {error}")))?;
    thread.join().map_err(|_| failure::take().unwrap_or_else(|| DeviceError::Failed("it does not start".to_owned())))
}

/// Makes the device ready with products of this precision. Panics if something has used it before, of which nobody knows what it
/// multiplies in.
fn start(precision: Precision) {
    let device = CudaDevice::new(0);
    let server = Server::init(device.to_id());
    if precision == Precision::F32 {
        hide_tf32(&server);
    }
    cubecl::client::ComputeClient::<CudaRuntime>::init(&device, server);
}

/// Lets products of single-precision matrices be computed in single precision.
///
/// Burn computes them in TF32 wherever the device has that type, and has no switch for it. It asks the properties that a device's
/// clients share: without the type there, it takes its product of plain multiplications and additions, on every way that leads to one
/// (layers, attention, convolutions). What the device's own thread compiles with is a copy, which keeps the type.
fn hide_tf32(server: &Server) {
    let tf32 = StorageType::Scalar(ElemType::Float(FloatKind::TF32));
    let utilities = ComputeServer::utilities(server);
    // SAFETY: the server has just been made and is this thread's alone, so nobody reads or writes its properties meanwhile: what
    // `Arc::get_mut_unchecked` asks for. The pointer is the one that the `Arc` itself uses.
    let properties = unsafe { &mut (*Arc::as_ptr(&utilities).cast_mut()).properties };
    properties.features.types.storage.remove(&tf32);
    properties.features.matmul.cmma.retain(|product| product.a_type != tf32 && product.b_type != tf32);
    properties.features.matmul.mma.retain(|product| product.a_type != tf32 && product.b_type != tf32);
}

/// Has two matrices multiplied: no policy can do without, and a compiler that lacks a header, or a driver that does not load what it
/// made, shows here and not in the first step.
fn check_product() -> Result<(), DeviceError> {
    const SIDE: usize = 16;
    let ones = Tensor::<Cuda, 2>::ones([SIDE, SIDE], &CudaDevice::new(0));
    let product = ones.clone().matmul(ones).try_into_data();
    if let Some(failed) = failure::take() {
        return Err(failed);
    }
    let product = product.map_err(|error| DeviceError::Failed(failure::reason(&format!("{error:?}"))))?;
    match product.iter::<f32>().find(|number| *number != SIDE as f32) {
        Some(number) => Err(DeviceError::Failed(format!("it multiplies matrices wrongly: {number} where {SIDE} is right"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env;
    use std::process::Command;

    #[test]
    #[ignore = "run by the other tests, in processes of their own"]
    fn says_what_it_finds() {
        match cuda() {
            Ok(found) => println!("found: {}", found.name),
            Err(reason) => println!("reason: {reason}"),
        }
    }

    /// What a process finds that has these variables.
    fn found_with(variables: &[(&str, &str)]) -> String {
        let mut alone = Command::new(env::current_exe().unwrap());
        alone.args(["--exact", "device::cuda::tests::says_what_it_finds", "--ignored", "--nocapture"]);
        let output = alone.envs(variables.iter().copied()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn what_is_missing_is_named_before_any_work() {
        if env::var_os("FAKECUDA_CACHE").is_none() {
            return println!("skipped: nothing can be missing but on a card that a processor plays (scripts/fakecuda)");
        }
        let cases: [(&[_], &[_]); 7] = [
            (&[], &["found: a processor as a card"]),
            (&[("CUDA_PATH", "/nowhere")], &["no CUDA device", "/nowhere/include/cuda_runtime.h", "nvidia-cuda-runtime"]),
            (&[("FAKECUDA_DRIVER", "12.4")], &["no CUDA device", "CUDA 13.2", "CUDA 12.4"]),
            (&[("FAKECUDA_CAPABILITY", "7.0")], &["no CUDA device", "capability 7.0", "7.5, 8.0"]),
            (&[("FAKECUDA_CARDS", "0")], &["no CUDA device", "finds no GPU"]),
            (&[("FAKECUDA_MEMORY", "1000")], &["reason: no memory for a buffer of"]),
            // What an earlier run has compiled and kept would do.
            (
                &[("FAKECUDA_CXX", "false"), ("XDG_CACHE_HOME", "/proc/nowhere")],
                &["reason: the device failed: g++ does not compile it"],
            ),
        ];
        for (variables, expected) in cases {
            let found = found_with(variables);
            assert!(expected.iter().all(|text| found.contains(text)), "{variables:?}: {found}");
        }
    }

    /// A second process takes what the first has compiled, unless the card is another.
    #[test]
    fn what_is_compiled_is_kept() {
        if env::var_os("FAKECUDA_CACHE").is_none() {
            return println!("skipped: compilations are counted on a card that a processor plays (scripts/fakecuda)");
        }
        let folder = env::temp_dir().join(format!("aaren-kept-{}", std::process::id()));
        let (kept, log) = (folder.join("kept"), folder.join("log"));
        std::fs::create_dir_all(&folder).unwrap();
        let (kept, log_name) = (kept.to_str().unwrap(), log.to_str().unwrap());
        let compiled = |capability: &str| {
            let _ = std::fs::remove_file(&log);
            let settings = [("XDG_CACHE_HOME", kept), ("FAKECUDA_LOG", log_name), ("FAKECUDA_CAPABILITY", capability)];
            assert!(found_with(&settings).contains("found: "));
            std::fs::read_to_string(&log).unwrap().lines().filter(|line| line.starts_with("COMPILE")).count()
        };
        assert!(compiled("8.0") > 0);
        assert_eq!(compiled("8.0"), 0);
        assert!(compiled("9.0") > 0);
        let nowhere = [("XDG_CACHE_HOME", "/proc/nowhere"), ("FAKECUDA_CAPABILITY", "8.0")];
        assert!(found_with(&nowhere).contains("found: "), "a folder that cannot be written is no obstacle");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_process_has_one_precision() {
        if cuda().is_ok() {
            assert!(set_precision(Precision::F32).is_ok());
            let refused = set_precision(Precision::Tf32).unwrap_err().to_string();
            assert!(refused.contains("f32") && refused.contains("tf32"), "{refused}");
        }
    }
}
