//! The processes of a job, as each of them sees all of them.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crossbeam::channel::RecvTimeoutError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::carrier::{Alone, Exchange};
use crate::run::interrupt::{self, Interrupted};

/// Bytes that are carried at a time, over all ranks together: MPI counts them in 32 bits.
const BLOCK: usize = 1 << 28;

/// How often ranks that work, or wait for others who do, hear of each other.
const TICK: Duration = Duration::from_millis(20);

/// The processes of a job: who this one is among them, and what they say to each other.
///
/// Whatever they say carries along whether one of them was asked to stop, so that all stop after the same step.
pub struct Ranks {
    exchange: Box<dyn Exchange>,
    /// The signal that one of the ranks had been sent when they last heard of each other, 0 without one.
    signal: Cell<i32>,
    /// Seconds that this process has waited for others and for what is carried.
    seconds: Cell<f64>,
}

impl Ranks {
    /// One process without others.
    pub fn alone() -> Self {
        Self::new(Alone)
    }

    /// The ranks of an exchange.
    pub fn new(exchange: impl Exchange + 'static) -> Self {
        Self { exchange: Box::new(exchange), signal: Cell::new(0), seconds: Cell::new(0.0) }
    }

    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.exchange.rank()
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.exchange.size()
    }

    /// Whether this is the process that reads configs and writes runs.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Has something carried, and counts the seconds.
    pub(super) fn carry<T>(&self, work: impl FnOnce(&dyn Exchange) -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let carried = work(&*self.exchange);
        self.seconds.set(self.seconds.get() + started.elapsed().as_secs_f64());
        carried
    }

    /// Seconds since the last call that this process has waited for others and for what is carried, [`Ranks::together`] left out.
    pub(crate) fn take_seconds(&self) -> f64 {
        self.seconds.take()
    }

    /// Whether the user asked to stop: the same answer on all ranks, as of when they last heard of each other.
    pub(crate) fn is_asked_to_stop(&self) -> bool {
        if self.size() == 1 { interrupt::requested() } else { self.signal.get() != 0 }
    }

    /// What rank 0 finds out, said to all.
    ///
    /// # Errors
    /// What `work` returned, on rank 0; on the others, that rank 0 does not come.
    pub fn from_first<T: Serialize + DeserializeOwned>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.size() == 1 {
            return work();
        }
        if self.is_first() {
            let value = work()?;
            self.broadcast(rmp_serde::to_vec_named(&value)?)?;
            return Ok(value);
        }
        rmp_serde::from_slice(&self.broadcast(Vec::new())?).context("rank 0 said something else than was expected")
    }

    /// The bytes of rank 0, on all.
    ///
    /// # Errors
    /// If the others do not come in time.
    pub(super) fn broadcast(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut len = (bytes.len() as u64).to_le_bytes();
        self.carry(|exchange| exchange.broadcast(&mut len))?;
        bytes.resize(usize::try_from(u64::from_le_bytes(len))?, 0);
        bytes.chunks_mut(BLOCK).try_for_each(|block| self.carry(|exchange| exchange.broadcast(block)))?;
        Ok(bytes)
    }

    /// What every rank says, equally many bytes each, in order of rank.
    ///
    /// # Errors
    /// If the others do not come in time.
    pub(super) fn gather_equal(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let size = self.size();
        let signal = interrupt::signal().to_le_bytes();
        let said = [&signal, bytes].concat();
        let mut all = vec![Vec::with_capacity(said.len()); size];
        for block in said.chunks(BLOCK / size) {
            let gathered = self.carry(|exchange| exchange.all_gather(block))?;
            all.iter_mut().zip(gathered.chunks_exact(block.len())).for_each(|(all, block)| all.extend_from_slice(block));
        }
        for said in &mut all {
            let (signal, _) = said.split_first_chunk().context("a rank said nothing")?;
            let signal = i32::from_le_bytes(*signal);
            if size > 1 && signal > self.signal.get() {
                self.signal.set(signal);
                interrupt::agree(signal);
            }
            said.drain(..4);
        }
        Ok(all)
    }

    /// What every rank says, in order of rank.
    ///
    /// # Errors
    /// If the others do not come in time.
    pub(crate) fn gather(&self, mut bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        if self.size() == 1 {
            return Ok(vec![bytes]);
        }
        let lens = self.gather_equal(&(bytes.len() as u64).to_le_bytes())?;
        let lens = lens.iter().map(|len| u64::from_le_bytes(len[..].try_into().unwrap_or_default()) as usize);
        let lens: Vec<usize> = lens.collect();
        bytes.resize(lens.iter().copied().max().unwrap_or(0), 0);
        let mut all = self.gather_equal(&bytes)?;
        all.iter_mut().zip(lens).for_each(|(said, len)| said.truncate(len));
        Ok(all)
    }

    /// Values of every rank, in order of rank.
    ///
    /// # Errors
    /// If the others do not come in time.
    pub(crate) fn gather_values<T: Serialize + DeserializeOwned>(&self, value: T) -> Result<Vec<T>> {
        if self.size() == 1 {
            return Ok(vec![value]);
        }
        let all = self.gather(rmp_serde::to_vec_named(&value)?)?;
        all.iter().map(|said| rmp_serde::from_slice(said).context("a rank said something else than was expected")).collect()
    }

    /// Waits until all are here.
    ///
    /// # Errors
    /// If the others do not come in time.
    pub(crate) fn meet(&self) -> Result<()> {
        self.gather_equal(&[]).map(drop)
    }

    /// Does a part of work that may take long and does not take equally long everywhere. All ranks do theirs and hear of each other
    /// while they do: of a rank that has stopped, and of a signal, which ends the work of all. Returns when all are done.
    ///
    /// # Errors
    /// What `work` returned; [`Interrupted`] on all ranks if one was asked to stop; or a rank that does not come.
    pub(crate) fn together<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        if self.size() == 1 {
            return work();
        }
        let counted = self.seconds.get();
        let (sender, done) = crossbeam::channel::bounded(1);
        std::thread::scope(|scope| {
            let work = move || {
                // Nobody is left to hear it where the others did not come.
                let _ = sender.send(catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(anyhow!("panicked"))));
            };
            std::thread::Builder::new()
                .name("share".into())
                .spawn_scoped(scope, work)
                .context("the system has no thread left")?;
            let mut outcome = None;
            loop {
                match &outcome {
                    None => match done.recv_timeout(TICK) {
                        // Those who wait are told by the end of this process.
                        Ok(Err(error)) if !error.is::<Interrupted>() => return Err(error),
                        Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("a thread ended without a word")),
                        done => outcome = done.ok(),
                    },
                    Some(_) => std::thread::sleep(TICK),
                }
                let heard = self.gather_equal(&[u8::from(outcome.is_some())]).inspect_err(|_| {
                    // The scope waits for the work: it shall not go on to its end.
                    interrupt::request();
                })?;
                if heard.iter().all(|is_done| is_done == &[1]) {
                    break;
                }
            }
            self.seconds.set(counted);
            match outcome {
                Some(outcome) if !self.is_asked_to_stop() => outcome,
                _ => Err(Interrupted.into()),
            }
        })
    }
}
