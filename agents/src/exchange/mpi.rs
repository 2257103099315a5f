//! Ranks that are MPI processes (feature `mpi`).
//!
//! MPI carries bytes and adds nothing. Whoever waits looks for the others again and again, up to a deadline, for MPI itself waits for
//! ever; and sleeps in between, so that processes that share a core do not take it from each other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use mpi::Threading;
use mpi::request::{Request, StaticScope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use super::{Exchange, Ranks, WaitedTooLong, launcher};
use crate::run::interrupt::{self, Interrupted};
use crate::run::process::{message, panic_message};

/// How long a process that waits only lets others run, and how long it sleeps at a time after that.
const YIELDING: Duration = Duration::from_millis(1);
const SLEEP: Duration = Duration::from_micros(100);

/// How long a rank that fails leaves the word to rank 0, which may fail of the same.
const AFTER_RANK_0: Duration = Duration::from_secs(2);

/// How long a launcher has to pass on what a rank said before it hears that all are to end: MPICH's loses the rest.
const UNTIL_HEARD: Duration = Duration::from_millis(200);

/// The ranks of an MPI world.
struct Mpi {
    world: SimpleCommunicator,
    timeout: Duration,
}

/// Does the work of this process as one of the ranks of its MPI world, once in its life, in the main thread. A rank that fails or panics
/// says so and ends the processes of all ranks.
///
/// - `timeout`: how long a rank waits for another
///
/// # Errors
/// If MPI cannot be started; [`Interrupted`] when all ranks have stopped because one was asked to, on rank 0: the others end here then. In
/// a world of one process, what `work` returned.
pub fn run<T>(timeout: Duration, work: impl FnOnce(&Ranks) -> Result<T>) -> Result<T> {
    // All calls come from this thread.
    let (universe, _) = mpi::initialize_with_threading(Threading::Funneled).context("MPI has been started before")?;
    let (world, abort) = (universe.world(), universe.world());
    if let (1, Some((name, started))) = (world.size(), launcher::started_together()) {
        launcher::let_the_first_speak();
        bail!(
            "the launcher started {started} processes ({name} says so), and MPI knows of one: the launcher belongs to another MPI library than \
             the one that this program was built for"
        );
    }
    let ranks = Ranks::new(Mpi { world, timeout });
    let outcome = catch_unwind(AssertUnwindSafe(|| work(&ranks)));
    let outcome = outcome.unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_message(&*panic))));
    let (rank, size) = (ranks.rank(), ranks.size());
    let is_agreed = |error: &anyhow::Error| ranks.is_asked_to_stop() && error.is::<Interrupted>();
    match outcome {
        Err(error) if size > 1 && !is_agreed(&error) => {
            if rank != 0 {
                let was_asked = interrupt::requested();
                std::thread::sleep(AFTER_RANK_0);
                // Another rank has ended the job, and the launcher is about to end this process.
                if interrupt::requested() && (!was_asked || error.is::<WaitedTooLong>()) {
                    std::process::exit(1);
                }
            }
            eprintln!("error: rank {rank}: {}", message(&error));
            std::thread::sleep(UNTIL_HEARD);
            abort.abort(if error.is::<Interrupted>() { interrupt::exit_code().into() } else { 1 })
        }
        outcome => {
            drop((ranks, universe)); // ends MPI
            if rank != 0 && outcome.is_err() {
                // As if nothing were wrong: a launcher kills all when one says otherwise, and rank 0 has not yet said what to do.
                std::process::exit(0);
            }
            outcome
        }
    }
}

impl Mpi {
    /// Waits until a request is done with its buffers.
    fn complete<D: ?Sized>(&self, mut request: Request<'static, D, StaticScope>) -> Result<()> {
        let started = Instant::now();
        loop {
            request = match request.test() {
                Ok(_) => return Ok(()),
                Err(request) => request,
            };
            let waited = started.elapsed();
            if waited > self.timeout {
                // It stays under way, with its buffers: this process ends of that.
                std::mem::forget(request);
                return Err(WaitedTooLong(self.timeout).into());
            }
            if waited < YIELDING { std::thread::yield_now() } else { std::thread::sleep(SLEEP) }
        }
    }

    /// Sends bytes and receives some, in buffers that outlive a request that is given up.
    fn exchange(
        &self,
        sent: &[u8],
        received: usize,
        start: impl FnOnce(&'static [u8], &'static mut [u8]) -> Request<'static, [u8], StaticScope>,
    ) -> Result<Vec<u8>> {
        let sent: *mut [u8] = Box::into_raw(sent.to_vec().into_boxed_slice());
        let received: *mut [u8] = Box::into_raw(vec![0; received].into_boxed_slice());
        // SAFETY: both are boxes that nobody else has; they are freed below, and only when the request is done with them.
        let request = unsafe { start(&*sent, &mut *received) };
        self.complete(request)?;
        // SAFETY: as above; the request is complete, so MPI and the references that it held are gone.
        let (_, received) = unsafe { (Box::from_raw(sent), Box::from_raw(received)) };
        Ok(received.into_vec())
    }
}

impl Exchange for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn all_to_all(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.exchange(bytes, bytes.len(), |sent, received| self.world.immediate_all_to_all_into(StaticScope, sent, received))
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let all = bytes.len() * self.size();
        self.exchange(bytes, all, |sent, received| self.world.immediate_all_gather_into(StaticScope, sent, received))
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<()> {
        let first = self.world.process_at_rank(0);
        // Sent and received in the one buffer.
        let received = self.exchange(&[], bytes.len(), |_, buffer| {
            buffer.copy_from_slice(bytes);
            first.immediate_broadcast_into(StaticScope, buffer)
        })?;
        bytes.copy_from_slice(&received);
        Ok(())
    }
}
