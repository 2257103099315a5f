//! Checking a kernel before it is trusted: a driver may refuse to compile it, or compile it wrongly.
//!
//! CubeCL reports both when something is read back, which a training step never does. So the first call on a device runs the op on a
//! few numbers, forward and backward, and compares it with the CPU's. On a device that fails, the reference runs from then on, after
//! one warning.

use super::failure;
use burn::backend::Flex;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{BoolTensor, FloatTensor};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use std::any::TypeId;
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// How far a kernel may be from the CPU on the check's numbers, which are of size 1: this is about wrong, not about rounding.
const TOLERANCE: f64 = 1e-3;

/// What an op computes from numbers that are the same on every device.
pub(crate) type Results<B> = fn(&Device<B>) -> Vec<f64>;

/// Backend, device and op.
type Key = (TypeId, String, &'static str);

/// Whether the kernels take numbers of this type. They sum in single precision, which would be a loss to double precision.
pub(crate) fn serves(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

thread_local! {
    /// Whether this thread is checking an op, which then has to run its kernels.
    static IS_CHECKING: Cell<bool> = const { Cell::new(false) };
}

/// Whether an op's kernels work on the device. The first call finds out.
pub(crate) fn is_trusted<B: Backend>(op: &'static str, device: &Device<B>, found: Results<B>, expected: Results<Flex>) -> bool {
    static RESULTS: Mutex<Option<HashMap<Key, bool>>> = Mutex::new(None);
    if IS_CHECKING.get() {
        return true;
    }
    let key = (TypeId::of::<B>(), format!("{device:?}"), op);
    let known =
        |key: &_| RESULTS.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|known| known.get(key).copied());
    if let Some(is_trusted) = known(&key) {
        return is_trusted;
    }
    failure::watch();
    if has_failed_before::<B>(device) {
        // Whatever this op computed now would be garbage, and not for any fault of its own.
        return true;
    }
    IS_CHECKING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| max_error(&found(device), &expected(&Default::default()))));
    IS_CHECKING.set(false);
    // The warning reports it; the next caller of `take_failure` must not take it for a failure of its own.
    let failed = failure::take();
    let is_trusted = matches!(outcome, Ok(error) if error <= TOLERANCE);
    let mut results = RESULTS.lock().unwrap_or_else(PoisonError::into_inner);
    // Two threads may have checked at once; one warning is enough.
    if results.get_or_insert_default().insert(key, is_trusted).is_none() && !is_trusted {
        let reason = match (failed, outcome) {
            (Some(failed), _) => failed.to_string(),
            (None, Ok(error)) => format!("it is wrong by {error}"),
            (None, Err(_)) => "it does not run".to_owned(),
        };
        eprintln!(
            "warning: the kernel for {op} cannot be used on {device:?} ({reason}); slower tensor operations take its place"
        );
    }
    is_trusted
}

/// Whether something went wrong on the device that nobody has been told of yet. It stays to be told.
fn has_failed_before<B: Backend>(device: &Device<B>) -> bool {
    match catch_unwind(AssertUnwindSafe(|| B::sync(device))) {
        Ok(Ok(())) => failure::is_noted(),
        Ok(Err(error)) => {
            failure::note(&format!("{error:?}"));
            true
        }
        Err(_) => {
            failure::note("it cannot be waited for");
            true
        }
    }
}

/// The largest difference, or what is not a number.
fn max_error(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    // Not `max`, which loses what is not a number.
    differences.fold(0.0, |most, next| if next <= most { most } else { next })
}

/// Numbers of size 1 without a pattern of a power of two.
pub(crate) fn numbers(count: usize, step: f64) -> Vec<f32> {
    (0..count).map(|i| ((i as f64 * step).sin()) as f32).collect()
}

/// [`numbers`] as a tensor.
pub(crate) fn tensor<B: Backend, const D: usize>(shape: [usize; D], step: f64, device: &Device<B>) -> FloatTensor<B> {
    tensor_of::<B, D>(numbers(shape.iter().product(), step), shape, device)
}

/// Numbers from the host as a tensor.
pub(crate) fn tensor_of<B: Backend, const D: usize>(numbers: Vec<f32>, shape: [usize; D], device: &Device<B>) -> FloatTensor<B> {
    let data = TensorData::new(numbers, shape);
    Tensor::<B, D>::from_data(data, (device, DType::F32)).into_primitive().tensor()
}

/// Flags `[batch, time]`, one of which is set.
pub(crate) fn reset<B: Backend>(shape: [usize; 2], at: usize, device: &Device<B>) -> BoolTensor<B> {
    let flags: Vec<bool> = (0..shape[0] * shape[1]).map(|i| i == at).collect();
    Tensor::<B, 2, Bool>::from_data(TensorData::new(flags, shape), device).into_primitive()
}

/// The numbers of tensors; a NaN in place of those that cannot be read.
pub(crate) fn read<B: Backend>(tensors: impl IntoIterator<Item = FloatTensor<B>>) -> Vec<f64> {
    let numbers = |tensor| {
        // The number of axes does not matter to what is read.
        let data = crate::primitive::float::<B, 1>(tensor).try_into_data();
        data.map_or(vec![f64::NAN], |data| data.convert::<f64>().to_vec().unwrap_or(vec![f64::NAN]))
    };
    tensors.into_iter().flat_map(numbers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static CHECKS: AtomicUsize = AtomicUsize::new(0);

    fn count(result: f64) -> Vec<f64> {
        CHECKS.fetch_add(1, Ordering::Relaxed);
        vec![result]
    }

    /// A device whose driver compiles nothing, one that computes wrongly, one that gives no numbers, and one within the tolerance.
    #[test]
    fn a_kernel_that_fails_is_not_used_and_not_checked_again() {
        let kernels: [(&'static str, Results<Flex>); 4] = [
            ("refused", |_| panic!("the driver does not compile this, {:?}", count(0.0))),
            ("wrong", |_| count(0.1)),
            ("without numbers", |_| count(f64::NAN)),
            ("right", |_| count(TOLERANCE)),
        ];
        for _ in 0..3 {
            let results = kernels.map(|(op, found)| is_trusted::<Flex>(op, &Default::default(), found, |_| vec![0.0]));
            assert_eq!(results, [false, false, false, true]);
        }
        assert_eq!(CHECKS.load(Ordering::Relaxed), 4);
    }

    #[test]
    #[ignore = "run by the next one, in a process of its own: failures are the whole process's"]
    fn an_innocent_op() {
        failure::note("a product failed");
        assert!(is_trusted::<Flex>("innocent", &Default::default(), |_| vec![f64::NAN], |_| vec![0.0]));
        assert_eq!(failure::take().unwrap().to_string(), "the device failed: a product failed");
        assert!(!is_trusted::<Flex>("innocent", &Default::default(), |_| vec![f64::NAN], |_| vec![0.0]));
    }

    #[test]
    fn an_op_is_not_blamed_for_what_failed_before() {
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", "cube::self_check::tests::an_innocent_op", "--ignored"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
