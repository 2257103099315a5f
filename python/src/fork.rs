//! Forked processes: a thread pool does not survive a fork, and whoever waits for it in the child waits for ever.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, lock};

/// The process that may have begun the global thread pool; 0 before one did.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// The thread pool of a forked process, and whose it is.
static OF_CHILD: Mutex<Option<(u32, &'static ThreadPool)>> = Mutex::new(None);

/// Whether this process may use the global thread pool, which is its own from then on.
fn owns_the_pool() -> bool {
    let this = std::process::id();
    let owner = OWNER.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed);
    owner.map_or_else(|owner| owner == this, |_| true)
}

/// Computes something that may use threads, with those of this process.
///
/// # Errors
/// If a forked process cannot start threads of its own.
pub(crate) fn compute<R: Send>(work: impl FnOnce() -> R + Send) -> PyResult<R> {
    if owns_the_pool() {
        return Ok(work());
    }
    let this = std::process::id();
    let pool = {
        let mut of_child = lock(&OF_CHILD);
        match *of_child {
            Some((owner, pool)) if owner == this => pool,
            // The pool of the parent is left as it is: its threads are not here to be ended.
            _ => {
                let pool = &*Box::leak(Box::new(own_pool(0)?));
                *of_child = Some((this, pool));
                pool
            }
        }
    };
    Ok(pool.install(work))
}

/// A thread pool with so many threads; 0 for as many as there are cores.
///
/// # Errors
/// If the system has no room for them.
pub(crate) fn own_pool(threads: usize) -> PyResult<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("aaren-{index}")).build();
    pool.map_err(|error| Error::new_err(format!("cannot start {threads} threads: {error}")))
}

/// Whether a job, which starts threads of many kinds, can run in this process.
///
/// # Errors
/// If it was forked from one that has computed something.
pub(crate) fn check(what: &str) -> PyResult<()> {
    if owns_the_pool() {
        return Ok(());
    }
    Err(Error::new_err(format!(
        "{what} does not run in a process that was forked from one in which aaren has computed; start it with the method \"spawn\" \
         (multiprocessing.get_context(\"spawn\"))"
    )))
}
