//! Errors as Python's exceptions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aaren_agents::run::process::message;
use aaren_envs::EnvError;
use pyo3::exceptions::{PyException, PyImportError, PyValueError};
use pyo3::prelude::*;

pyo3::create_exception!(aaren, Error, PyException, "What went wrong in aaren, on one line.");

/// What went wrong in a job or a policy.
pub(crate) fn failure(error: &anyhow::Error) -> PyErr {
    Error::new_err(message(error))
}

/// A value that makes no sense.
pub(crate) fn wrong_value(problem: String) -> PyErr {
    PyValueError::new_err(problem)
}

/// What went wrong in an environment: `gymnasium.error.ResetNeeded`, `ValueError` for what the caller gave, `ImportError` for what is
/// not in this build, else [`Error`].
pub(crate) fn env_error(py: Python<'_>, error: EnvError) -> PyErr {
    let (inner, row) = match &error {
        EnvError::Row { row, source } => (&**source, format!("copy {row}: ")),
        other => (other, String::new()),
    };
    match inner {
        EnvError::ResetNeeded { .. } => reset_needed(py, format!("{row}{inner}")),
        EnvError::Unknown { id, .. } if aaren_envs::tasks().iter().any(|task| task.id == id) => {
            PyImportError::new_err(format!("{inner}"))
        }
        EnvError::Action { .. }
        | EnvError::Option { .. }
        | EnvError::Shape { .. }
        | EnvError::State { .. }
        | EnvError::Unknown { .. }
        | EnvError::Unsupported { .. } => wrong_value(format!("{row}{inner}")),
        _ => failure(&anyhow::Error::new(error)),
    }
}

/// `gymnasium.error.ResetNeeded`.
pub(crate) fn reset_needed(py: Python<'_>, problem: String) -> PyErr {
    let class = py.import("gymnasium.error").and_then(|module| module.getattr("ResetNeeded"));
    match class.and_then(|class| class.call1((problem,))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// What a lock guards. A panic while it was held was said when it came; what is guarded is still as good as it can be.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
