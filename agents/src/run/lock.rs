//! The lock of a run folder, which one process has at a time.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks that this process has had, by device and number of their files, and whether it has them still.
static OURS: Mutex<BTreeMap<(u64, u64), bool>> = Mutex::new(BTreeMap::new());

fn ours() -> MutexGuard<'static, BTreeMap<(u64, u64), bool>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often, and how long each time, a lock is waited for that nobody should have.
const WAITS: (u32, Duration) = (500, Duration::from_millis(20));

/// A lock, for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    id: (u64, u64),
}

impl Lock {
    /// Locks a file, which is made if it is not there; or says that somebody else has it, and which process, where the system knows.
    ///
    /// A program that this process is starting has copies of its open files until it begins, of locks that were let go meanwhile too: what
    /// this process locked and has let go is waited for.
    ///
    /// # Errors
    /// If the file cannot be made or locked.
    pub(super) fn take(path: &Path) -> io::Result<Result<Lock, Option<u32>>> {
        let file = File::options().create(true).append(true).open(path)?;
        let found = file.metadata()?;
        let id = (found.dev(), found.ino());
        for _ in 0..WAITS.0 {
            match file.try_lock() {
                Ok(()) => {
                    ours().insert(id, true);
                    return Ok(Ok(Lock { _file: file, id }));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // What another process has, and may be done with at any time, is never waited for.
            let was_let_go = ours().get(&id) == Some(&false);
            if !was_let_go || owner(id.1).is_some_and(|process| process != std::process::id()) {
                break;
            }
            std::thread::sleep(WAITS.1);
        }
        Ok(Err(owner(id.1)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        ours().insert(self.id, false);
    }
}

/// The process that locked a file, by the file's number, where the system says it.
fn owner(file: u64) -> Option<u32> {
    let file = file.to_string();
    // `1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF`
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let (process, place) = (words.next()?, words.next()?);
        if place.rsplit(':').next() == Some(&file) { process.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_had_once_and_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path).unwrap().unwrap();
        let held = Lock::take(&path).unwrap().unwrap_err();
        assert!(held.is_none_or(|process| process == std::process::id()));
        drop(first);
        Lock::take(&path).unwrap().unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_copy_of_a_lock_that_was_let_go_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path).unwrap().unwrap();
        // As in a program that is being started.
        let copy = first._file.try_clone().unwrap();
        drop(first);
        let waits = std::thread::spawn(move || Lock::take(&path).unwrap().is_ok());
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waits.is_finished());
        drop(copy);
        assert!(waits.join().unwrap());
    }
}
