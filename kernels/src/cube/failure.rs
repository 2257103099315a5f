//! What goes wrong on a device, and how it is noticed.
//!
//! CubeCL does a device's work on a thread of its own. There a failed allocation panics; the panic is printed and forgotten, and what is
//! read back later is garbage. A hook keeps the first such panic until it is taken, and prints none of them.

use std::panic;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, Once, PoisonError};
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
        /// What could not be found or loaded.
        reason: String,
    },
    /// A tensor does not fit, be it that memory is full or that the driver has no buffers of that size.
    #[error("no memory for a buffer of {bytes} bytes")]
    OutOfMemory {
        /// The size of the buffer.
        bytes: u64,
    },
    /// Another precision was asked for than the one that the device has been found with.
    #[error("the device multiplies in {settled} in this process, and not in {wanted} any more")]
    PrecisionSettled {
        /// What it was found with.
        settled: crate::Precision,
        /// What was asked for.
        wanted: crate::Precision,
    },
    /// A device has no tensor cores for a precision.
    #[error("{name} does not multiply in {precision} (NVIDIA's GPUs do from compute capability 8.0 on)")]
    Lacks {
        /// The driver's name for the device.
        name: String,
        /// What was asked for.
        precision: crate::Precision,
    },
    /// A device fails at anything else.
    #[error("the device failed: {0}")]
    Failed(String),
}

/// The first panic since the last that was taken; those after it are its consequences.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Sets up the hook, once.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| if is_device() { keep(info) } else { previous(info) }));
    });
}

/// How the names of CubeCL's threads begin; a device's numbers follow.
pub(crate) const DEVICE_THREADS: [&str; 2] = ["DSD-", "DSU-"];

/// Whether this is one of them.
fn is_device() -> bool {
    std::thread::current().name().is_some_and(|name| DEVICE_THREADS.iter().any(|prefix| name.starts_with(prefix)))
}

fn keep(info: &PanicHookInfo) {
    note(info.payload_as_str().unwrap_or("it gave no reason"));
}

/// Keeps what went wrong, unless something has before.
pub(crate) fn note(text: &str) {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| text.to_owned());
}

/// Whether there is something to take.
pub(crate) fn is_noted() -> bool {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// What went wrong since the last call, if anything did.
pub(crate) fn take() -> Option<DeviceError> {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).take().map(|text| named(&text))
}

/// CubeCL gives sizes in the text alone.
fn named(text: &str) -> DeviceError {
    let after = text.split_once("can't allocate buffer of size: ").map(|(_, after)| after);
    let digits = after.map(|after| after.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(after));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(bytes) => DeviceError::OutOfMemory { bytes },
        None => DeviceError::Failed(reason(text)),
    }
}

/// What a text of CubeCL's says in one line: the innermost of the first chain of causes, or where there is none, the first that is not
/// empty.
pub(crate) fn reason(text: &str) -> String {
    let chain = text.split("Backtrace:").next().unwrap_or(text);
    let cause = chain.rsplit("Caused by:").next().unwrap_or(chain);
    let mut lines = cause.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "[Compilation Error]");
    lines.next().unwrap_or("it gave no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_from_the_text() {
        let text =
            "called `Result::unwrap()` on an `Err` value: can't allocate buffer of size: 314880000\nNo backtrace available";
        assert_eq!(named(text).to_string(), "no memory for a buffer of 314880000 bytes");
        assert_eq!(named("it was lost\nat a line").to_string(), "the device failed: it was lost");
        // As CubeCL begins some of its own.
        assert_eq!(named("\n        CUDA is not here.\n    Install it.").to_string(), "the device failed: CUDA is not here.");
        let chain = "An error happened during execution\nCaused by:\n  [Launch(It is not compiled\nCaused by:\n  [Compilation Error] \n    \
                     default_program(1): catastrophic error: cannot open \"mma.h\"\n[Source]\nint x;\nBacktrace:\nCaused by:\nnone";
        let cause = "the device failed: default_program(1): catastrophic error: cannot open \"mma.h\"";
        assert_eq!(named(chain).to_string(), cause);
        assert_eq!(named(" \n").to_string(), "the device failed: it gave no reason");
        let no_size = "can't allocate buffer of size: ?";
        assert_eq!(named(no_size).to_string(), format!("the device failed: {no_size}"));
    }
}
